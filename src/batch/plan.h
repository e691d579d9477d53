#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <vector>

namespace sollol::batch {

/// A request that is to be made: a line, or a part of one.
struct Task {
  std::uint32_t line = 0;  // index among the input's lines
  std::uint32_t part = 0;
  std::uint32_t lane = 0;  // of its model
  double work = 0;         // in tokens written
  unsigned attempts = 0;   // made so far
};

/// What is left to start, and in which order: the longest first, so that no long one is left alone
/// at the end; a lane for each model, since models may have different nodes.
///
/// Pure: told all that it needs. One thread at a time.
class Plan {
 public:
  Plan(std::vector<Task> tasks, std::size_t lanes);

  enum class Lanes : std::uint8_t {
    all,      // whichever has room and the most work left
    in_turn,  // one to its end, then the next: no node changes its model in between
    trial,    // in turn, and rather short ones: a trial of something slow costs less
  };
  /// The next to start; `room`: how many more may start, for each lane. O(lanes).
  std::optional<Task> next(std::span<const std::size_t> room, Lanes lanes);
  /// Once more, before all others of its lane.
  void put_back(Task task);

  std::size_t left() const noexcept { return left_; }
  double work_left() const noexcept;
  /// The lane with the most work left.
  std::size_t largest_lane() const noexcept;
  /// Nothing more is to be started.
  void drop();

 private:
  struct Lane {
    std::deque<Task> tasks;
    double work = 0;
  };
  std::vector<Lane> lanes_;
  std::size_t left_ = 0;
  std::size_t last_;  // lane
};

/// A request under way.
struct Running {
  std::size_t place = npos;  // where it runs, among the places; npos: not known
  double since_s = 0;        // when it began there
  double work = 0;
  bool hedged = false;  // asked twice already, or not to be asked twice

  static constexpr std::size_t npos = static_cast<std::size_t>(-1);
};

/// A node as the end of a batch sees it.
struct Place {
  double work_per_s = 0;  // of one request; 0: not known
  std::size_t free = 0;   // requests that it could begin at once
};

/// A request worth asking a second time, and where.
struct Hedge {
  std::size_t running = 0;
  std::size_t place = 0;
};

/// At the end of a batch, when nodes have nothing left to do: of the requests that are expected to
/// take longest yet, the one that a free node would end clearly sooner. One that takes longer than
/// it should is expected to take some of that time once more. Pure; O(running × places).
std::optional<Hedge> choose_hedge(std::span<const Running> running, std::span<const Place> places,
                                  double now_s);

}  // namespace sollol::batch

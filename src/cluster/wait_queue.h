#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "base/time.h"

namespace sollol::cluster {

/// Order among requests that wait (X-Sollol-Priority).
enum class Urgency : std::uint8_t { interactive, normal, batch };
inline constexpr std::size_t urgency_count = 3;
inline constexpr std::array<std::string_view, urgency_count> urgency_names{"interactive", "normal",
                                                                           "batch"};

/// By its name; nullopt: it has none.
constexpr std::optional<Urgency> parse_urgency(std::string_view name) {
  for (std::size_t i = 0; i < urgency_count; ++i) {
    if (urgency_names[i] == name) return static_cast<Urgency>(i);
  }
  return std::nullopt;
}

using Ticket = StrongId<struct TicketTag, std::uint64_t>;

struct Waiting {
  ModelId model;
  std::uint64_t client = 0;
  Urgency urgency = Urgency::normal;
  TimePoint deadline{};
};

struct QueueLimits {
  std::uint32_t waiting_max = 1024;
  std::uint32_t waiting_per_client_max = 256;
};

/// Requests that are admitted and not yet sent, in lanes by model: a slot that comes free serves
/// only its model.
///
/// Inside a lane a more urgent class goes first, but a class that was passed over `overtaken_max`
/// times while it waited gets the next grant; inside a class clients take turns; one client's
/// requests keep their order. O(log n) each, but for `for_each_in_order`, which is O(visited +
/// clients). Not thread-safe; told the time.
class WaitQueue {
 public:
  static constexpr unsigned overtaken_max = 8;
  /// Requests looked at for one freed place: the first may be barred from it by an earlier failure
  /// there.
  static constexpr std::size_t looked_at_max = 16;

  explicit WaitQueue(QueueLimits limits) : limits_(limits) {}

  /// Limits from now on; who waits already stays.
  void set_limits(QueueLimits limits) { limits_ = limits; }
  /// Error: overloaded (retry later), naming the limit that was met.
  Result<Ticket> enqueue(const Waiting& waiting);
  /// Takes a request out because it left; false when it is no longer there.
  bool cancel(Ticket ticket);
  /// Visits requests of the model in the order in which they would be served, at most `most`, until
  /// the visitor says false. The queue must not be changed meanwhile.
  void for_each_in_order(ModelId model, std::size_t most,
                         const std::function<bool(Ticket)>& visitor) const;
  /// Takes a request out because it was given its place: its client goes to the end of the turn.
  void take(Ticket ticket);
  /// Lets requests of the model go while there are places: takes out each that `settle` says is
  /// settled (it has its place, or cannot get one), until it says so of none. `settle` must not
  /// change the queue.
  void serve(ModelId model, const std::function<bool(Ticket)>& settle);

  std::size_t size() const noexcept { return items_.size(); }
  std::vector<ModelId> models_waiting() const;
  /// Requests that wait for the model.
  std::size_t waiting(ModelId model) const;

 private:
  struct Turn {
    std::uint64_t client;
    std::list<Ticket> tickets;  // first in, first out
  };
  struct Class {
    std::list<Turn> turns;  // clients in the order in which they are served
  };
  struct Lane {
    std::array<Class, urgency_count> classes;
    // Grants past each class while it waited, since it was last served.
    std::array<unsigned, urgency_count> overtaken{};
    std::size_t waiting = 0;
  };
  struct Item {
    Waiting waiting;
    std::list<Turn>::iterator turn;
    std::list<Ticket>::iterator place;
  };

  void remove(std::unordered_map<Ticket, Item>::iterator it, bool served);
  static std::array<std::size_t, urgency_count> class_order(const Lane& lane);

  QueueLimits limits_;
  std::map<ModelId, Lane> lanes_;
  std::unordered_map<Ticket, Item> items_;
  std::unordered_map<std::uint64_t, std::uint32_t> per_client_;
  std::uint64_t next_ticket_ = 0;
};

}  // namespace sollol::cluster

#pragma once

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "world/events.h"
#include "world/true_node.h"

namespace sollol::world {

/// All nodes as they truly are, with what they share, in one order of time.
class Machines {
 public:
  Machines(const Fleet& fleet, Events& events);

  /// A job reaches a node that is up.
  void admit(TimePoint now, std::uint32_t node, const Job& job);
  /// The event of that version has come.
  void wake(TimePoint now, std::uint32_t node, std::uint64_t version);
  std::vector<TrueNode::Lost> crash(TimePoint now, std::uint32_t node);
  /// Whoever asked for the job has left, if it is still there.
  void cancel(TimePoint now, std::uint32_t node, JobId job);
  /// All takes so many times as long there from now on.
  void slow_down(TimePoint now, std::uint32_t node, double times);
  void restart(std::uint32_t node) { places_[node].down = false; }
  bool is_down(std::uint32_t node) const { return places_[node].down; }
  const TrueNode& at(std::uint32_t node) const { return *places_[node].node; }
  std::size_t size() const { return places_.size(); }
  /// What became of jobs since it was last asked.
  std::vector<NodeEvent> take_events() { return std::exchange(happened_, {}); }
  bool has_events() const { return !happened_.empty(); }

 private:
  struct Place {
    std::unique_ptr<TrueNode> node;
    std::vector<std::uint32_t>* group = nullptr;  // nodes of its host, itself included
    std::uint64_t version = 0;
    TimePoint wakes_at = TimePoint::max();
    bool down = false;
  };

  void settle(TimePoint now, const Place& place);
  void follow(TimePoint now, Place& place);

  Events& events_;
  std::vector<std::unique_ptr<Running>> running_;
  std::vector<std::unique_ptr<std::vector<std::uint32_t>>> groups_;
  std::vector<Place> places_;
  std::vector<NodeEvent> happened_;
};

}  // namespace sollol::world

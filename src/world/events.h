#pragma once

#include <cstdint>
#include <queue>
#include <vector>

#include "base/time.h"

namespace sollol::world {

/// Something that will happen: `subject` and `detail` mean what the kind says.
struct Event {
  enum class Kind : std::uint8_t {
    entry,    // of the attempt `detail` of the life of that index, at its node
    node,     // wakes if its version is still `detail`
    give_up,  // the ticket `detail` has waited too long
    look,     // the ticket `detail` looks again
    probe,    // of the nodes that are not well
    list,     // what is loaded at nodes where that has changed
    plan,     // which models are where
    outage,   // at that node begins (detail 0) or ends (1)
    slow,     // spell of that node, `detail` less one of its list, begins; 0: ends
    late,     // the attempt `detail` of the life of that index, if it is still under way
  };
  TimePoint at{};
  std::uint64_t sequence = 0;
  Kind kind = Kind::node;
  std::uint32_t subject = 0;
  std::uint64_t detail = 0;
};

/// What will happen, in the order of time, and of being told where that is equal.
class Events {
 public:
  void add(TimePoint at, Event::Kind kind, std::uint32_t subject = 0, std::uint64_t detail = 0) {
    queue_.push({at, sequence_++, kind, subject, detail});
  }
  bool empty() const { return queue_.empty(); }
  const Event& next() const { return queue_.top(); }
  Event take() {
    const Event event = queue_.top();
    queue_.pop();
    return event;
  }

 private:
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.sequence > b.sequence;
    }
  };
  std::priority_queue<Event, std::vector<Event>, Later> queue_;
  std::uint64_t sequence_ = 0;
};

}  // namespace sollol::world

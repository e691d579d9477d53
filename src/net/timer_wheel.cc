#include "net/timer_wheel.h"

#include <algorithm>

namespace sollol::net {

void TimerWheel::Entry::disarm() noexcept {
  if (wheel_ == nullptr) return;
  if (previous_ != nullptr) {
    previous_->next_ = next_;
  } else {
    wheel_->slots_[slot_] = next_;
  }
  if (next_ != nullptr) next_->previous_ = previous_;
  --wheel_->armed_;
  next_ = previous_ = nullptr;
  wheel_ = nullptr;
}

TimerWheel::~TimerWheel() {
  for (Entry*& head : slots_) {
    while (head != nullptr) head->disarm();
  }
}

void TimerWheel::arm(Entry& entry, TimePoint deadline) noexcept {
  entry.disarm();
  // One tick past the deadline's own: it has passed for certain when that slot is visited.
  const std::int64_t due = std::max(to_tick(deadline) + 1, now_tick_ + 1);
  entry.slot_ = static_cast<std::size_t>(due) % slot_count;
  entry.deadline_ = deadline;
  entry.wheel_ = this;
  entry.next_ = slots_[entry.slot_];
  if (entry.next_ != nullptr) entry.next_->previous_ = &entry;
  slots_[entry.slot_] = &entry;
  ++armed_;
}

void TimerWheel::advance(TimePoint now) {
  const std::int64_t target = to_tick(now);
  const std::int64_t steps = std::min<std::int64_t>(target - now_tick_, slot_count);
  // First: what an expiry arms must land in a slot that is still to come, not in one just visited.
  now_tick_ = std::max(now_tick_, target);
  for (std::int64_t step = 1; step <= steps; ++step) {
    fire_slot(static_cast<std::size_t>(target - steps + step) % slot_count, now);
  }
}

void TimerWheel::fire_slot(std::size_t slot, TimePoint now) {
  // An expiry may change the list, so the walk starts anew after each; entries of a later round
  // stay.
  for (Entry* entry = slots_[slot]; entry != nullptr;) {
    if (entry->deadline_ > now) {
      entry = entry->next_;
      continue;
    }
    entry->disarm();
    entry->expired();
    entry = slots_[slot];
  }
}

}  // namespace sollol::net

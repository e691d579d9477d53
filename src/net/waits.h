#pragma once

#include <array>
#include <utility>

#include "net/scheduler.h"
#include "net/stream.h"

namespace sollol::net {

/// The callbacks of a stream's two directions and their deadlines, for both kinds of stream.
///
/// `Owner` derives from std::enable_shared_from_this: a callback may destroy its stream.
template <class Owner>
class Waits {
 public:
  Waits(Owner& owner, Scheduler& scheduler) noexcept
      : scheduler_(scheduler), sides_{Side{owner, *this}, Side{owner, *this}} {}
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

  void set(Direction direction, TimePoint deadline, Stream::Callback callback) {
    Side& side = of(direction);
    side.callback = std::move(callback);
    if (deadline == no_deadline) {
      side.disarm();
    } else {
      scheduler_.arm(side, deadline);
    }
  }
  void forget(Direction direction) {
    Side& side = of(direction);
    side.disarm();
    // Moved out first: what the callback owns may call back into this.
    const auto dropped = std::exchange(side.callback, nullptr);
    const auto dropped_too = std::exchange(side.cancelled, nullptr);
  }
  /// What waits now will be told so by `tell_cancelled`, which the owner calls from its loop.
  void cancel() {
    for (Side& side : sides_) {
      side.disarm();
      if (side.callback) side.cancelled = std::exchange(side.callback, nullptr);
    }
  }
  void tell_cancelled() {
    for (Side& side : sides_) {
      auto cancelled = std::exchange(side.cancelled, nullptr);
      if (cancelled) cancelled(Wake::cancelled);
    }
  }
  void drop_cancelled() {
    for (Side& side : sides_) const auto dropped = std::exchange(side.cancelled, nullptr);
  }
  bool waiting(Direction direction) noexcept { return static_cast<bool>(of(direction).callback); }
  void wake(Direction direction, Wake wake) {
    Side& side = of(direction);
    if (!side.callback) return;
    side.disarm();
    auto callback = std::exchange(side.callback, nullptr);
    callback(wake);
  }

 private:
  struct Side final : TimerWheel::Entry {
    Side(Owner& o, Waits& w) : owner(o), waits(w) {}
    Side(Side&& other) noexcept : owner(other.owner), waits(other.waits) {}
    void expired() override {
      const auto keep = owner.shared_from_this();
      waits.wake(this == &waits.sides_[0] ? Direction::read : Direction::write, Wake::timed_out);
    }
    Owner& owner;
    Waits& waits;
    Stream::Callback callback;
    Stream::Callback cancelled;  // was waiting when it was cancelled, and is about to be told
  };

  Side& of(Direction direction) noexcept { return sides_[std::to_underlying(direction)]; }

  Scheduler& scheduler_;
  std::array<Side, 2> sides_;
};

}  // namespace sollol::net

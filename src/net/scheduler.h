#pragma once

#include "base/time.h"
#include "net/task.h"
#include "net/timer_wheel.h"

namespace sollol::net {

/// Where time comes from and how one waits for it. One per thread.
class Scheduler {
 public:
  virtual ~Scheduler() = default;
  virtual TimePoint now() const = 0;
  virtual WallTime wall_now() const = 0;
  /// Returns at `when` or, cancelled, never: the task is destroyed with its owner.
  virtual Task<> sleep_until(TimePoint when) = 0;
  /// Calls `entry.expired()` at `when`, up to one tick of the wheel late.
  virtual void arm(TimerWheel::Entry& entry, TimePoint when) = 0;
};

}  // namespace sollol::net

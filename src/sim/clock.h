#pragma once

#include "base/time.h"

namespace sollol::sim {

/// Simulated time: the process's own clock, run `scale` times as fast.
class SimClock {
 public:
  explicit SimClock(double scale) : start_(Clock::now()), scale_(scale) {}

  TimePoint now() const { return start_ + stretch(Clock::now() - start_, scale_); }
  /// The real moment at which the simulated one comes.
  TimePoint real(TimePoint simulated) const {
    return start_ + stretch(simulated - start_, 1 / scale_);
  }
  /// The same on the calendar.
  WallTime wall(TimePoint simulated) const {
    return calendar_start_ +
           std::chrono::duration_cast<WallTime::duration>(real(simulated) - start_);
  }

 private:
  static Duration stretch(Duration d, double factor) {
    return Duration{static_cast<Duration::rep>(static_cast<double>(d.count()) * factor)};
  }

  TimePoint start_;
  // Once: a moment must be told alike each time.
  WallTime calendar_start_ = std::chrono::system_clock::now();
  double scale_;
};

}  // namespace sollol::sim

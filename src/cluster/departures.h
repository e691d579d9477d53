#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace sollol::cluster {

/// How long a request is expected to keep its place, and how little is known of that: 0: it is
/// certain, 1: whatever it has had, `part_left` of it may be left.
struct Stay {
  double seconds = 0;
  float doubt = 1;
};

/// Of a request whose length nobody knows, so much is still to do whenever one looks.
inline constexpr double part_left = 0.5;

/// When the requests that run at a replica will end, on average. Those who tell it hold a lock; any
/// thread reads.
class Departures {
 public:
  void add(TimePoint end, float doubt) noexcept { change(1, end, doubt); }
  void remove(TimePoint end, float doubt) noexcept { change(-1, end, doubt); }

  /// Below zero: they are late.
  double left_s(TimePoint now) const noexcept {
    return 1e-6 * static_cast<double>(mean_us_.load(std::memory_order_relaxed) - micros(now));
  }
  float doubt() const noexcept { return mean_doubt_.load(std::memory_order_relaxed); }

 private:
  static std::int64_t micros(TimePoint at) noexcept {
    return std::chrono::floor<std::chrono::microseconds>(at.time_since_epoch()).count();
  }
  void change(int by, TimePoint end, float doubt) noexcept {
    count_ += by;
    ends_us_ += by * micros(end);
    doubts_ = count_ == 0 ? 0 : doubts_ + static_cast<double>(by) * doubt;
    if (count_ == 0) return;
    // The mean, so that one load reads what belongs together.
    mean_us_.store(ends_us_ / count_, std::memory_order_relaxed);
    mean_doubt_.store(static_cast<float>(doubts_ / count_), std::memory_order_relaxed);
  }

  std::int64_t count_ = 0;
  std::int64_t ends_us_ = 0;  // the sum
  double doubts_ = 0;         // the sum
  std::atomic<std::int64_t> mean_us_{0};
  std::atomic<float> mean_doubt_{1};
};

}  // namespace sollol::cluster

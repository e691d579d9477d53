#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/time.h"

namespace sollol::cluster {

/// A rate that fell at once: something else may have had the device for a moment. It would keep a
/// node from being chosen, and so from being measured again; so now and then one request is sent as
/// if the rate were what it was before. Where that finds it slow again, the next one comes after
/// twice the time.
///
/// Written under the replica's lock; `rate` may be asked by any thread.
class Setback {
 public:
  static constexpr Duration pause_first = std::chrono::seconds(10);
  static constexpr Duration pause_most = std::chrono::hours(1);
  /// A rate that is lower by less is no setback.
  static constexpr double fall_min = 1.5;

  /// The rate that a choice goes by, where `measured` is the present one.
  double rate(double measured, TimePoint now) const noexcept {
    const std::int64_t due = due_ns_.load(std::memory_order_relaxed);
    if (due == 0 || now.time_since_epoch().count() < due) [[likely]]
      return measured;
    return before_.load(std::memory_order_relaxed);
  }
  bool pending() const noexcept { return due_ns_.load(std::memory_order_relaxed) != 0; }
  double before() const noexcept { return before_.load(std::memory_order_relaxed); }

  /// It fell from `before`; a further fall leaves what was before the first.
  void begin(double before, TimePoint now) noexcept {
    if (!pending()) {
      before_.store(before, std::memory_order_relaxed);
      pause_ = pause_first;
    }
    wait_until(now + pause_);
  }
  /// A request is sent; if one was due to find out, this is it.
  void sent(TimePoint now) noexcept {
    const std::int64_t due = due_ns_.load(std::memory_order_relaxed);
    if (due == 0 || now.time_since_epoch().count() < due) return;
    pause_ = std::min(2 * pause_, pause_most);
    wait_until(now + pause_);
  }
  /// Whether a measurement says that it is over: it is nearer to what was before.
  bool is_over(double measured, double present) const noexcept {
    return pending() && measured * measured > before() * present;
  }
  void end() noexcept { due_ns_.store(0, std::memory_order_relaxed); }

 private:
  void wait_until(TimePoint due) noexcept {
    due_ns_.store(due.time_since_epoch().count(), std::memory_order_relaxed);
  }

  std::atomic<std::int64_t> due_ns_{0};  // of Clock's epoch; 0: there is none
  std::atomic<double> before_{0};
  Duration pause_{};
};

}  // namespace sollol::cluster

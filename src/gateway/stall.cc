#include "gateway/stall.h"

#include <algorithm>

namespace sollol::gateway {

namespace {

/// Longest silences vary: another request's prompt, or a load beside, stops a stream for seconds.
constexpr double times_longest_gap = 8;

}  // namespace

Duration stall_limit(const StallOptions& options, const cluster::ReplicaLive* replica) noexcept {
  if (!options.enabled) return {};
  if (options.fixed.count() > 0) return options.fixed;
  const double known =
      replica == nullptr ? 0 : replica->longest_gap_s.load(std::memory_order_relaxed);
  if (known <= 0) return options.most;
  const double limit = known * times_longest_gap;
  return from_seconds(std::clamp(limit, to_seconds(options.least),
                                 std::max(to_seconds(options.least), to_seconds(options.most))));
}

void StallTimer::start(TimePoint now, Duration limit) {
  if (running() || limit.count() == 0) return;
  limit_ = limit;
  last_ = now;
  scheduler_.arm(*this, now + limit);
}

void StallTimer::expired() {
  if (scheduler_.now() - last_ < limit_) {
    scheduler_.arm(*this, last_ + limit_);
    return;
  }
  has_stalled_ = true;
  stalled_();
}

}  // namespace sollol::gateway

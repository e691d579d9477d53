#include "cluster/wake.h"

namespace sollol::cluster {

bool WakeCalls::may_send(TimePoint now, const WakeOptions& options) const {
  const bool too_soon = last_ != TimePoint{} && now - last_ < options.interval;
  return !too_soon && !given_up(now, options);
}

void WakeCalls::sent(TimePoint now, const WakeOptions& options) {
  const bool rested = first_ != TimePoint{} && now - first_ >= (1 + rest) * options.time;
  if (first_ == TimePoint{} || rested) first_ = now;
  last_ = now;
}

bool WakeCalls::given_up(TimePoint now, const WakeOptions& options) const {
  if (first_ == TimePoint{}) return false;
  return now - first_ >= options.time && now - first_ < (1 + rest) * options.time;
}

}  // namespace sollol::cluster

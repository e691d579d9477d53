#include "cluster/slot_limit.h"

#include <algorithm>

namespace sollol::cluster {

void SlotLimit::want_more(TimePoint now) {
  if (configured_ > 0 || exploring_ || limit_ >= limit_max) return;
  if (waited_at_ && now - *waited_at_ < explore_again_after) return;
  exploring_ = true;
}

void SlotLimit::observe(const SlotObservation& seen, TimePoint now) {
  if (configured_ > 0) return;
  const auto tolerated = std::max<Duration>(
      wait_ignored, std::chrono::duration_cast<Duration>(seen.service_time * wait_share_ignored));
  const bool waited = seen.slot_wait > tolerated;
  if (!waited) {
    if (seen.in_flight_at_dispatch <= limit_) return;
    limit_ = std::min(seen.in_flight_at_dispatch, limit_max);
    exploring_ = false;
    waited_at_.reset();
    return;
  }
  // Sent as the k-th and waited: at most k − 1 slots. One below the limit may only mean that earlier ones ran long.
  if (seen.in_flight_at_dispatch > limit_) {
    exploring_ = false;
    waited_at_ = now;
  } else if (limit_ > 1 && seen.in_flight_at_dispatch == limit_) {
    --limit_;
    waited_at_ = now;
  }
}

}  // namespace sollol::cluster

#include "cluster/slot_limit.h"

#include <algorithm>

namespace sollol::cluster {

void SlotLimit::configure(std::uint32_t configured) {
  if (configured == configured_) return;
  configured_ = configured;
  exploring_ = false;
  waits_ = 0;
  if (configured > 0) limit_ = configured;
}

void SlotLimit::restore(std::uint32_t learnt) {
  if (configured_ == 0) limit_ = std::clamp(learnt, 1u, limit_max);
}

void SlotLimit::want_more(TimePoint now) {
  if (configured_ > 0 || exploring_ || limit_ >= limit_max) return;
  if (waited_at_ && now - *waited_at_ < explore_again_after) return;
  exploring_ = true;
}

void SlotLimit::observe(const SlotObservation& seen, TimePoint now) {
  if (configured_ > 0) return;
  const std::uint32_t in_flight = std::max(1u, seen.in_flight_at_dispatch);
  const auto tolerated = std::max<Duration>(
      wait_ignored,
      std::chrono::duration_cast<Duration>(seen.service_time * (wait_share_ignored / in_flight)));
  const bool waited = seen.slot_wait > tolerated;
  if (in_flight > limit_) {
    exploring_ = false;
    waits_ = 0;
    if (waited) {
      waited_at_ = now;
    } else {
      limit_ = std::min(in_flight, limit_max);
      waited_at_.reset();
    }
  } else if (in_flight == limit_) {
    // Sent as the k-th and waited: at most k − 1 slots. One below the limit may only mean that
    // earlier ones ran long.
    waits_ = waited ? waits_ + 1 : 0;
    if (waits_ < waits_to_lower || limit_ == 1) return;
    --limit_;
    waits_ = 0;
    waited_at_ = now;
  }
}

}  // namespace sollol::cluster

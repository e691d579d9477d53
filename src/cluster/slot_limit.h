#pragma once

#include <cstdint>
#include <optional>

#include "base/time.h"

namespace sollol::cluster {

/// What a finished request tells about the parallel slots of its model on its node.
struct SlotObservation {
  std::uint32_t in_flight_at_dispatch = 1;  // itself included
  Duration slot_wait{};     // total − load − prompt_eval − eval of the final record (reference §4)
  Duration service_time{};  // prompt_eval + eval
};

/// How many requests to send to one node for one model at a time. OLLAMA_NUM_PARALLEL decides it
/// and no route tells it (reference §14), so unless configured it is learnt: a request sent as the
/// k-th that waited for a slot shows that there are fewer than k; one that did not wait shows that
/// there are at least k.
///
/// "Did not wait" allows for the node's own work around a request and for luck: with k in flight
/// one of them ends every service time / k, so the tolerated wait shrinks with k. One wait may be
/// an accident; `waits_to_lower` in a row at the limit are not.
///
/// Starts at 1, Ollama's default: the rest waits here, where it can still go elsewhere, instead of
/// in the node's queue, where it cannot. While requests wait here, one above the limit is tried now
/// and then; it costs that one request no more than it would have waited anyway. Told the time; no
/// clock, no lock.
class SlotLimit {
 public:
  static constexpr std::uint32_t limit_max = 64;
  static constexpr Duration explore_again_after =
      std::chrono::minutes(5);  // after a try that had to wait
  static constexpr Duration wait_ignored =
      std::chrono::milliseconds(30);                 // templating and tokenizing
  static constexpr double wait_share_ignored = 0.1;  // of the service time / in flight
  static constexpr unsigned waits_to_lower = 3;

  /// `configured`: the number to keep to; 0: learn.
  explicit SlotLimit(std::uint32_t configured)
      : configured_(configured), limit_(configured > 0 ? configured : 1) {}

  std::uint32_t limit() const noexcept { return exploring_ ? limit_ + 1 : limit_; }
  /// The number to keep to from now on; 0: learn, starting from the present limit.
  void configure(std::uint32_t configured);
  /// What was learnt in an earlier life; nothing when the number is configured.
  void restore(std::uint32_t learnt);
  /// The limit without the one more that is being tried.
  std::uint32_t learnt() const noexcept { return limit_; }
  void observe(const SlotObservation& seen, TimePoint now);
  /// A request had to queue although the limit is used up: permission to try one more.
  void want_more(TimePoint now);

 private:
  std::uint32_t configured_;
  std::uint32_t limit_;
  bool exploring_ = false;
  unsigned waits_ = 0;                  // in a row, of requests sent at the limit
  std::optional<TimePoint> waited_at_;  // when a try above `limit_` had to wait
};

}  // namespace sollol::cluster

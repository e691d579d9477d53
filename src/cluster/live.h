#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <mutex>

#include "base/time.h"
#include "cluster/departures.h"
#include "cluster/health.h"
#include "cluster/setback.h"
#include "cluster/slot_limit.h"
#include "cluster/speed.h"

namespace sollol::cluster {

/// What an operator decided about a node, whatever its health.
enum class Admin : std::uint8_t { enabled, draining, disabled };

/// How many requests ran at once, on average over a time. Told the time; no lock.
class Occupancy {
 public:
  /// Returns the area up to now.
  double change(int by, TimePoint now) noexcept {
    area_s_ = area_s(now);
    since_ = std::max(since_, now);
    running_ += by;
    return area_s_;
  }
  /// Requests times seconds up to now.
  double area_s(TimePoint now) const noexcept {
    return area_s_ + running_ * to_seconds(std::max(now, since_) - since_);
  }

 private:
  double area_s_ = 0;
  int running_ = 0;
  TimePoint since_{};
};

/// The same of requests that several threads count, without a lock: where two change it at once, a
/// moment goes to the one or the other.
class SharedOccupancy {
 public:
  /// So many ran until now. Requests times seconds up to now.
  double change(std::uint32_t running, TimePoint now) noexcept {
    const std::int64_t at =
        std::chrono::floor<std::chrono::microseconds>(now.time_since_epoch()).count();
    const std::int64_t passed = at - at_us_.exchange(at, std::memory_order_relaxed);
    const std::int64_t area = running * passed;
    return 1e-6 * static_cast<double>(area_us_.fetch_add(area, std::memory_order_relaxed) + area);
  }

 private:
  std::atomic<std::int64_t> at_us_{0};  // of Clock's epoch
  std::atomic<std::int64_t> area_us_{0};
};

/// The changing state of one node, shared by every snapshot that knows it. Workers read it on every
/// choice, so it is atomics only; the control thread alone writes `availability` and `admin`.
struct NodeLive {
  std::atomic<Availability> availability{Availability::unknown};
  std::atomic<Admin> admin{Admin::enabled};
  std::atomic<bool> wants_outcomes{
      false};  // successes are reported too: it failed lately, or is on trial
  std::atomic<bool> trial_free{false};  // half-open: taken by exactly one request
  std::atomic<std::uint32_t> in_flight{0};
  SharedOccupancy occupancy;            // of those
  std::atomic<double> round_trip_s{0};  // smoothed, of liveness probes
  // Smoothed over its models, for those of which nothing is known yet; 0 unknown. Decoding reads
  // all bytes of a model for each token, so quantisation counts; prefill computes with its weights
  // for each, however they are stored; a load reads its bytes once.
  std::atomic<double> decode_bytes_per_s{0};
  std::atomic<double> prefill_weights_per_s{0};
  std::atomic<double> load_bytes_per_s{0};
  // Its requests are noted for judging which nodes slow each other: it may have such a neighbour.
  std::atomic<bool> watched{false};
  // As the agent on its machine tells; without one, nothing is known against it.
  std::atomic<bool> paused{false};         // the machine's owner works there: it takes nothing new
  std::atomic<float> foreign_slowdown{1};  // times as long as without other programs' work
  // Down, it is asleep: a magic packet wakes it. Not while it did not come in spite of some.
  std::atomic<bool> wakeable{false};
  // Models in its memory, and the most that it was ever seen to hold: then another pushes one out.
  std::atomic<std::uint32_t> models_loaded{0};
  std::atomic<std::uint32_t> models_loaded_max{0};
  std::atomic<std::uint32_t> models_busy{0};  // that have requests of ours
  std::atomic<std::uint32_t> loads{0};        // by the gateway, under way
  // Smoothed: how long a load waits that `waits_for_room`; 0 unknown.
  std::atomic<double> room_wait_s{0};
  // Since the gateway started.
  std::atomic<std::uint64_t> wakes{0};  // magic packets sent
  std::atomic<std::uint64_t> requests{0};
  std::atomic<std::uint64_t> settled{0};  // of them, those of which nothing more is to be noted
  std::atomic<std::uint64_t> failures{0};
  std::atomic<std::uint64_t> output_tokens{0};
};

/// Requests in flight at all nodes that share a machine or a device. A request counts where its
/// snapshot says that the node is, from its dispatch to its end; so those that were sent before a
/// new grouping are not among the new group's, unless that took the counter over.
struct SharedLoad {
  std::atomic<std::uint32_t> in_flight{0};
  SharedOccupancy occupancy;
};

/// Whether one more load waits before it begins: a node loads one model at a time, and what has
/// requests is not pushed out. `own`: of the models that are busy, itself.
inline bool waits_for_room(const NodeLive& node, std::uint32_t own) noexcept {
  const std::uint32_t most = node.models_loaded_max.load(std::memory_order_relaxed);
  const std::uint32_t busy = node.models_busy.load(std::memory_order_relaxed);
  return node.loads.load(std::memory_order_relaxed) > 0 || (most > 0 && busy >= most + own);
}

/// Loading another model pushes one out.
inline bool is_full(const NodeLive& node) noexcept {
  const std::uint32_t loaded = node.models_loaded.load(std::memory_order_relaxed);
  return loaded > 0 && loaded >= node.models_loaded_max.load(std::memory_order_relaxed);
}

/// The changing state of one model on one node: the scheduling unit. Atomics for what a choice
/// reads.
struct ReplicaLive {
  explicit ReplicaLive(std::uint32_t configured_slots)
      : slots(configured_slots), limit(slots.limit()) {}

  // Guards what follows, up to the atomics. Taken at the start and the end of a request:
  // uncontended.
  std::mutex learning;
  SlotLimit slots;
  Occupancy occupancy;
  Estimate prefill;             // tokens a second
  TokenTime token;              // of decoding
  KeptEstimate prefill_before;  // their setbacks
  KeptTokenTime token_before;
  Estimate load;      // seconds
  Estimate lateness;  // times as long as expected, of whole requests that may be hedged
  std::atomic<std::uint32_t> limit;
  std::atomic<std::uint32_t> in_flight{0};
  Departures departures;  // told under `learning`

  std::atomic<bool> loaded{false};               // /api/ps lists it, or we sent it work since
  std::atomic<std::int64_t> used_at_ns{0};       // of Clock's epoch: last sent to or answered
  std::atomic<std::uint32_t> loaded_context{0};  // context_length of /api/ps; 0 unknown
  std::atomic<std::uint64_t> runner_key{0};      // runner options of the last request sent; 0 none
  // Loads by the gateway, of Clock's epoch: since when one runs (0: none does), and when the last
  // ended.
  std::atomic<std::int64_t> loading_since_ns{0};
  std::atomic<std::int64_t> load_ended_ns{0};
  std::atomic<bool> load_waits{false};  // the one that runs: it `waits_for_room`
  // A model that fails to load here, or that the node lists and does not have, is avoided here for
  // a while; the node itself may be fine.
  std::atomic<std::int64_t> avoid_until_ns{0};  // of Clock's epoch
  std::atomic<std::uint32_t> failures{0};       // in a row
  std::atomic<std::uint64_t> turns{0};          // requests sent, by which prompt caches grow old
  // From final records; 0 unknown.
  std::atomic<double> prefill_tokens_per_s{0};
  std::atomic<double> decode_tokens_per_s{0};  // of a stream alone
  std::atomic<double> decode_share{TokenTime::share_guess};
  std::atomic<double> device_share{TokenTime::device_share_guess};
  Setback prefill_setback;
  Setback decode_setback;
  std::atomic<double> load_s{0};
  std::atomic<double> service_s{0};
  std::atomic<double> peak_service_s{0};    // see note_peak
  std::atomic<std::int64_t> peak_at_ns{0};  // of Clock's epoch
  std::atomic<double> doubt{1};  // standard deviation of the logarithm of what decides; 1: a guess
  std::atomic<double> longest_gap_s{0};  // between two tokens of one stream: see note_gap
  std::atomic<double> late_factor{0};    // see learn_lateness; 0: not known
};

/// Rotation state of one model, shared by all workers: round-robin's cursor, tie-breaking.
struct ModelLive {
  static constexpr std::uint32_t none = ~std::uint32_t{0};
  std::atomic<std::uint32_t> last_node{none};
  // Where it was sent lately, as indices into its replicas plus one: there it is loaded. After a
  // change of the replicas they may be others', which does no harm.
  static constexpr std::size_t recent_max = 8;
  std::array<std::atomic<std::uint32_t>, recent_max> recent{};
  // Of prompts, smoothed; at first that of English text in common tokenizers.
  static constexpr double bytes_per_token_guess = 4;
  std::atomic<double> bytes_per_token{bytes_per_token_guess};
};

/// Notes that the model was sent to its replica of that index.
inline void note_recent(ModelLive& model, std::size_t replica) noexcept {
  const auto noted = static_cast<std::uint32_t>(replica + 1);
  for (const auto& known : model.recent) {
    if (known.load(std::memory_order_relaxed) == noted) return;
  }
  model.recent[replica % ModelLive::recent_max].store(noted, std::memory_order_relaxed);
}

/// The longest that a failing model is avoided on one node, and the first such time; doubled by
/// each failure.
inline constexpr Duration avoid_max = std::chrono::seconds(60);
inline constexpr Duration avoid_base = std::chrono::seconds(1);

inline void note_replica_failure(ReplicaLive& replica, TimePoint now) noexcept {
  const std::uint32_t failures = replica.failures.fetch_add(1, std::memory_order_relaxed);
  const Duration pause = std::min(avoid_max, avoid_base * (1u << std::min(failures, 6u)));
  replica.avoid_until_ns.store((now + pause).time_since_epoch().count(), std::memory_order_relaxed);
}
inline void note_replica_success(ReplicaLive& replica) noexcept {
  if (replica.failures.load(std::memory_order_relaxed) == 0) return;
  replica.failures.store(0, std::memory_order_relaxed);
  replica.avoid_until_ns.store(0, std::memory_order_relaxed);
}

/// Takes over the longest silence of a stream: a longer one at once, shorter ones by an eighth, so
/// that one quiet hour does not make the next pause look like a stall.
inline void note_gap(std::atomic<double>& longest, double sample) noexcept {
  const double old = longest.load(std::memory_order_relaxed);
  longest.store(sample >= old ? sample : old + (sample - old) / 8, std::memory_order_relaxed);
}

/// How long a peak of the time of whole requests counts.
inline constexpr Duration peak_decay = std::chrono::seconds(10);

/// Takes over how long a request took: a longer time at once, a shorter one by the age of what is
/// known, which counts for
/// `peak_decay`. Concurrent updates may lose one sample: harmless.
inline void note_peak(ReplicaLive& replica, double sample_s, TimePoint now) {
  const double known = replica.peak_service_s.load(std::memory_order_relaxed);
  const Duration age =
      now.time_since_epoch() - Duration(replica.peak_at_ns.load(std::memory_order_relaxed));
  const double kept = std::exp(-to_seconds(age) / to_seconds(peak_decay));
  const double next = sample_s >= known * kept ? sample_s : known * kept + sample_s * (1 - kept);
  replica.peak_service_s.store(next, std::memory_order_relaxed);
  replica.peak_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

/// Moves a smoothed value towards a sample with weight 1/4. Concurrent updates may lose one sample:
/// harmless.
inline void smooth(std::atomic<double>& value, double sample) noexcept {
  const double old = value.load(std::memory_order_relaxed);
  value.store(old == 0 ? sample : old + (sample - old) / 4, std::memory_order_relaxed);
}

}  // namespace sollol::cluster

#include "cluster/learn.h"

namespace sollol::cluster {
namespace {

/// Rates are kept as they would be without other programs' work there, since a choice counts that
/// as it is then: `foreign` is how many times as long all takes with it.
void learn_rates(ReplicaLive& replica, const Finished& finished, double foreign) {
  if (finished.eval.count() > 0 && finished.output_tokens > 1) {
    smooth(replica.decode_tokens_per_s,
           foreign * static_cast<double>(finished.output_tokens) / to_seconds(finished.eval));
  }
  if (finished.prompt_eval.count() > 0 && finished.prompt_tokens > 0) {
    smooth(replica.prefill_tokens_per_s, foreign * static_cast<double>(finished.prompt_tokens) /
                                             to_seconds(finished.prompt_eval));
  }
  if (finished.load > load_min) smooth(replica.load_s, to_seconds(finished.load));
}

void learn_slots(ReplicaLive& replica, const Finished& finished, TimePoint now) {
  if (finished.total.count() == 0) return;
  const std::scoped_lock lock(replica.slots_mutex);
  replica.slots.observe({.in_flight_at_dispatch = finished.in_flight_at_dispatch,
                         .slot_wait = finished.slot_wait,
                         .service_time = finished.prompt_eval + finished.eval},
                        now);
  replica.limit.store(replica.slots.limit(), std::memory_order_relaxed);
}

}  // namespace

void learn(ReplicaLive& replica, const Finished& finished, double foreign, TimePoint now) {
  note_replica_success(replica);
  smooth(replica.service_s, to_seconds(finished.took) / foreign);
  if (finished.told) {
    learn_rates(replica, finished, foreign);
    learn_slots(replica, finished, now);
  }
  if (finished.longest_gap.count() > 0)
    note_gap(replica.longest_gap_s, to_seconds(finished.longest_gap));
}

void load_begins(ReplicaLive& replica, std::uint64_t runner_key, TimePoint now) noexcept {
  replica.loaded.store(false, std::memory_order_relaxed);
  replica.runner_key.store(runner_key, std::memory_order_relaxed);
  replica.loading_since_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

void load_ended(ReplicaLive& replica, LoadEnd end, Duration took, TimePoint now) noexcept {
  if (end == LoadEnd::model_failed) note_replica_failure(replica, now);
  if (end == LoadEnd::loaded && took > load_min) smooth(replica.load_s, to_seconds(took));
  replica.used_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  replica.loaded.store(end == LoadEnd::loaded, std::memory_order_relaxed);
  replica.loading_since_ns.store(0, std::memory_order_relaxed);
}

void want_more(const Model& model, TimePoint now) {
  for (const Replica& replica : model.replicas) {
    ReplicaLive& live = *replica.live;
    const std::scoped_lock lock(live.slots_mutex);
    live.slots.want_more(now);
    live.limit.store(live.slots.limit(), std::memory_order_relaxed);
  }
}

}  // namespace sollol::cluster

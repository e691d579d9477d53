#include "cluster/learn.h"

#include <cmath>

namespace sollol::cluster {
namespace {

/// Fewer evaluated tokens tell the overhead of a request, not a rate.
constexpr double prompt_tokens_min = 8;
/// Of none, 0 would say that nothing is known.
constexpr double room_wait_min_s = 0.001;

void learn_decoding(NodeLive& node, ReplicaLive& replica, const Finished& finished, double foreign,
                    TimePoint now) {
  if (finished.eval.count() <= 0 || finished.output_tokens <= 1) return;
  const Company& beside = finished.meanwhile;
  const double per_token = to_seconds(finished.eval) / finished.output_tokens /
                           slowed_by_machine(foreign, beside.machine);
  const double alone_s = per_token / replica.token.times_alone(beside.streams, beside.neighbours());
  if (replica.token.known() &&
      replica.decode_setback.is_over(1 / alone_s, 1 / replica.token.alone_s())) {
    replica.token.restore(replica.token_before);
    replica.decode_setback.end();
  }
  const KeptTokenTime before = replica.token.wavers() ? replica.token.kept() : KeptTokenTime{};
  const bool changed = replica.token.observe(per_token, beside.streams, beside.neighbours(), now);
  const double rate = 1 / replica.token.alone_s();
  if (changed && rate * Setback::fall_min < 1 / before.alone_s) {
    if (!replica.decode_setback.pending()) replica.token_before = before;
    replica.decode_setback.begin(1 / before.alone_s, now);
  }
  replica.decode_tokens_per_s.store(rate, std::memory_order_relaxed);
  replica.decode_share.store(replica.token.share(), std::memory_order_relaxed);
  replica.device_share.store(replica.token.device_share(), std::memory_order_relaxed);
  if (finished.size_bytes > 0)
    smooth(node.decode_bytes_per_s, rate * static_cast<double>(finished.size_bytes));
}

void learn_prefill(NodeLive& node, ReplicaLive& replica, const Finished& finished, double foreign,
                   TimePoint now) {
  const Company& beside = finished.at_dispatch;
  const double slowed = slowed_by_machine(foreign, beside.machine) *
                        replica.token.times_alone(1, beside.neighbours());
  if (finished.prompt_eval.count() <= 0 || finished.prompt_tokens < prompt_tokens_min) return;
  const double measured = slowed * finished.prompt_tokens / to_seconds(finished.prompt_eval);
  if (replica.prefill_setback.is_over(measured, replica.prefill.value())) {
    replica.prefill.restore(replica.prefill_before);
    replica.prefill_setback.end();
  }
  const KeptEstimate before = replica.prefill.wavers() ? replica.prefill.kept() : KeptEstimate{};
  if (replica.prefill.observe(measured, now) &&
      replica.prefill.value() * Setback::fall_min < before.value) {
    if (!replica.prefill_setback.pending()) replica.prefill_before = before;
    replica.prefill_setback.begin(before.value, now);
  }
  replica.prefill_tokens_per_s.store(replica.prefill.value(), std::memory_order_relaxed);
  if (finished.weights > 0)
    smooth(node.prefill_weights_per_s, replica.prefill.value() * finished.weights);
}

/// Of what decides: decoding, where there is any.
double doubt_of(const ReplicaLive& replica, TimePoint now) {
  const bool decodes = replica.token.known();
  const double weight = decodes ? replica.token.weight(now) : replica.prefill.weight(now);
  const double spread = decodes ? replica.token.spread() : replica.prefill.spread();
  return weight > 0 ? std::min(spread / std::sqrt(weight), 1.0) : 1;
}

/// What may have `waited` for room tells the most that a load takes. The lock is held.
void take_load(NodeLive& node, ReplicaLive& replica, std::uint64_t size_bytes, Duration took,
               bool waited, TimePoint now) {
  if (took <= load_min) return;
  if (waited && replica.load.known() && to_seconds(took) > replica.load.value()) return;
  replica.load.observe(to_seconds(took), now);
  replica.load_s.store(replica.load.value(), std::memory_order_relaxed);
  if (size_bytes > 0)
    smooth(node.load_bytes_per_s, static_cast<double>(size_bytes) / replica.load.value());
}

/// The lock is held.
void tell_lateness(ReplicaLive& replica) {
  const bool enough = replica.lateness.samples() >= lateness_samples_min;
  replica.late_factor.store(enough ? replica.lateness.above(late_spreads) : 0,
                            std::memory_order_relaxed);
}

}  // namespace

void learn(NodeLive& node, ReplicaLive& replica, const Finished& finished, TimePoint now) {
  const double foreign = node.foreign_slowdown.load(std::memory_order_relaxed);
  note_replica_success(replica);
  const Company& beside = finished.meanwhile;
  const double device_share = replica.device_share.load(std::memory_order_relaxed);
  smooth(replica.service_s,
         to_seconds(finished.took) /
             (slowed_by_machine(foreign, beside.machine) * (1 + device_share * beside.device)));
  note_peak(replica, to_seconds(finished.took), now);
  if (finished.longest_gap.count() > 0)
    note_gap(replica.longest_gap_s, to_seconds(finished.longest_gap));
  if (!finished.told) return;
  const std::scoped_lock lock(replica.learning);
  learn_decoding(node, replica, finished, foreign, now);
  learn_prefill(node, replica, finished, foreign, now);
  take_load(node, replica, finished.size_bytes, finished.load, finished.at_dispatch.others > 0,
            now);
  replica.doubt.store(doubt_of(replica, now), std::memory_order_relaxed);
  if (finished.total.count() == 0) return;
  replica.slots.observe({.in_flight_at_dispatch = finished.in_flight_at_dispatch,
                         .slot_wait = finished.slot_wait,
                         .service_time = finished.prompt_eval + finished.eval},
                        now);
  replica.limit.store(replica.slots.limit(), std::memory_order_relaxed);
}

void learn_lateness(ReplicaLive& replica, double took_s, double expected_s, TimePoint now) {
  if (!(expected_s > 0)) return;
  const std::scoped_lock lock(replica.learning);
  replica.lateness.observe(took_s / expected_s, now);
  tell_lateness(replica);
}

std::optional<LearntModel> learnt(ReplicaLive& replica) {
  LearntModel known{.service_s = replica.service_s, .longest_gap_s = replica.longest_gap_s};
  const std::scoped_lock lock(replica.learning);
  known.slots = replica.slots.learnt();
  known.prefill = replica.prefill.kept();
  known.token = replica.token.kept();
  known.load = replica.load.kept();
  known.lateness = replica.lateness.kept();
  const bool nothing = known.service_s == 0 && known.slots <= 1 && known.prefill.value == 0 &&
                       known.token.alone_s == 0 && known.load.value == 0;
  return nothing ? std::nullopt : std::optional(known);
}

void restore(ReplicaLive& replica, const LearntModel& learnt) {
  const std::scoped_lock lock(replica.learning);
  replica.prefill.restore(learnt.prefill);
  replica.token.restore(learnt.token);
  replica.load.restore(learnt.load);
  replica.lateness.restore(learnt.lateness);
  tell_lateness(replica);
  replica.prefill_tokens_per_s = replica.prefill.value();
  if (replica.token.known()) {
    replica.decode_tokens_per_s = 1 / replica.token.alone_s();
    replica.decode_share = replica.token.share();
    replica.device_share = replica.token.device_share();
  }
  replica.load_s = replica.load.value();
  replica.service_s = learnt.service_s;
  replica.longest_gap_s = learnt.longest_gap_s;
  replica.slots.restore(learnt.slots);
  replica.limit = replica.slots.limit();
}

void grow_older(ReplicaLive& replica, TimePoint now) {
  const std::scoped_lock lock(replica.learning);
  replica.doubt.store(doubt_of(replica, now), std::memory_order_relaxed);
}

void load_begins(NodeLive& node, ReplicaLive& replica, std::uint64_t runner_key,
                 TimePoint now) noexcept {
  const std::uint32_t own = replica.in_flight.load(std::memory_order_relaxed) > 0 ? 1 : 0;
  replica.load_waits.store(waits_for_room(node, own), std::memory_order_relaxed);
  node.loads.fetch_add(1, std::memory_order_relaxed);
  replica.loaded.store(false, std::memory_order_relaxed);
  replica.loaded_context.store(0, std::memory_order_relaxed);
  replica.runner_key.store(runner_key, std::memory_order_relaxed);
  replica.loading_since_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
}

void load_ended(NodeLive& node, ReplicaLive& replica, std::uint64_t size_bytes, LoadEnd end,
                Duration took, TimePoint now) noexcept {
  node.loads.fetch_sub(1, std::memory_order_relaxed);
  if (end == LoadEnd::model_failed) note_replica_failure(replica, now);
  if (end == LoadEnd::loaded) {
    const std::scoped_lock lock(replica.learning);
    const bool waited = replica.load_waits.load(std::memory_order_relaxed);
    if (waited && replica.load.known())
      smooth(node.room_wait_s, std::max(to_seconds(took) - replica.load.value(), room_wait_min_s));
    take_load(node, replica, size_bytes, took, waited, now);
  }
  replica.used_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  replica.loaded.store(end == LoadEnd::loaded, std::memory_order_relaxed);
  replica.load_ended_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  replica.loading_since_ns.store(0, std::memory_order_release);
}

void want_more(const Model& model, TimePoint now) {
  for (const Replica& replica : model.replicas) {
    ReplicaLive& live = *replica.live;
    const std::scoped_lock lock(live.learning);
    live.slots.want_more(now);
    live.limit.store(live.slots.limit(), std::memory_order_relaxed);
  }
}

}  // namespace sollol::cluster

#include "gateway/learn.h"

#include <bit>

#include "cluster/learn.h"
#include "gateway/control.h"
#include "gateway/worker.h"
#include "routing/calibration.h"

namespace sollol::gateway {

using cluster::RequestOutcome;

namespace {

/// Shorter prompts tell more of the template than of the text.
constexpr std::size_t prompt_bytes_min = 400;

cluster::Finished finished(const Slot& slot, const Verdict& verdict) {
  const api::Usage& usage = verdict.usage;
  const double prompt_tokens = static_cast<double>(usage.prompt_tokens) - slot.cached_tokens();
  return {.took = verdict.took,
          .longest_gap = verdict.longest_gap,
          .told = usage.from_node_durations,
          .prompt_tokens = std::max(prompt_tokens, 0.0),
          .output_tokens = static_cast<double>(usage.output_tokens),
          .total = usage.total,
          .load = usage.load,
          .prompt_eval = usage.prompt_eval,
          .eval = usage.eval,
          .slot_wait = usage.slot_wait(),
          .in_flight_at_dispatch = slot.in_flight_at_dispatch(),
          .at_dispatch = slot.company_at_dispatch(),
          .meanwhile = slot.company(),
          .size_bytes = slot.size_bytes(),
          .weights = slot.weights()};
}

/// What the conversation left at the node, how long its answer was, and how its text became tokens.
void learn_history(Worker& worker, const Slot& slot, const Work& work, const api::Usage& usage,
                   TimePoint now) {
  cluster::History& history = worker.shared().history;
  const std::uint64_t tokens = usage.prompt_tokens + usage.output_tokens;
  if (tokens == 0 || work.model == nullptr) return;
  if (work.session != 0) {
    history.note_session(work.session, {.node = slot.node().id,
                                        .replica = slot.replica_index(),
                                        .turn = slot.turn(),
                                        .tokens = static_cast<std::uint32_t>(tokens)});
  }
  if (usage.output_tokens > 0 && work.shape.expected_tokens > 0) {
    history.note_length(work.model->key_hash, work.client, work.num_predict,
                        static_cast<double>(usage.output_tokens), now);
  }
  if (work.prompt_bytes >= prompt_bytes_min && usage.prompt_tokens > 0) {
    cluster::smooth(
        work.model->live->bytes_per_token,
        static_cast<double>(work.prompt_bytes) / static_cast<double>(usage.prompt_tokens));
  }
}

/// A load of the gateway's own comes before the request is sent.
double load_s(const Slot& slot, const Work& work, const Verdict& verdict) {
  if (work.loads != Work::Loads::gateway) return to_seconds(verdict.usage.load);
  return to_seconds(verdict.answered - slot.dispatched() - verdict.took);
}

/// What came of the choice, and how far off what was expected of it was.
void note_prediction(Worker& worker, const Slot& slot, const Work& work, const Verdict& verdict) {
  if (work.model == nullptr || verdict.answered == TimePoint{}) return;
  const api::Usage& usage = verdict.usage;
  const double took_s = to_seconds(verdict.answered - slot.dispatched());
  const double load = load_s(slot, work, verdict);
  worker.decisions().answered(slot.decision, {.took_s = took_s,
                                              .load_s = load,
                                              .prompt_tokens = usage.prompt_tokens,
                                              .output_tokens = usage.output_tokens});
  if (slot.considered.count == 0) return;
  const routing::Predictions predictions =
      routing::compare(slot.considered.nodes.front(), work.shape,
                       {.awaited = work.awaited,
                        .waited_s = to_seconds(slot.dispatched() - work.wait_began),
                        .took_s = took_s,
                        .told = usage.from_node_durations,
                        .prompt_tokens = static_cast<double>(usage.prompt_tokens),
                        .cached_tokens = slot.cached_tokens(),
                        .output_tokens = static_cast<double>(usage.output_tokens),
                        .load_s = load,
                        .prefill_s = to_seconds(usage.prompt_eval),
                        .decode_s = to_seconds(usage.eval)});
  for (std::size_t term = 0; term < predictions.size(); ++term) {
    if (const auto error = predictions[term].error())
      worker.metrics().prediction_errors[term].observe(*error);
  }
}

/// Of requests that may be hedged: what is usual for them is what another one's delay is judged by.
void note_lateness(const Slot& slot, const Verdict& verdict, TimePoint now) {
  if (verdict.answered == TimePoint{} || slot.warmth() != routing::Warmth::warm) return;
  const routing::Considered& expected = slot.considered.nodes.front();
  if (!expected.known) return;
  cluster::learn_lateness(*slot.replica(), to_seconds(verdict.answered - slot.dispatched()),
                          expected.own_s(), now);
}

void report_health(Worker& worker, const Slot& slot, const Verdict& verdict) {
  cluster::NodeLive& live = *slot.node().live;
  const bool failed =
      verdict.health == RequestOutcome::fault || verdict.health == RequestOutcome::refused;
  if (failed) live.failures.fetch_add(1, std::memory_order_relaxed);
  // Successes of a node that has not failed lately tell nothing new.
  const bool wanted =
      failed || slot.is_trial() || live.wants_outcomes.load(std::memory_order_relaxed);
  if (wanted) worker.shared().control.report(slot.node().id, verdict.health);
}

/// What judging normal traffic needs of a finished request (locality/traffic.h). This is all that
/// it costs a request: a flag for most, and for those at nodes that may share something with
/// another, these few figures put down under a lock that nobody holds for longer. Never for a
/// token.
void note_traffic(Worker& worker, const Slot& slot, const Verdict& verdict, TimePoint now) {
  constexpr std::uint64_t tokens_min = 16;  // fewer tell no rate
  if (!slot.node().live->watched.load(std::memory_order_relaxed)) return;
  const bool whole = verdict.kind == Verdict::Kind::relayed && verdict.answered != TimePoint{};
  locality::TrafficRecord record{.node = slot.node().id,
                                 .began = slot.dispatched(),
                                 .ended = whole ? verdict.answered : now,
                                 .solo = slot.was_alone()};
  record.decode_began = record.ended;
  const api::Usage& usage = verdict.usage;
  const bool told = whole && slot.replica() != nullptr && slot.model() &&
                    usage.from_node_durations && usage.eval.count() > 0 &&
                    usage.output_tokens >= tokens_min;
  if (told) {
    record.decode_began = std::max(record.began, record.ended - usage.eval);
    record.tokens_per_s = static_cast<double>(usage.output_tokens) / to_seconds(usage.eval);
    // A longer context makes a token slower: sizes are compared within a factor of two.
    const std::uint64_t size = std::bit_width((usage.prompt_tokens + usage.output_tokens) >> 9);
    const std::uint64_t options = slot.replica()->runner_key.load(std::memory_order_relaxed);
    record.kind =
        (options * 0x9e3779b97f4a7c15ULL) ^ (std::uint64_t{slot.model()->value()} << 8) ^ size;
  }
  worker.shared().control.note_traffic(record);
}

}  // namespace

void learn(Worker& worker, const Slot& slot, const Work& work, const Verdict& verdict,
           Request& request) {
  const TimePoint now = worker.scheduler().now();
  const api::Usage& usage = verdict.usage;
  Outcome& outcome = request.outcome;
  outcome.prompt_tokens = usage.prompt_tokens;
  outcome.output_tokens = usage.output_tokens;
  if (verdict.answered != TimePoint{}) {
    const Duration load = from_seconds(load_s(slot, work, verdict));
    if (load >= cluster::load_min) outcome.load = load;
  }
  outcome.prefill = usage.prompt_eval;
  outcome.decode = usage.eval;
  outcome.num_ctx = work.num_ctx;
  outcome.session = work.session;
  if (verdict.kind == Verdict::Kind::client_left) worker.metrics().client_disconnects.add();
  if (usage.output_tokens > 0) {
    slot.node().live->output_tokens.fetch_add(usage.output_tokens, std::memory_order_relaxed);
  }
  if (cluster::ReplicaLive* replica = slot.replica()) {
    replica->used_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
    if (verdict.kind == Verdict::Kind::relayed) {
      cluster::learn(*slot.node().live, *replica, finished(slot, verdict), now);
      note_prediction(worker, slot, work, verdict);
      if (work.hedge == Work::Hedge::yes) note_lateness(slot, verdict, now);
      learn_history(worker, slot, work, usage, now);
    }
    const bool said_so = verdict.kind == Verdict::Kind::cut && verdict.said_so;
    // A load that failed has been accounted for once, whoever waited for it.
    const bool refused = verdict.kind == Verdict::Kind::refused && !verdict.of_load;
    const bool lacks_model = refused && verdict.status == 404;
    if (lacks_model || said_so || (refused && verdict.status >= 500)) {
      cluster::note_replica_failure(*replica, now);
      replica->loaded.store(false, std::memory_order_relaxed);
    }
    if (lacks_model) worker.shared().control.refresh_soon(slot.node().id);
  }
  report_health(worker, slot, verdict);
  note_traffic(worker, slot, verdict, now);
}

}  // namespace sollol::gateway

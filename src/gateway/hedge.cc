#include "gateway/hedge.h"

#include "gateway/admission.h"
#include "gateway/inference.h"
#include "gateway/learn.h"
#include "gateway/spawn.h"
#include "gateway/worker.h"
#include "routing/hedge.h"

namespace sollol::gateway {

namespace {

bool answers_in_one_piece(api::Operation operation) {
  switch (operation) {
    case api::Operation::embed:
    case api::Operation::embeddings:
    case api::Operation::openai_embeddings:
    case api::Operation::generate:
    case api::Operation::chat:
    case api::Operation::chat_completions:
    case api::Operation::completions:
    case api::Operation::messages:
      return true;
    default:
      return false;
  }
}

routing::FirstTry first_try(const Slot& slot) {
  const routing::Considered& expected = slot.considered.nodes.front();
  return {.tier = slot.node().info.tier,
          .expected_s = expected.known ? expected.own_s() : 0,
          .late_factor = slot.replica()->late_factor.load(std::memory_order_relaxed)};
}

void name_node(Request& request, const Slot& slot) {
  request.outcome.node = slot.node().info.name;
  request.outcome.reason = slot.reason;
}

}  // namespace

bool may_be_hedged(const routing::HedgeOptions& options, api::Operation operation,
                   const api::Intent& intent, const Work& work) {
  return answers_in_one_piece(operation) && !intent.stream && !intent.empty_prompt &&
         intent.keep_alive != api::KeepAlive::unload && work.model != nullptr && !work.pinned &&
         work.urgency != cluster::Urgency::batch &&
         work.shape.expected_tokens <= options.tokens_max;
}

std::optional<Duration> late_after(Connection& client, const Slot& slot) {
  if (client.request().outcome.attempts > 1 || slot.warmth() != routing::Warmth::warm)
    return std::nullopt;
  return routing::hedge_delay(first_try(slot), client.options().hedge.delay_min);
}

net::Task<Verdict> try_hedged(Connection& client, Answer& answer, Work& work, Slot& slot,
                              Attempt::Plan plan, Duration late) {
  Race race(client, answer, work, slot, plan);
  auto running = race.run(late);
  co_return co_await std::move(running);
}

Race::Race(Connection& client, Answer& answer, Work& work, Slot& slot, Attempt::Plan plan)
    : client_(client),
      answer_(answer),
      work_(work),
      slot_(slot),
      plan_(plan),
      worker_(client.worker()),
      first_(client, answer, slot.node()) {
  plan_.race = this;
  plan_.resume = nullptr;  // only streams go on elsewhere
}

net::Task<Verdict> Race::run(Duration late) {
  const TimePoint sent = worker_.scheduler().now();
  client_.on_leave([this] { cancel(); });
  worker_.scheduler().arm(*this, slot_.dispatched() + late);
  Attempt::Plan plan = plan_;
  plan.slot = &slot_;
  auto running = first_.run(plan);
  Verdict verdict = co_await std::move(running);
  verdict.took = worker_.scheduler().now() - sent;
  disarm();
  const bool last = second_ && second_->verdict;
  if (second_ && !last) {
    auto waiting = second_->ended->wait();
    co_await std::move(waiting);
  }
  client_.on_leave(nullptr);
  co_return second_ ? settle(std::move(verdict), last) : std::move(verdict);
}

/// The first try is late.
void Race::expired() {
  if (client_.client_gone() || client_.ended() || first_.answering()) return;
  Admission& admission = worker_.shared().admission;
  const TimePoint now = worker_.scheduler().now();
  const Duration elapsed = now - slot_.dispatched();
  if (admission.waiting() > 0) return look_again(2 * elapsed);  // a free place is somebody else's
  std::vector<routing::Candidate>& candidates = worker_.candidates();
  routing::survey_beside(*work_.view->cluster, *work_.model, work_, slot_.node().id, now,
                         candidates);
  const auto hedge = routing::choose_hedge(candidates, work_.shape, first_try(slot_));
  if (!hedge) return look_again(2 * elapsed);
  if (hedge->after > elapsed) return look_again(hedge->after);
  if (!worker_.shared().hedges.try_retry()) return worker_.metrics().hedges_withheld.add();
  auto slot = admission.placement().take(work_, candidates,
                                         {.index = hedge->index,
                                          .node = candidates[hedge->index].node,
                                          .cost_s = hedge->cost_s,
                                          .reason = routing::Reason::hedge},
                                         now);
  if (slot) begin_second(std::move(*slot));
}

void Race::look_again(Duration after) {
  if (++looks_ < routing::hedge_looks_max)
    worker_.scheduler().arm(*this, slot_.dispatched() + after);
}

void Race::begin_second(Slot slot) {
  second_.emplace(client_, answer_, std::move(slot));
  ++client_.request().outcome.attempts;
  note_decision(client_, second_->slot);
  auto ended = std::make_shared<net::Event>(worker_.context());
  second_->ended = ended.get();
  spawn(worker_.context(), "hedge", run_second(std::move(ended)));
}

/// The event lives as long as this runs and no longer: it holds whoever waits for the end, so that
/// dropping this task drops that one too.
net::Task<void> Race::run_second(std::shared_ptr<net::Event> ended) {
  Attempt::Plan plan = plan_;
  plan.slot = &second_->slot;
  auto running = second_->attempt.run(plan);
  Verdict verdict = co_await std::move(running);
  verdict.took = worker_.scheduler().now() - second_->slot.dispatched();
  second_->verdict = std::move(verdict);
  ended->set();
}

bool Race::claim(const Attempt& by) {
  if (winner_ != nullptr) return winner_ == &by;
  winner_ = &by;
  disarm();
  if (!second_) return true;
  const bool second_won = winner_ == &second_->attempt;
  name_node(client_.request(), second_won ? second_->slot : slot_);
  (second_won ? slot_ : second_->slot).release();
  (second_won ? first_ : second_->attempt).cancel();
  return true;
}

/// The client left, or its request is to end. The second first: the end of the other may be that of
/// this object.
void Race::cancel() {
  if (second_) second_->attempt.cancel();
  first_.cancel();
}

/// Both have ended. Without a winner the later verdict counts, as it would had they been made one
/// after the other.
Verdict Race::settle(Verdict first, bool first_ended_last) {
  const bool second_counts = winner_ == nullptr ? !first_ended_last : winner_ != &first_;
  Verdict final = std::move(second_counts ? *second_->verdict : first);
  Verdict other = std::move(second_counts ? first : *second_->verdict);
  if (second_counts) std::swap(slot_, second_->slot);
  const Slot& other_slot = second_->slot;
  // Counted once, with the verdict that counts.
  if (other.kind == Verdict::Kind::client_left) other.kind = Verdict::Kind::beaten;
  learn(worker_, other_slot, work_, other, client_.request());
  if (other.kind != Verdict::Kind::beaten) work_.excluded.push_back(other_slot.node().id);
  name_node(client_.request(), slot_);
  const HedgeEnd end = winner_ != nullptr      ? (second_counts ? HedgeEnd::won : HedgeEnd::lost)
                       : client_.client_gone() ? HedgeEnd::left
                                               : HedgeEnd::failed;
  worker_.metrics().hedges[static_cast<std::size_t>(end)].add();
  client_.request().outcome.hedge = hedge_end_names[static_cast<std::size_t>(end)];
  return final;
}

}  // namespace sollol::gateway

#include "world/front.h"

#include <algorithm>

namespace sollol::world {

using cluster::LoadEnd;
using cluster::RequestOutcome;
using routing::Warmth;
using End = Recorder::End;

namespace {

/// What a balancer that counts no places takes for their number.
constexpr std::uint32_t places_unknown = 1 << 20;
/// Who waits for a better place than a free one looks again so often whether it is still better.
constexpr Duration look_again_every = std::chrono::milliseconds(250);
/// Measurements of a model on a node after which its predictions are judged as learnt.
constexpr std::uint32_t measured_enough = 50;

std::uint64_t client_key(const Request& request) { return request.client + 1; }  // 0 is anybody

}  // namespace

Front::Front(const Scenario& scenario, const Options& options, Control& control, Machines& machines,
             std::span<const double> noise, Events& events, Recorder& recorder)
    : scenario_(scenario),
      options_(options),
      control_(control),
      machines_(machines),
      events_(events),
      recorder_(recorder),
      noise_(noise),
      random_(options.seed),
      retries_(options.retry_percent),
      hedges_(options.hedge.budget_percent),
      queue_(scenario.queue),
      wanted_ctx_(scenario.fleet.models.size()),
      residency_(routing::ResidencyLimits{}),
      answers_(scenario.fleet.nodes.size() * scenario.fleet.models.size()),
      checks_(scenario.workload.requests.size(), scenario.fleet.nodes.size(),
              options.hedge.budget_percent) {
  for (const ModelSpec& model : scenario.fleet.models)
    models_.push_back(control.snapshot().find_model(model.name));
}

std::uint32_t Front::new_life() {
  if (free_lives_.empty()) {
    lives_.emplace_back();
    return static_cast<std::uint32_t>(lives_.size() - 1);
  }
  const std::uint32_t index = free_lives_.back();
  free_lives_.pop_back();
  return index;
}

void Front::drop(std::uint32_t index) { free_lives_.push_back(index); }

void Front::arrive(std::uint32_t request, TimePoint now) {
  const std::uint32_t index = new_life();
  const Request& asked = scenario_.workload.requests[request];
  Life& life = lives_[index];
  life = Life{.request = request, .model = models_[asked.model], .arrived = now};
  life.demand.num_ctx = asked.num_ctx;
  life.demand.runner_key = runner_key(asked.num_ctx);
  if (asked.pinned) life.demand.pinned = control_.snapshot().nodes[*asked.pinned].id;
  retries_.on_request();
  if (life.model == nullptr) return end(index, End::failed, now);
  estimate(life, asked);
  life.may_be_hedged = options_.hedge.enabled && !asked.streamed && !asked.pinned &&
                       asked.urgency != cluster::Urgency::batch &&
                       life.demand.shape.expected_tokens <= options_.hedge.tokens_max;
  if (life.may_be_hedged) {
    hedges_.on_request();
    checks_.may_be_hedged();
  }
  admit(index, now);
}

/// How much work the request is, by its own words and what is remembered of its like.
void Front::estimate(Life& life, const Request& asked) const {
  life.demand.shape.prompt_tokens = asked.prompt_tokens;
  if (asked.output_tokens > 0) {
    const cluster::ExpectedLength length =
        history_.expected_length(life.model->key_hash, client_key(asked), asked.num_predict);
    life.demand.shape.expected_tokens = length.tokens;
    life.demand.shape.length_spread = length.spread;
  }
  life.demand.shape.may_wait = true;
  if (asked.session == 0) return;
  life.session = std::uint64_t{asked.session} * mix + life.model->id.value();
  life.demand.trace = history_.session(life.session);
}

/// Whoever waits goes first.
void Front::admit(std::uint32_t index, TimePoint now) {
  lives_[index].awaited.reset();
  if (queue_.size() == 0) {
    Awaited nobody;
    const auto placed = place(index, nobody, now);
    if (placed) return placed_.push_back(index);
    if (placed.error().kind != ErrorKind::overloaded) return end(index, End::failed, now);
  }
  enqueue(index, now);
}

void Front::enqueue(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  const Request& request = request_of(life);
  const TimePoint deadline = now + options_.wait_max;
  const auto ticket = queue_.enqueue({.model = life.model->id,
                                      .client = request.client,
                                      .urgency = request.urgency,
                                      .deadline = deadline});
  if (!ticket) return end(index, End::refused, now);
  waiting_.emplace(*ticket, Waiter{.life = index, .began = now});
  checks_.waits(life.model->id, request.urgency);
  events_.add(deadline, Event::Kind::give_up, 0, ticket->value());
  events_.add(now + look_again_every, Event::Kind::look, 0, ticket->value());
  const ModelId model = life.model->id;
  serve(model, now);
  const auto waits = waiting_.find(*ticket);
  if (waits == waiting_.end() || waits->second.holds_out) return;
  cluster::want_more(*life.model, now);
  serve(model, now);
}

/// Lets waiters of the model go while there are places.
void Front::serve(ModelId model, TimePoint now) {
  Awaited awaited;
  queue_.serve(model, [&](cluster::Ticket ticket) {
    Waiter& waiter = waiting_.at(ticket);
    const std::uint32_t index = waiter.life;
    lives_[index].demand.shape.waited_s = to_seconds(now - waiter.began);
    const std::size_t before = awaited.size();
    const auto placed = place(index, awaited, now);
    waiter.holds_out = awaited.size() > before;
    if (!placed && placed.error().kind == ErrorKind::overloaded)
      return false;  // perhaps the next one can
    waiting_.erase(ticket);
    checks_.granted(model, request_of(lives_[index]).urgency);
    placed ? placed_.push_back(index) : end(index, End::failed, now);
    awaited.clear();  // they are all looked at once more
    return true;
  });
}

void Front::look_again(std::uint64_t ticket, TimePoint now) {
  const auto holds_out = [&] {
    const auto found = waiting_.find(cluster::Ticket{ticket});
    return found != waiting_.end() && found->second.holds_out;
  };
  if (!holds_out()) return;
  serve(lives_[waiting_.at(cluster::Ticket{ticket}).life].model->id, now);
  if (holds_out()) events_.add(now + look_again_every, Event::Kind::look, 0, ticket);
}

void Front::give_up(std::uint64_t ticket, TimePoint now) {
  const auto found = waiting_.find(cluster::Ticket{ticket});
  if (found == waiting_.end()) return;
  const std::uint32_t index = found->second.life;
  queue_.cancel(found->first);
  waiting_.erase(found);
  checks_.gave_up(lives_[index].model->id, request_of(lives_[index]).urgency);
  end(index, End::timed_out, now);
}

/// As a balancer does that knows of no places, so that nobody waits here.
Result<routing::Choice> Front::choose_without_places(const Life& life, TimePoint now) {
  routing::survey(control_.snapshot(), life.model, life.demand, now, scratch_);
  for (routing::Candidate& candidate : scratch_) candidate.limit = places_unknown;
  const std::uint32_t last = life.model->live->last_node.load(std::memory_order_relaxed);
  return routing::choose(
      options_.policy, scratch_, life.demand.shape, now, random_.bits(),
      last == cluster::ModelLive::none ? std::nullopt : std::optional(NodeId{last}));
}

Result<void> Front::place(std::uint32_t index, Awaited& awaited, TimePoint now) {
  Life& life = lives_[index];
  const cluster::Snapshot& snapshot = control_.snapshot();
  const auto choice =
      options_.queueing == Queueing::gateway
          ? routing::survey_and_choose(options_.policy, snapshot, life.model, life.demand, awaited,
                                       now, random_.bits(), scratch_)
          : choose_without_places(life, now);
  if (!choice) return std::unexpected(choice.error());
  if (!choice->now) {
    awaited.push_back(choice->later);
    if (!life.awaited) {
      life.awaited = awaited.back();
      life.wait_began = now;
    }
    return std::unexpected(Error{ErrorKind::overloaded, Origin::gateway, Retry::later,
                                 "a node that is full now will have finished it sooner"});
  }
  checks_.chosen(scratch_, *choice);
  return take(life, scratch_[choice->index], now);
}

/// Takes the place at one of the candidates.
Result<void> Front::take(Life& life, const routing::Candidate& seen, TimePoint now) {
  const cluster::Replica& replica = life.model->replicas[seen.replica];
  const cluster::Node& node = control_.snapshot().nodes[replica.node];
  const routing::Considered expected =
      routing::consider(seen, life.demand.shape, routing::priors_of(scratch_));
  const auto entered = cluster::enter(node, replica.live.get(), seen.limit,
                                      routing::stay(expected, life.demand.shape), now);
  if (!entered)
    return std::unexpected(
        Error{ErrorKind::overloaded, Origin::gateway, Retry::later, "its trial has begun"});
  checks_.entered(replica.node, *node.live, *replica.live, seen.limit);
  life.model->live->last_node.store(node.id.value(), std::memory_order_relaxed);
  cluster::note_recent(*life.model->live, seen.replica);
  life.attempt = ++attempts_;
  life.hedge = false;
  life.node = static_cast<std::uint32_t>(replica.node);
  life.replica = replica.live.get();
  life.entered = *entered;
  life.replica_index = seen.replica;
  life.cached_tokens = seen.cached_tokens;
  life.size_bytes = seen.size_bytes;
  life.weights = seen.weights;
  life.expected = expected;
  life.learnt = answers_of(life) >= measured_enough;
  life.cold = seen.warmth != Warmth::warm;
  life.loads_waited = 0;
  recorder_.dispatched(life.request, life.node, now);
  return {};
}

void Front::start(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  ++life.attempts;
  if (life.cold) return make_ready(index, now);
  const auto late = life.may_be_hedged && life.attempts == 1
                        ? routing::hedge_delay(first_try(life), options_.hedge.delay_min)
                        : std::nullopt;
  if (late) events_.add(life.entered.at + *late, Event::Kind::late, index, life.attempt);
  send(index, now);
}

Job Front::job_of(std::uint32_t index) const {
  const Life& life = lives_[index];
  const Request& request = request_of(life);
  return {.id = index,
          .model = request.model,
          .num_ctx = request.num_ctx,
          .prompt_tokens = request.prompt_tokens + life.given,
          .output_tokens = request.output_tokens - life.given,
          .session = request.session,
          .noise = noise_[life.request]};
}

void Front::send(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  life.sent = now;
  const Duration delay = scenario_.fleet.nodes[life.node].network_delay;
  if (delay > Duration::zero())
    return events_.add(now + delay, Event::Kind::entry, index, life.attempt);
  enter(index, life.attempt, now);
}

void Front::enter(std::uint32_t index, std::uint64_t attempt, TimePoint now) {
  const Life& life = lives_[index];
  if (life.attempt != attempt) return;  // given up on its way
  if (machines_.is_down(life.node)) {
    control_.report(life.node, RequestOutcome::refused, now);
    return attempt_failed(index, now);
  }
  machines_.admit(now, life.node, job_of(index));
}

routing::FirstTry Front::first_try(const Life& life) const {
  return {.tier = control_.snapshot().nodes[life.node].info.tier,
          .expected_s = life.expected.known ? life.expected.own_s() : 0,
          .late_factor = life.replica->late_factor.load(std::memory_order_relaxed)};
}

void Front::late(std::uint32_t index, std::uint64_t attempt, TimePoint now) {
  Life& life = lives_[index];
  if (life.attempt != attempt) return;
  const Duration elapsed = now - life.entered.at;
  const auto look_again = [&](Duration after) {
    if (++life.hedge_looks < routing::hedge_looks_max)
      events_.add(life.entered.at + after, Event::Kind::late, index, attempt);
  };
  if (queue_.size() > 0) return look_again(2 * elapsed);  // a free place is somebody else's
  const cluster::Snapshot& snapshot = control_.snapshot();
  routing::survey_beside(snapshot, *life.model, life.demand, snapshot.nodes[life.node].id, now,
                         scratch_);
  const auto hedge = routing::choose_hedge(scratch_, life.demand.shape, first_try(life));
  if (!hedge) return look_again(2 * elapsed);
  if (hedge->after > elapsed) return look_again(hedge->after);
  if (!hedges_.try_retry()) return recorder_.hedge_withheld();
  begin_second(index, scratch_[hedge->index], now);
}

/// A second try is a life of its own for as long as both are under way.
void Front::begin_second(std::uint32_t first, const routing::Candidate& seen, TimePoint now) {
  checks_.hedged(seen, first_try(lives_[first]));
  const std::uint32_t second = new_life();
  Life& life = lives_[second];
  ++lives_[first].attempts;
  life = lives_[first];
  if (!take(life, seen, now)) return drop(second);
  life.hedge = true;
  life.awaited.reset();
  life.rival = first;
  lives_[first].rival = second;
  recorder_.hedged();
  send(second, now);
}

/// Its rival has answered.
void Front::beat(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  machines_.cancel(now, life.node, index);
  release(life, now);
  drop(index);
}

void Front::on_event(const NodeEvent& event) {
  if ((event.job & load_job_mark) != 0) return load_job_ended(event.job, LoadEnd::loaded, event.at);
  Life& life = lives_[event.job];
  if (life.attempt == 0) return;  // beaten at the same moment
  if (event.kind == NodeEvent::Kind::done) return answered(event);
  if (!life.first_token && request_of(life).streamed) life.first_token = event.at;
}

void Front::answered(const NodeEvent& event) {
  Life& life = lives_[event.job];
  const TimePoint now = event.at;
  release(life, now);
  life.replica->used_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  if (life.cold) life.replica->loaded = true;
  if (life.hedge) recorder_.hedge_won();
  if (life.rival) beat(*life.rival, now);
  learn(life, event);
  control_.report(life.node, RequestOutcome::ok, now);
  if (!life.first_token) life.first_token = now;
  hold_against(life, event);
  end(event.job, End::answered, now);
}

/// What the answer tells of the node, and what it leaves behind there.
void Front::learn(const Life& life, const NodeEvent& event) {
  const Job job = job_of(event.job);
  const double evaluated = job.prompt_tokens - life.cached_tokens;
  cluster::learn(*control_.snapshot().nodes[life.node].live, *life.replica,
                 {.took = event.at - life.sent,
                  .told = true,
                  .prompt_tokens = std::max(evaluated, 0.0),
                  .output_tokens = static_cast<double>(job.output_tokens),
                  .total = event.total,
                  .load = event.load,
                  .prompt_eval = event.prompt_eval,
                  .eval = event.eval,
                  .slot_wait = event.slot_wait,
                  .in_flight_at_dispatch = life.entered.in_flight,
                  .at_dispatch = life.entered.company,
                  .meanwhile = life.company,
                  .size_bytes = life.size_bytes,
                  .weights = life.weights},
                 event.at);
  if (life.may_be_hedged && !life.cold && life.expected.known)
    cluster::learn_lateness(*life.replica, to_seconds(event.at - life.entered.at),
                            life.expected.own_s(), event.at);
  if (life.session != 0) {
    history_.note_session(life.session, {.node = control_.snapshot().nodes[life.node].id,
                                         .replica = life.replica_index,
                                         .turn = life.entered.turn,
                                         .tokens = job.prompt_tokens + job.output_tokens});
  }
  if (job.output_tokens > 0)
    history_.note_length(life.model->key_hash, client_key(request_of(life)),
                         request_of(life).num_predict, job.output_tokens, event.at);
}

/// Against what was expected of it, what came of the request.
void Front::hold_against(const Life& life, const NodeEvent& event) {
  const Job job = job_of(event.job);
  recorder_.predicted(
      routing::compare(life.expected, life.demand.shape,
                       {.awaited = life.awaited,
                        .waited_s = to_seconds(life.entered.at - life.wait_began),
                        .took_s = to_seconds(event.at - life.entered.at),
                        .told = true,
                        .prompt_tokens = static_cast<double>(job.prompt_tokens),
                        .cached_tokens = life.cached_tokens,
                        .output_tokens = static_cast<double>(job.output_tokens),
                        .load_s = life.cold ? to_seconds(life.sent - life.entered.at) : 0,
                        .prefill_s = to_seconds(event.prompt_eval),
                        .decode_s = to_seconds(event.eval)}),
      life.learnt           ? Recorder::Known::learnt
      : life.expected.known ? Recorder::Known::little
                            : Recorder::Known::nothing);
  ++answers_of(life);
}

/// Gives the place back and lets the next one in.
void Front::release(Life& life, TimePoint now) {
  const cluster::Node& node = control_.snapshot().nodes[life.node];
  life.company = cluster::leave(node, life.replica, life.entered, now);
  life.attempt = 0;
  checks_.left(life.node, *node.live);
  if (queue_.size() > 0) serve(life.model->id, now);
}

/// The node failed: nothing of the attempt, or no more than `given`, has reached the client.
void Front::attempt_failed(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  release(life, now);
  life.replica->used_at_ns.store(now.time_since_epoch().count(), std::memory_order_relaxed);
  if (life.rival) {
    Life& rival = lives_[*life.rival];
    rival.rival.reset();
    rival.demand.excluded.push_back(control_.snapshot().nodes[life.node].id);
    return drop(index);
  }
  if (life.given > 0) {
    recorder_.resumed();
    life.demand.digest = life.model->replicas.front().digest;  // all nodes have the same
  } else {
    if (life.attempts > options_.attempts_max || !retries_.try_retry())
      return end(index, End::failed, now);
    recorder_.retried();
  }
  life.demand.excluded.push_back(control_.snapshot().nodes[life.node].id);
  admit(index, now);
}

void Front::crash(std::uint32_t node, TimePoint now) {
  const auto lost = machines_.crash(now, node);
  control_.changed(node, now);
  for (const TrueNode::Lost& one : lost) {
    control_.report(node, RequestOutcome::fault, now);
    if ((one.job & load_job_mark) != 0) {
      load_job_ended(one.job, LoadEnd::node_failed, now);
      continue;
    }
    Life& life = lives_[one.job];
    if (request_of(life).streamed)
      life.given = std::min(life.given + one.tokens, request_of(life).output_tokens - 1);
    attempt_failed(one.job, now);
  }
  control_.touched(node, now);
}

void Front::follow(TimePoint now) {
  while (true) {
    if (machines_.has_events()) {
      for (const NodeEvent& event : machines_.take_events()) on_event(event);
    } else if (!placed_.empty()) {
      const std::uint32_t index = placed_.front();
      placed_.pop_front();
      start(index, now);
    } else if (control_.take_kick()) {
      for (const ModelId model : queue_.models_waiting()) serve(model, now);
    } else {
      return;
    }
  }
}

void Front::end(std::uint32_t index, End how, TimePoint now) {
  const Life& life = lives_[index];
  checks_.ended(life.request);
  recorder_.ended(
      life.request, request_of(life), how,
      {.arrived = life.arrived, .first_token = life.first_token.value_or(now), .ended = now});
  ++ended_;
  ++free_users_;
  drop(index);
}

std::uint64_t Front::in_flight() const {
  std::uint64_t sum = 0;
  for (const cluster::Node& node : control_.snapshot().nodes) sum += node.live->in_flight;
  for (const cluster::Model* model : models_) {
    if (model == nullptr) continue;
    for (const cluster::Replica& replica : model->replicas) sum += replica.live->in_flight;
  }
  return sum;
}

}  // namespace sollol::world

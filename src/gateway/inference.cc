#include "gateway/inference.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>

#include "api/context_pin.h"
#include "api/errors.h"
#include "api/intent.h"
#include "api/model_name.h"
#include "gateway/access.h"
#include "gateway/admission.h"
#include "gateway/cold_load.h"
#include "gateway/contexts.h"
#include "gateway/control.h"
#include "gateway/hedge.h"
#include "gateway/learn.h"
#include "gateway/resume.h"
#include "gateway/stall.h"
#include "gateway/worker.h"

namespace sollol::gateway {

namespace asio = net::asio;
using api::Operation;
using cluster::RequestOutcome;

namespace {

constexpr Duration refresh_limit = 1s;
constexpr std::uint64_t mix = 0x9e3779b97f4a7c15ULL;

/// The key under which a conversation is remembered: it is a model's, since its prompt cache is.
std::uint64_t session_key(const Request& request, std::uint64_t conversation, ModelId model) {
  const std::uint64_t named =
      request.session.empty() ? conversation : std::hash<std::string_view>{}(request.session);
  if (named == 0) return 0;
  std::uint64_t key = (named ^ (std::uint64_t{model.value()} + 1) * mix) * mix;
  key ^= key >> 32;
  return key == 0 ? 1 : key;
}

/// How much work the request is, by its own words and what is remembered of its like.
void estimate_shape(const cluster::History& history, const Request& request,
                    const api::Intent& intent, Work& work) {
  work.prompt_bytes = intent.uses_images ? 0 : intent.prompt_bytes;
  const double bytes_per_token = work.model->live->bytes_per_token.load(std::memory_order_relaxed);
  work.shape.prompt_tokens = static_cast<double>(intent.prompt_bytes) / bytes_per_token;
  const bool no_answer = intent.empty_prompt || intent.inputs > 0 || intent.num_predict == 0;
  if (!no_answer) {
    work.num_predict =
        static_cast<std::uint64_t>(std::max<std::int64_t>(intent.num_predict.value_or(0), 0));
    const cluster::ExpectedLength length =
        history.expected_length(work.model->key_hash, work.client, work.num_predict);
    work.shape.expected_tokens = length.tokens;
    work.shape.length_spread = length.spread;
  }
  work.shape.may_wait = true;
  work.session = session_key(request, intent.conversation, work.model->id);
  if (work.session != 0) work.trace = history.session(work.session);
}

/// What the body says, made into work; or the answer when it names no model that could be.
struct Prepared {
  Work work;
  std::string key;    // empty: any node
  std::string model;  // as written
  bool cloud = false;
  bool stream = false;
  bool may_pause =
      false;  // between tokens: the node may collect a tool call, or ask the model twice
  std::optional<api::Reply> answer;
  std::optional<api::Intent> intent;  // its views are of the scanner's: not beyond the next wait
};

void take_intent(Prepared& prepared, const api::Intent& intent) {
  prepared.intent = intent;
  prepared.work.runner_key = intent.runner_key;
  prepared.work.num_ctx = intent.num_ctx;
}

void note_asked(Outcome& outcome, const api::Intent& intent) {
  outcome.stream = intent.stream;
  outcome.num_predict =
      static_cast<std::uint64_t>(std::max<std::int64_t>(intent.num_predict.value_or(0), 0));
}

/// Sets the context of a native request to what its model is pinned to. What the node will refuse
/// stays as it is.
void pin_context(Connection& client, Prepared& prepared, std::string_view& body) {
  Request& request = client.request();
  const ContextPin* pin = pin_of(client.options(), prepared.key);
  const bool can_say = request.route.route_class == api::RouteClass::inference &&
                       request.route.dialect == api::Dialect::native && prepared.intent;
  const std::uint32_t asked = prepared.work.num_ctx;
  if (pin == nullptr || !can_say || prepared.cloud || asked == pin->num_ctx) return;
  if (prepared.work.use == Work::Use::unload) return;
  const std::optional<std::string> text = api::with_num_ctx(body, pin->num_ctx);
  if (!text) return;
  const Result<std::string_view> replaced = client.replace_body(*text);
  if (!replaced) {
    prepared.answer = api::error_reply(request.route.dialect, client.body_status(),
                                       replaced.error().detail, request.id);
    return;
  }
  body = *replaced;
  if (const auto intent = client.worker().intents().scan(body, request.route.operation))
    take_intent(prepared, *intent);
  request.outcome.num_ctx_pinned = pin->num_ctx;
  Metrics& metrics = client.worker().metrics();
  (asked > pin->num_ctx ? metrics.contexts_cut : metrics.contexts_pinned).add();
  if (asked > pin->num_ctx) client.worker().shared().contexts.cut(request, asked, *pin);
}

/// `body`: another one where it had to be changed.
Prepared prepare(Connection& client, std::string_view& body) {
  Request& request = client.request();
  const Operation operation = request.route.operation;
  Prepared prepared;
  if (operation == Operation::transcriptions) {
    Result<std::string> model = api::multipart_model(request.content_type, body);
    if (!model) return prepared;
    prepared.model = std::move(*model);
  } else {
    const Result<api::Intent> intent = client.worker().intents().scan(body, operation);
    if (!intent) return prepared;  // a node words the answer to that best
    prepared.stream = intent->stream;
    prepared.may_pause = intent->uses_tools || intent->uses_format;
    take_intent(prepared, *intent);
    if (intent->empty_prompt && intent->keep_alive == api::KeepAlive::unload)
      prepared.work.use = Work::Use::unload;
    prepared.model = intent->model;
  }
  request.outcome.model = prepared.model;
  if (prepared.model.empty()) {
    prepared.answer = api::missing_model(operation, request.id);
    return prepared;
  }
  const std::optional<api::ModelKey>& key = client.worker().model_keys().find(prepared.model);
  if (!key) {
    prepared.answer = api::invalid_model(operation, prepared.model, request.id);
    return prepared;
  }
  prepared.key = key->view();
  prepared.cloud = key->source() == api::ModelSource::cloud;
  if (!prepared.cloud && request.route.route_class == api::RouteClass::inference &&
      client.options().load.owner == LoadOptions::Owner::gateway) {
    prepared.work.loads = Work::Loads::gateway;
    prepared.work.operation = operation;
    prepared.work.model_as_written = prepared.model;
  }
  if (!client.options().context_pins.empty()) pin_context(client, prepared, body);
  return prepared;
}

bool may_retry(const Verdict& verdict, bool has_model) {
  if (verdict.kind == Verdict::Kind::failed) return verdict.error->retry == Retry::other_node;
  if (verdict.kind != Verdict::Kind::refused) return false;
  return verdict.status >= 500 || (verdict.status == 404 && has_model);
}

/// 503 with Retry-After in the form of the caller's API.
net::Task<void> refuse_unavailable(Connection& client, Answer& answer, std::string message,
                                   Duration retry_after) {
  const Request& request = client.request();
  api::Reply reply = api::error_reply(request.route.dialect, 503, message, request.id);
  auto answering =
      answer.refuse(reply.status, reply.content_type, std::move(reply.body),
                    fmt::format("Retry-After: {:.0f}\r\n", std::max(1.0, to_seconds(retry_after))));
  co_await std::move(answering);
}

/// Tells the client that the answer it has begun to get will not be finished.
net::Task<void> answer_cut(Connection& client, Answer& answer, const Verdict& verdict) {
  client.worker().metrics().broken_streams.add();
  Outcome& outcome = client.request().outcome;
  const std::string detail =
      verdict.error ? verdict.error->detail : fmt::format("answered {}", verdict.status);
  const std::string why = client.ended()    ? client.ended()->detail
                          : verdict.said_so ? detail
                                            : fmt::format("the node {} failed while answering: {}",
                                                          outcome.node, detail);
  outcome.problem = client.ended() ? why
                                   : fmt::format("{}: {}", outcome.node,
                                                 verdict.said_so ? client.for_log(detail)
                                                                 : std::string_view(detail));
  answer.fail(why, verdict.mid_record, verdict.inside_chunk);
  auto flushing = client.flush();
  co_await std::move(flushing);
}

net::Task<void> answer_verdict(Connection& client, Answer& answer, Verdict verdict) {
  if (verdict.kind == Verdict::Kind::refused) {
    auto answering = answer.refuse(verdict.status, verdict.content_type, std::move(verdict.body));
    co_await std::move(answering);
    co_return;
  }
  const Request& request = client.request();
  const bool overloaded = verdict.error->kind == ErrorKind::overloaded;
  client.request().outcome.problem = verdict.said_so ? client.for_log(verdict.error->detail)
                                                     : std::string_view(verdict.error->detail);
  if (overloaded) {
    auto answering = refuse_unavailable(client, answer, verdict.error->detail, 1s);
    co_await std::move(answering);
    co_return;
  }
  api::Reply reply = api::error_reply(request.route.dialect, 502,
                                      "no node could answer: " + verdict.error->detail, request.id);
  auto answering = answer.refuse(reply.status, reply.content_type, std::move(reply.body));
  co_await std::move(answering);
}

net::Task<void> answer_no_place(Connection& client, Answer& answer, Error error) {
  if (error.kind == ErrorKind::cancelled) co_return;
  client.request().outcome.problem = error.detail;
  const bool no_nodes = client.worker().view()->cluster->nodes.empty();
  std::string message = no_nodes ? "no Ollama node is known: start `sollol up` with --node "
                                   "http://HOST:11434, add one with "
                                   "`sollol nodes add URL`, or list it in the node file"
                                 : error.detail;
  auto answering = refuse_unavailable(client, answer, std::move(message),
                                      error.kind == ErrorKind::no_candidate ? 2s : 1s);
  co_await std::move(answering);
}

}  // namespace

void note_decision(Connection& client, Slot& slot) {
  Request& request = client.request();
  request.outcome.node = slot.node().info.name;
  request.outcome.reason = slot.reason;
  slot.decision = client.worker().decisions().add([&](DecisionRecord& record) {
    record.when = request.arrived_wall;
    record.request_id = request.id;
    record.model = request.outcome.model;
    record.node = request.outcome.node;
    record.reason = slot.reason;
    record.explanation = slot.explanation;
    record.cost_s = slot.expected_cost_s;
    record.candidates = slot.candidates;
    record.attempt = request.outcome.attempts;
    record.considered = slot.considered;
    record.answer = {};
  });
}

net::Task<void> answer_body_error(Connection& client, Error error) {
  if (error.kind == ErrorKind::cancelled) co_return;
  const Request& request = client.request();
  client.request().outcome.problem = error.detail;
  client.close_after();
  const int status = client.body_status();
  api::Reply reply = api::error_reply(request.route.dialect, status, error.detail, request.id);
  auto answering = client.answer(std::move(reply), status == 503 ? "Retry-After: 1\r\n" : "");
  co_await std::move(answering);
}

std::optional<api::Reply> apply_wishes(Connection& client, Work& work) {
  Request& request = client.request();
  work.urgency = request.urgency;
  work.client = request.client_key;
  if (request.wants_reason) work.explain = Work::Explain::yes;
  if (request.wanted_node.empty()) return std::nullopt;
  const cluster::Node* node = work.view->cluster->find_node(request.wanted_node);
  if (node != nullptr) {
    work.pinned = node->id;
    return std::nullopt;
  }
  return api::error_reply(
      request.route.dialect, 400,
      fmt::format("X-Sollol-Node: no node is called '{}'; `sollol nodes` lists them",
                  request.wanted_node),
      request.id);
}

bool take_model(Connection& client, Work& work, std::string_view key) {
  work.view = client.worker().view();
  work.model = work.view->cluster->find_model(key);
  return work.model != nullptr;
}

net::Task<bool> look_for_model(Connection& client, Work& work, std::string key) {
  Worker& worker = client.worker();
  if (take_model(client, work, key)) co_return true;
  if (work.view->cluster->nodes.empty()) co_return false;
  Control& control = worker.shared().control;
  auto refreshing =
      asio::co_spawn(control.context(), control.refresh_models(refresh_limit), net::use_task);
  co_await std::move(refreshing);
  co_return take_model(client, work, key);
}

net::Task<void> serve_inference(Connection& client) {
  Request& request = client.request();
  auto reading = client.read_body(client.options().client.body_max);
  Result<std::string_view> body = co_await std::move(reading);
  if (!body) {
    auto refusing = answer_body_error(client, body.error());
    co_await std::move(refusing);
    co_return;
  }
  Prepared prepared = prepare(client, *body);
  if (!prepared.answer) prepared.answer = refuse_model(request, prepared.key);
  if (!prepared.answer && !prepared.key.empty()) {
    bool known = take_model(client, prepared.work, prepared.key);
    if (!known) {
      auto looking = look_for_model(client, prepared.work, prepared.key);
      known = co_await std::move(looking);
    }
    if (!known && !prepared.cloud) {
      const bool hopeless = !any_usable(*prepared.work.view);
      if (hopeless) {
        Answer answer(client, api::StreamForm::opaque);
        auto refusing = answer_no_place(client, answer,
                                        {ErrorKind::no_candidate, Origin::gateway, Retry::later,
                                         "no node answers at present; `sollol nodes` says why"});
        co_await std::move(refusing);
        co_return;
      }
      prepared.answer = api::model_not_found(request.route.operation, prepared.model, request.id);
    }
  }
  if (!prepared.work.view) prepared.work.view = client.worker().view();
  if (!prepared.answer) prepared.answer = apply_wishes(client, prepared.work);
  if (prepared.intent && prepared.work.model != nullptr)
    estimate_shape(client.worker().shared().history, request, *prepared.intent, prepared.work);
  if (prepared.intent) note_asked(request.outcome, *prepared.intent);
  if (prepared.answer) {
    auto answering = client.answer(std::move(*prepared.answer));
    co_await std::move(answering);
    co_return;
  }
  Attempt::Plan plan{.body = *body,
                     .form = api::stream_form(request.route.operation, prepared.stream)};
  if (request.route.operation != Operation::transcriptions)
    plan.payload = Attempt::Plan::Payload::json;
  if (prepared.may_pause) plan.silence = Attempt::Plan::Silence::allowed;
  if (client.options().hedge.enabled && prepared.intent &&
      may_be_hedged(client.options().hedge, request.route.operation, *prepared.intent,
                    prepared.work)) {
    prepared.work.hedge = Work::Hedge::yes;
  }
  auto serving = serve_work(client, std::move(prepared.work), plan);
  co_await std::move(serving);
}

namespace {

/// One try at the slot's node, after the load of its model where that is cold.
net::Task<Verdict> try_node(Connection& client, Answer& answer, Resume& resume, const Work& work,
                            Slot& slot, Attempt::Plan plan) {
  Worker& worker = client.worker();
  const bool cold = work.loads == Work::Loads::gateway && work.use == Work::Use::run &&
                    slot.warmth() != routing::Warmth::warm;
  if (cold) {
    auto loading = worker.shared().loads.ready(client, work, slot, plan.body);
    std::optional<Verdict> failed = co_await std::move(loading);
    if (failed) co_return std::move(*failed);
  } else if (slot.warmth() != routing::Warmth::warm && work.use == Work::Use::run) {
    note_load(client, work, slot, slot.warmth());
  }
  const TimePoint sent = worker.scheduler().now();
  resume.begins(work, slot, sent);
  if (plan.silence == Attempt::Plan::Silence::watched)
    plan.stall_limit = stall_limit(client.options().stall, slot.replica());
  plan.slot = &slot;
  Attempt attempt(client, answer, slot.node());
  auto running = attempt.run(plan);
  Verdict verdict = co_await std::move(running);
  verdict.took = worker.scheduler().now() - sent;
  if (slot.replica() != nullptr && verdict.kind == Verdict::Kind::relayed) {
    if (work.use == Work::Use::unload) slot.replica()->loaded = false;
    if (cold) slot.replica()->loaded = true;
  }
  co_return verdict;
}

}  // namespace

net::Task<void> serve_work(Connection& client, Work work, Attempt::Plan plan) {
  Worker& worker = client.worker();
  Request& request = client.request();
  const bool has_model = work.model != nullptr;
  worker.shared().retries.on_request();
  if (work.hedge == Work::Hedge::yes) worker.shared().hedges.on_request();
  client.watch();
  Answer answer(client, plan.form);
  answer.keep_waiting(client.options().stream.heartbeat);
  Resume resume(client, answer, plan.form);
  plan.resume = &resume;
  std::optional<Verdict> last;
  while (true) {
    Admission& admission = worker.shared().admission;
    std::optional<Result<Slot>> placed = admission.place_now(client, work);
    if (!placed) {
      auto waiting = admission.wait_for_place(client, work);
      placed.emplace(co_await std::move(waiting));
    }
    Result<Slot>& slot = *placed;
    if (!slot) {
      // Nowhere left to try: the last node's own words say more than ours.
      if (answer.committed() && client.client_gone()) co_return;
      if (answer.committed()) resume.no_place();
      auto answering = answer.committed() ? answer_cut(client, answer, *last)
                       : last             ? answer_verdict(client, answer, std::move(*last))
                                          : answer_no_place(client, answer, slot.error());
      co_await std::move(answering);
      resume.account();
      co_return;
    }
    ++request.outcome.attempts;
    note_decision(client, *slot);
    const std::optional<Duration> late =
        work.hedge == Work::Hedge::yes ? late_after(client, *slot) : std::nullopt;
    auto trying = late ? try_hedged(client, answer, work, *slot, plan, *late)
                       : try_node(client, answer, resume, work, *slot, plan);
    Verdict verdict = co_await std::move(trying);
    learn(worker, *slot, work, verdict, request);
    if (answer.committed() && verdict.kind != Verdict::Kind::relayed &&
        verdict.kind != Verdict::Kind::client_left) {
      const Resume::Next next = resume.next(verdict, *slot, work, plan);
      last = std::move(verdict);
      if (next == Resume::Next::attempt) {
        answer.keep_waiting(client.options().stream.heartbeat);
        continue;
      }
      if (next == Resume::Next::declined) {
        auto telling = answer_cut(client, answer, *last);
        co_await std::move(telling);
      }
      resume.account();
      co_return;
    }
    const bool again = may_retry(verdict, has_model) && !client.client_gone() && !client.ended() &&
                       request.outcome.attempts <= client.options().retry.attempts_max &&
                       worker.shared().retries.try_retry();
    if (!again) {
      resume.account();
      if (verdict.kind == Verdict::Kind::refused || verdict.kind == Verdict::Kind::failed) {
        auto answering = answer_verdict(client, answer, std::move(verdict));
        co_await std::move(answering);
      }
      co_return;
    }
    worker.metrics().retries.add();
    work.excluded.push_back(slot->node().id);
    last = std::move(verdict);
  }
}

net::Task<void> serve_lookup(Connection& client) {
  Request& request = client.request();
  const Operation operation = request.route.operation;
  std::string_view body;
  Prepared prepared;
  if (operation == Operation::model) {
    prepared.model = api::percent_decode(request.route.parameter);
    if (const auto key = api::ModelKey::from(prepared.model)) prepared.key = key->view();
  } else {
    auto reading = client.read_body(client.options().client.body_max);
    const Result<std::string_view> read = co_await std::move(reading);
    if (!read) {
      auto refusing = answer_body_error(client, read.error());
      co_await std::move(refusing);
      co_return;
    }
    body = *read;
    prepared = prepare(client, body);
  }
  request.outcome.model = prepared.model;
  if (!prepared.answer) prepared.answer = refuse_model(request, prepared.key);
  prepared.work.view = client.worker().view();
  if (!prepared.answer && !prepared.key.empty()) {
    auto looking = look_for_model(client, prepared.work, prepared.key);
    const bool known = co_await std::move(looking);
    if (!known && any_usable(*prepared.work.view)) {
      prepared.answer = api::model_not_found(operation, prepared.model, request.id);
    }
  }
  // A look-up does no work for the model: it needs no slot, only a node that has it.
  if (prepared.work.model != nullptr) ask_any_owner(prepared.work);
  if (!prepared.answer) prepared.answer = apply_wishes(client, prepared.work);
  if (prepared.answer) {
    auto answering = client.answer(std::move(*prepared.answer));
    co_await std::move(answering);
    co_return;
  }
  auto serving = serve_work(client, std::move(prepared.work), {.body = body});
  co_await std::move(serving);
}

net::Task<void> serve_any_node(Connection& client) {
  auto reading = client.read_body(client.options().client.body_max);
  const Result<std::string_view> body = co_await std::move(reading);
  if (!body) {
    auto refusing = answer_body_error(client, body.error());
    co_await std::move(refusing);
    co_return;
  }
  Work work;
  work.view = client.worker().view();
  if (auto reply = apply_wishes(client, work)) {
    auto answering = client.answer(std::move(*reply));
    co_await std::move(answering);
    co_return;
  }
  auto serving = serve_work(client, std::move(work), {.body = *body});
  co_await std::move(serving);
}

}  // namespace sollol::gateway

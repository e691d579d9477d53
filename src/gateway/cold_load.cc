#include "gateway/cold_load.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "api/errors.h"
#include "api/intent.h"
#include "api/json_scan.h"
#include "api/json_text.h"
#include "base/version.h"
#include "cluster/learn.h"
#include "gateway/contexts.h"
#include "gateway/control.h"
#include "gateway/node_call.h"
#include "gateway/spawn.h"

namespace sollol::gateway {

namespace asio = net::asio;
using cluster::RequestOutcome;
using routing::Warmth;

namespace {

constexpr std::size_t reply_max = 64 * 1024;

}  // namespace

struct ColdLoads::Ended {
  enum class How : std::uint8_t {
    loaded,
    not_asked,  // the node would not load for a bare request: let the real one find out why
    refused,    // the node answered with an error of its own: `status`, `body`
    failed,     // it did not answer properly: `error`
  };
  How how = How::failed;
  int status = 0;
  std::string body;
  std::optional<Error> error;
  RequestOutcome health = RequestOutcome::neutral;

  /// Empty: nothing went wrong.
  std::string problem() const {
    if (how == How::loaded) return {};
    return error ? error->detail : fmt::format("status {}: {}", status, api::error_message(body));
  }
};

/// A request that waits; lives in its coroutine. `load`, `ended` and `gave_up` are guarded by the
/// registry's lock until it is resumed.
struct ColdLoads::Waiter {
  Worker& worker;
  const cluster::Node& node;
  std::move_only_function<void()> resume = {};
  std::shared_ptr<Load> load = {};  // null: nothing to wait for
  std::shared_ptr<const Ended> ended = {};
  std::optional<Error> gave_up = {};
  std::optional<Warmth> begins = {};  // a load: what it found

  void wake() { asio::post(worker.context(), std::move(resume)); }
};

struct ColdLoads::Load {
  std::uint64_t runner_key = 0;
  std::vector<Waiter*> waiters;
};

struct ColdLoads::Subject {
  Key key;
  std::shared_ptr<const FleetView> view;  // holds the node
  const cluster::Node& node;
  std::shared_ptr<cluster::ReplicaLive> replica;
  std::uint64_t size_bytes = 0;  // of the model
  std::string model;
  std::uint64_t runner_key = 0;
  api::Preload preload;
  TimePoint deadline{};
};

namespace {

/// One preload, asked and answered.
net::Task<Result<net::HttpReply>> ask(NodeCall& call, const api::Preload& preload,
                                      TimePoint deadline) {
  std::string fields = fmt::format(
      "Content-Type: application/json\r\nContent-Length: {}\r\nUser-Agent: sollol/{} (preload)\r\n",
      preload.body.size(), version);
  auto sending = call.send("POST", preload.target, std::move(fields), preload.body);
  const Result<void> sent = co_await std::move(sending);
  if (!sent) co_return std::unexpected(sent.error());
  call.wait_until(deadline);
  auto receiving = call.receive_head("POST");
  const auto head = co_await std::move(receiving);
  if (!head) co_return std::unexpected(head.error());
  net::HttpReply reply;
  reply.status = (*head)->status;
  auto reading = call.receive_body(reply_max);
  Result<std::string> body = co_await std::move(reading);
  if (!body) co_return std::unexpected(body.error());
  reply.body = std::move(*body);
  co_return reply;
}

}  // namespace

void note_load(Connection& client, const Work& work, const Slot& slot, Warmth found) {
  Worker& worker = client.worker();
  const bool other_options = found == Warmth::other_options;
  if (other_options) worker.metrics().reloads.add();
  worker.shared().contexts.load(client.request(), work, slot, other_options, client.options().load,
                                worker.scheduler().now());
}

net::Task<std::optional<Verdict>> ColdLoads::ready(Connection& client, const Work& work,
                                                   const Slot& slot, std::string_view body) {
  struct Deadline final : net::TimerWheel::Entry {
    std::function<void()> action;
    void expired() override { action(); }
  };
  Worker& worker = client.worker();
  const Duration limit = client.options().upstream.response_timeout;
  for (unsigned round = 0; round < waits_max; ++round) {
    Waiter waiter{.worker = worker, .node = slot.node()};
    Deadline timer;
    timer.action = [&] {
      give_up(waiter, {ErrorKind::timeout, Origin::node, Retry::other_node,
                       "its model was not loaded in time"});
    };
    if (limit.count() > 0) worker.scheduler().arm(timer, worker.scheduler().now() + limit);
    client.on_leave([&] {
      give_up(waiter, client.ended() ? *client.ended()
                                     : Error{ErrorKind::cancelled, Origin::client, Retry::never,
                                             "the client left"});
    });
    auto enter = [&](auto handler) {
      waiter.resume = [handler = std::move(handler)]() mutable { std::move(handler)(); };
      join(waiter, work, slot, body);
    };
    auto waiting = asio::async_initiate<decltype(net::use_task), void()>(enter, net::use_task);
    co_await std::move(waiting);
    client.on_leave(nullptr);
    timer.disarm();
    if (waiter.begins) note_load(client, work, slot, *waiter.begins);

    Verdict verdict;
    verdict.of_load = true;
    if (waiter.gave_up) {
      verdict.kind = client.client_gone() ? Verdict::Kind::client_left : Verdict::Kind::failed;
      verdict.error = std::move(waiter.gave_up);
      co_return verdict;
    }
    if (waiter.load == nullptr) co_return std::nullopt;
    if (waiter.load->runner_key != work.runner_key) continue;  // look again
    switch (waiter.ended->how) {
      case Ended::How::loaded:
      case Ended::How::not_asked:
        co_return std::nullopt;
      case Ended::How::refused: {
        const api::Reply reply =
            api::translated_error(client.request().route.dialect, waiter.ended->status,
                                  waiter.ended->body, client.request().id);
        verdict.kind = Verdict::Kind::refused;
        verdict.status = reply.status;
        verdict.content_type = reply.content_type;
        verdict.body = reply.body;
        co_return verdict;
      }
      case Ended::How::failed:
        verdict.error = waiter.ended->error;
        co_return verdict;
    }
  }
  co_return std::nullopt;
}

/// Makes the waiter wait for the load of its model on its node, which is started if there is none
/// and the model is not loaded as the work wants it.
void ColdLoads::join(Waiter& waiter, const Work& work, const Slot& slot, std::string_view body) {
  std::optional<Subject> fresh;
  {
    const std::scoped_lock lock(mutex_);
    const Key key{slot.node().id, *slot.model()};
    const auto found = loads_.find(key);
    if (found != loads_.end()) {
      waiter.load = found->second;
      waiter.worker.metrics().loads_joined.add();
    } else if (const Warmth warmth = routing::warmth_of(*slot.replica(), work);
               warmth == Warmth::warm) {
      waiter.wake();
      return;
    } else {
      waiter.begins = warmth;
      waiter.load = std::make_shared<Load>();
      waiter.load->runner_key = work.runner_key;
      loads_.emplace(key, waiter.load);
      fresh.emplace(begin(waiter.worker, work, slot, body));
    }
    waiter.load->waiters.push_back(&waiter);
  }
  // Without the lock: it may end before it first waits.
  Worker& worker = waiter.worker;
  if (fresh) spawn(worker.context(), "load", run(worker, std::move(*fresh)));
}

/// Notes that a load is under way. The lock is held.
ColdLoads::Subject ColdLoads::begin(Worker& worker, const Work& work, const Slot& slot,
                                    std::string_view body) {
  Wanted wanted{work.runner_key, api::preload_for(work.operation, work.model_as_written, body)};
  note_wanted(*slot.model(), wanted);
  Subject subject{.key = {slot.node().id, *slot.model()},
                  .view = slot.view(),
                  .node = slot.node(),
                  .replica = slot.shared_replica(),
                  .size_bytes = slot.size_bytes(),
                  .model = work.model_as_written,
                  .runner_key = work.runner_key,
                  .preload = std::move(wanted.preload),
                  .deadline = worker.scheduler().now() + worker.options().load.timeout};
  begin(worker, subject);
  return subject;
}

void ColdLoads::begin(Worker& worker, const Subject& subject) {
  cluster::load_begins(*subject.node.live, *subject.replica, subject.runner_key,
                       worker.scheduler().now());
  worker.metrics().loads_started.add();
}

// ---- loads that no request waits for

ColdLoads::Subject ColdLoads::subject_of(Worker& worker, const Residence& at, Wanted wanted) {
  const cluster::Replica& replica = at.model->replicas[at.replica];
  const cluster::Node& node = at.view->cluster->nodes[at.node];
  return {.key = {node.id, at.model->id},
          .view = at.view,
          .node = node,
          .replica = replica.live,
          .size_bytes = replica.size_bytes,
          .model = at.model->name,
          .runner_key = wanted.runner_key,
          .preload = std::move(wanted.preload),
          .deadline = worker.scheduler().now() + worker.options().load.timeout};
}

/// The lock is held.
void ColdLoads::note_wanted(ModelId model, Wanted wanted) {
  std::vector<Wanted>& all = wanted_[model];
  std::erase_if(all, [&](const Wanted& w) { return w.runner_key == wanted.runner_key; });
  if (all.size() == wanted_max) all.erase(all.begin());
  all.push_back(std::move(wanted));
}

/// The last, or the one of that key; nullopt: not known. The lock is held.
std::optional<ColdLoads::Wanted> ColdLoads::wanted(const Residence& at,
                                                   std::optional<std::uint64_t> runner_key) const {
  const auto known = wanted_.find(at.model->id);
  if (known == wanted_.end()) return std::nullopt;
  if (!runner_key) return known->second.back();
  const auto found = std::ranges::find(known->second, *runner_key, &Wanted::runner_key);
  return found == known->second.end() ? std::nullopt : std::optional(*found);
}

/// Of a model that nobody has asked for with options: its pin, if it has one.
ColdLoads::Wanted ColdLoads::as_configured(Worker& worker, const Residence& at) {
  const auto& models = at.view->listings[at.node]->models;
  const auto entry = std::ranges::find(models, at.model->key, &api::ModelEntry::key);
  const bool embeds = entry != models.end() && entry->embedding_only;
  const ContextPin* pin = pin_of(worker.options(), at.model->key);
  std::string body = R"({"model":)";
  api::append_json_string(body, at.model->name);
  if (pin != nullptr) body += fmt::format(R"(,"options":{{"num_ctx":{}}})", pin->num_ctx);
  body += '}';
  body.reserve(body.size() + api::json_padding);
  const auto operation = embeds ? api::Operation::embed : api::Operation::generate;
  const auto intent = api::IntentScanner().scan(body, operation);
  return {intent ? intent->runner_key : 0, api::preload_for(operation, at.model->name, body)};
}

net::Task<std::string> ColdLoads::preload(Worker& worker, Residence at) {
  std::optional<Subject> subject;
  {
    const std::scoped_lock lock(mutex_);
    auto how = wanted(at, std::nullopt);
    subject.emplace(subject_of(worker, at, how ? std::move(*how) : as_configured(worker, at)));
    auto fresh = std::make_shared<Load>();
    fresh->runner_key = subject->runner_key;
    if (!loads_.emplace(subject->key, std::move(fresh)).second) co_return std::string{};
    begin(worker, *subject);
  }
  auto loading = load(worker, *subject);
  const std::shared_ptr<const Ended> ended = co_await std::move(loading);
  co_return ended->problem();
}

net::Task<std::string> ColdLoads::keep(Worker& worker, Residence at) {
  const cluster::ReplicaLive& replica = *at.model->replicas[at.replica].live;
  const std::uint64_t key = replica.runner_key.load(std::memory_order_relaxed);
  std::optional<Wanted> how;
  {
    const std::scoped_lock lock(mutex_);
    how = wanted(at, key);
  }
  if (!how && key == 0 && replica.used_at_ns != 0) how = as_configured(worker, at);
  if (!how || how->runner_key != key) co_return std::string{};
  const Subject subject = subject_of(worker, at, std::move(*how));
  NodeCall call(worker, subject.node);
  auto asking = ask(call, subject.preload, subject.deadline);
  const Result<net::HttpReply> reply = co_await std::move(asking);
  if (!reply) co_return reply.error().detail;
  if (reply->status != 200) co_return fmt::format("status {}", reply->status);
  worker.shared().control.refresh_soon(subject.node.id);
  co_return std::string{};
}

void ColdLoads::give_up(Waiter& waiter, const Error& why) {
  const std::scoped_lock lock(mutex_);
  if (waiter.load == nullptr || std::erase(waiter.load->waiters, &waiter) == 0) return;
  waiter.gave_up = why;
  waiter.wake();
}

void ColdLoads::give_up_all(const Error& why) {
  const std::scoped_lock lock(mutex_);
  for (const auto& [key, load] : loads_) {
    for (Waiter* waiter : std::exchange(load->waiters, {})) {
      waiter->gave_up = why;
      waiter->wake();
    }
  }
}

net::Task<void> ColdLoads::run(Worker& worker, Subject subject) {
  auto loading = load(worker, subject);
  co_await std::move(loading);
}

net::Task<std::shared_ptr<const ColdLoads::Ended>> ColdLoads::load(Worker& worker,
                                                                   const Subject& subject) {
  const TimePoint began = worker.scheduler().now();
  NodeCall call(worker, subject.node);
  auto asking = ask(call, subject.preload, subject.deadline);
  Result<net::HttpReply> reply = co_await std::move(asking);
  Ended ended;
  if (!reply) {
    Error error = reply.error();
    ended.health = call.abandoned() || error.kind == ErrorKind::overloaded ? RequestOutcome::neutral
                   : error.kind == ErrorKind::refused                      ? RequestOutcome::refused
                                                                           : RequestOutcome::fault;
    error.detail =
        fmt::format("{}: {} (loading {})", subject.node.info.name, error.detail, subject.model);
    ended.error = std::move(error);
  } else if (reply->status >= 500) {
    ended.how = Ended::How::refused;
    ended.status = reply->status;
    ended.body = std::move(reply->body);
  } else if (reply->status >= 400) {
    ended.how = Ended::How::not_asked;
    ended.status = reply->status;
    ended.body = std::move(reply->body);
  } else if (reply->status != 200 || !reply->body.starts_with('{')) {
    ended.health = RequestOutcome::fault;
    ended.error = Error{ErrorKind::bad_reply, Origin::node, Retry::other_node,
                        fmt::format("{}: answered a load of {} with something else",
                                    subject.node.info.name, subject.model)};
  } else {
    ended.how = Ended::How::loaded;
  }
  co_return finish(worker, subject, std::move(ended), worker.scheduler().now() - began);
}

/// Settles what the load means for its replica and node, then lets those who waited go.
std::shared_ptr<const ColdLoads::Ended> ColdLoads::finish(Worker& worker, const Subject& subject,
                                                          Ended ended, Duration took) {
  const TimePoint now = worker.scheduler().now();
  const bool failed = ended.how == Ended::How::refused || ended.how == Ended::How::failed;
  if (failed) {
    worker.metrics().loads_failed.add();
    spdlog::warn("node {}: loading {} failed after {:.1f} s: {}", subject.node.info.name,
                 subject.model, to_seconds(took),
                 ended.error ? ended.error->detail : fmt::format("status {}", ended.status));
  }
  if (ended.health != RequestOutcome::neutral) {
    subject.node.live->failures.fetch_add(1, std::memory_order_relaxed);
    worker.shared().control.report(subject.node.id, ended.health);
  }
  // What it pushed out of the node's memory is cold now.
  if (ended.how == Ended::How::loaded) worker.shared().control.refresh_soon(subject.node.id);
  // What the node could still say concerns the model; anything else is for the node's health.
  const auto end = ended.how == Ended::How::loaded           ? cluster::LoadEnd::loaded
                   : ended.how == Ended::How::not_asked      ? cluster::LoadEnd::not_asked
                   : ended.health == RequestOutcome::neutral ? cluster::LoadEnd::model_failed
                                                             : cluster::LoadEnd::node_failed;
  const auto outcome = std::make_shared<const Ended>(std::move(ended));
  const std::scoped_lock lock(mutex_);
  cluster::load_ended(*subject.node.live, *subject.replica, subject.size_bytes, end, took, now);
  const auto found = loads_.find(subject.key);
  const std::shared_ptr<Load> load = std::move(found->second);
  loads_.erase(found);
  for (Waiter* waiter : std::exchange(load->waiters, {})) {
    waiter->ended = outcome;
    waiter->wake();
  }
  return outcome;
}

}  // namespace sollol::gateway

#include "gateway/fanout.h"
#include "gateway/attempt.h"

#include <fmt/format.h>

#include <boost/json/parse.hpp>

#include "api/intent.h"
#include "api/model_name.h"
#include "api/progress.h"
#include "gateway/control.h"
#include "gateway/inference.h"
#include "gateway/node_call.h"
#include "gateway/spawn.h"
#include "http/framing.h"
#include "net/event.h"

namespace sollol::gateway {

namespace asio = net::asio;
using api::Operation;

namespace {

constexpr std::size_t unread_max =
    256 * 1024;  // merged lines waiting for a slow client, before progress is skipped
constexpr std::size_t reply_max = 1 << 20;
constexpr Duration refresh_limit = 1s;
constexpr Duration no_node_retry = 2s;  // by then a node may be back

/// The text of a node's `{"error":…}`, else the body itself.
std::string error_text(const std::string& body, int status) {
  boost::system::error_code bad;
  const boost::json::value parsed = boost::json::parse(body, bad);
  if (!bad && parsed.is_object()) {
    if (const auto* error = parsed.as_object().if_contains("error");
        error != nullptr && error->is_string()) {
      return std::string(error->as_string());
    }
  }
  return body.empty() ? fmt::format("answered {}", status) : body;
}

/// What the nodes hold has changed: it is known before this client's next request is read. A node
/// that does not answer now is not waited for.
net::Task<void> refresh_views(Worker& worker, std::vector<NodeId> nodes) {
  Control& control = worker.shared().control;
  auto refreshing = asio::co_spawn(
      control.context(), control.refresh_nodes(std::move(nodes), refresh_limit), net::use_task);
  co_await std::move(refreshing);
}

/// One request to many nodes at once.
class Fanout {
 public:
  Fanout(Connection& client, Targets targets, std::string body, bool stream)
      : client_(client),
        worker_(client.worker()),
        targets_(std::move(targets)),
        body_(std::move(body)),
        stream_(stream),
        merger_(names(targets_), client.request().route.operation),
        progress_(client.worker().context()) {}

  net::Task<void> run();

 private:
  static std::vector<std::string> names(const Targets& targets) {
    std::vector<std::string> names;
    for (const cluster::Node* node : targets.nodes) names.push_back(node->info.name);
    return names;
  }

  net::Task<void> ask(std::size_t index);
  net::Task<void> follow(std::size_t index, NodeCall& call);
  net::Task<void> relay_lines();
  net::Task<void> refresh();
  void begin_stream();

  Connection& client_;
  Worker& worker_;
  Targets targets_;
  std::string body_;
  bool stream_;
  bool begun_ = false;  // a line has been sent: until then an error still has a status of its own
  api::ProgressMerger merger_;
  net::Event progress_;
  std::string lines_;  // merged and not yet written
  std::size_t running_ = 0;
  std::vector<NodeCall*> calls_;
};

net::Task<void> Fanout::run() {
  Request& request = client_.request();
  client_.release_body();
  calls_.resize(targets_.nodes.size());
  running_ = targets_.nodes.size();
  for (std::size_t i = 0; i < targets_.nodes.size(); ++i)
    spawn(worker_.context(), "fan-out", ask(i));
  client_.on_leave([this] {
    for (NodeCall* call : calls_) {
      if (call != nullptr) call->cancel();
    }
  });
  client_.watch();
  for (const cluster::Node* node : targets_.nodes) {
    request.outcome.node += request.outcome.node.empty() ? node->info.name : "," + node->info.name;
  }
  while (running_ > 0) {
    auto waiting = progress_.wait();
    co_await std::move(waiting);
    if (stream_ && !lines_.empty()) {
      auto relaying = relay_lines();
      co_await std::move(relaying);
    }
  }
  client_.on_leave(nullptr);
  auto refreshing = refresh();
  co_await std::move(refreshing);
  if (client_.client_gone()) co_return;
  if (begun_) {
    lines_ += merger_.finish();
    auto relaying = relay_lines();
    co_await std::move(relaying);
    client_.write({&http::last_chunk, 1});
    co_return;
  }
  std::string body = merger_.body_for_unstreamed();
  const std::string_view type = body.empty() ? std::string_view{} : api::json_content_type;
  auto answering = client_.answer(merger_.status_for_unstreamed(), type, std::move(body));
  co_await std::move(answering);
}

void Fanout::begin_stream() {
  begun_ = true;
  const std::string head = client_.head_text(
      200, "OK",
      fmt::format(
          "Date: {}\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n",
          worker_.http_date()));
  const std::string_view bytes = head;
  client_.write({&bytes, 1});
}

net::Task<void> Fanout::relay_lines() {
  if (!begun_) begin_stream();
  while (!lines_.empty() && !client_.client_gone()) {
    const std::string chunk = http::chunk_of(std::exchange(lines_, {}));
    const std::string_view bytes = chunk;
    client_.write({&bytes, 1});
    auto flushing = client_.flush();
    co_await std::move(flushing);
  }
}

/// Asks one node and follows its answer to the end.
net::Task<void> Fanout::ask(std::size_t index) {
  const Request& request = client_.request();
  NodeCall call(worker_, *targets_.nodes[index]);
  calls_[index] = &call;
  auto sending =
      call.send(request.method, request.target,
                fmt::format("{}Content-Length: {}\r\n", request.pass_fields, body_.size()), body_);
  const Result<void> sent = co_await std::move(sending);
  if (sent) {
    auto following = follow(index, call);
    co_await std::move(following);
  } else {
    merger_.node_failed(index, sent.error().detail);
  }
  calls_[index] = nullptr;
  --running_;
  progress_.set();
}

net::Task<void> Fanout::follow(std::size_t index, NodeCall& call) {
  auto receiving = call.receive_head(client_.request().method);
  const Result<const http::ResponseHead*> head = co_await std::move(receiving);
  if (!head) {
    merger_.node_failed(index, head.error().detail);
    co_return;
  }
  const int status = (*head)->status;
  if (http::is_redirect(status)) {
    merger_.node_failed(index, fmt::format("answered with a redirect ({})", status));
    co_return;
  }
  const std::string type((*head)->fields.find(http::FieldId::content_type));
  if (status >= 400 && !is_refusal_of_ollama(type)) {
    merger_.node_failed(index, fmt::format("answered {} with content type '{}'", status, type));
    co_return;
  }
  if (status >= 400 || !type.starts_with("application/x-ndjson")) {
    auto reading = call.receive_body(reply_max);
    const Result<std::string> body = co_await std::move(reading);
    if (!body) {
      merger_.node_failed(index, body.error().detail);
    } else if (status >= 400) {
      merger_.node_failed(index, error_text(*body, status), status);
    } else if (body->empty()) {
      merger_.node_succeeded(index);
    } else {
      lines_ += merger_.feed(index, *body);
    }
    co_return;
  }
  std::string line;
  http::BodyWatcher& body = call.body();
  while (body.state() == http::BodyWatcher::State::reading) {
    auto waiting = call.receive();
    const Result<std::string_view> piece = co_await std::move(waiting);
    if (!piece) {
      merger_.node_failed(index, piece.error().detail);
      co_return;
    }
    body.feed(*piece, [&](std::string_view payload) {
      for (const char c : payload) {
        if (c != '\n') {
          if (line.size() < reply_max) line += c;
          continue;
        }
        std::string merged = merger_.feed(index, line);
        if (lines_.size() < unread_max) lines_ += merged;
        line.clear();
      }
    });
    progress_.set();
  }
}

/// Before the client hears that it is done.
net::Task<void> Fanout::refresh() {
  std::vector<NodeId> nodes;
  for (const cluster::Node* node : targets_.nodes) nodes.push_back(node->id);
  auto refreshing = refresh_views(worker_, std::move(nodes));
  co_await std::move(refreshing);
}

/// Leaves only the nodes that have the model, for operations on a model that must be there; false,
/// changing nothing, when none has it.
bool keep_owners(Targets& targets, std::string_view model) {
  const auto key = api::ModelKey::from(model);
  if (!key) return false;
  const cluster::Model* known = targets.view->cluster->find_model(key->view());
  if (known == nullptr) return false;
  const auto owns = [&](const cluster::Node* node) {
    const auto& all = targets.view->cluster->nodes;
    return std::ranges::any_of(known->replicas,
                               [&](const auto& replica) { return &all[replica.node] == node; });
  };
  if (std::ranges::none_of(targets.nodes, owns)) return false;
  std::erase_if(targets.nodes, [&](const cluster::Node* node) { return !owns(node); });
  return true;
}

}  // namespace

Targets targets_of(Connection& client) {
  Targets targets;
  targets.view = client.worker().view();
  const Request& request = client.request();
  Work wishes;
  wishes.view = targets.view;
  targets.answer = apply_wishes(client, wishes);
  if (targets.answer) return targets;
  for (const cluster::Node& node : targets.view->cluster->nodes) {
    const cluster::Availability availability = node.live->availability;
    const bool named = wishes.pinned == node.id;
    const bool usable =
        node.live->admin == cluster::Admin::enabled && availability != cluster::Availability::down;
    if (wishes.pinned ? named : usable) targets.nodes.push_back(&node);
  }
  if (targets.nodes.empty()) {
    targets.answer = api::error_reply(
        request.route.dialect, 503, "no Ollama node is usable at present; `sollol nodes` says why",
        request.id);
  }
  return targets;
}

net::Task<void> answer_no_target(Connection& client, api::Reply reply) {
  std::string fields =
      reply.status == 503 ? fmt::format("Retry-After: {:.0f}\r\n", to_seconds(no_node_retry)) : "";
  auto answering = client.answer(std::move(reply), std::move(fields));
  co_await std::move(answering);
}

net::Task<void> serve_fanout(Connection& client) {
  Request& request = client.request();
  auto reading = client.read_body(client.options().client.body_max);
  const Result<std::string_view> body = co_await std::move(reading);
  if (!body) {
    auto refusing = answer_body_error(client, body.error());
    co_await std::move(refusing);
    co_return;
  }
  Targets targets = targets_of(client);
  const Operation operation = request.route.operation;
  const Result<api::Intent> intent = client.worker().intents().scan(*body, operation);
  if (intent) request.outcome.model = intent->model;
  if (!targets.answer) {
    const bool needs_owner = operation == Operation::push || operation == Operation::copy ||
                             operation == Operation::remove;
    // A body that no node will accept, a model that none has and a push concern one node, in its
    // own words.
    const bool owned = !needs_owner || (intent && keep_owners(targets, intent->model));
    if (!intent || !owned || operation == Operation::push) targets.nodes.resize(1);
  }
  if (targets.answer) {
    auto answering = answer_no_target(client, std::move(*targets.answer));
    co_await std::move(answering);
    co_return;
  }
  if (targets.nodes.size() > 1) {
    const bool streams = operation == Operation::pull || operation == Operation::create;
    Fanout fanout(client, std::move(targets), std::string(*body), streams && intent->stream);
    auto running = fanout.run();
    co_await std::move(running);
    co_return;
  }
  Work work;
  work.view = targets.view;
  work.pinned = targets.nodes.front()->id;
  auto serving =
      serve_work(client, std::move(work),
                 {.body = *body, .form = api::stream_form(operation, intent && intent->stream)});
  co_await std::move(serving);
  auto refreshing = refresh_views(client.worker(), {targets.nodes.front()->id});
  co_await std::move(refreshing);
}

}  // namespace sollol::gateway

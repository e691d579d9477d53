#include "gateway/attempt.h"

#include <fmt/format.h>

#include "gateway/hedge.h"
#include "gateway/resume.h"
#include "gateway/worker.h"
#include "http/append.h"

namespace sollol::gateway {

using cluster::RequestOutcome;
using http::FieldId;
using http::Framing;

bool is_refusal_of_ollama(std::string_view content_type) {
  return content_type.empty() || content_type.starts_with("application/json") ||
         content_type.starts_with("text/plain");
}

Attempt::Attempt(Connection& client, Answer& answer, const cluster::Node& node)
    : client_(client),
      answer_(answer),
      worker_(client.worker()),
      node_(node),
      stall_(worker_.scheduler(), [this] {
        worker_.metrics().stalls.add();
        if (stream_) stream_->cancel();
      }) {}

Attempt::~Attempt() { cancel_on_leave(nullptr); }

/// A race cancels its attempts itself.
void Attempt::cancel_on_leave(net::Stream* stream) noexcept {
  if (plan_.race == nullptr) client_.cancel_on_leave(stream);
}

/// Whether the answer that is about to be relayed is the first. Then no other will be.
bool Attempt::is_first() const { return plan_.race == nullptr || plan_.race->claim(*this); }

/// The node learns from the closed connection that its answer is not wanted.
Verdict Attempt::beaten() {
  call_.reset();
  stream_.reset();
  Verdict verdict;
  verdict.kind = Verdict::Kind::beaten;
  return verdict;
}

net::Task<Verdict> Attempt::run(Plan plan) {
  plan_ = plan;
  in_use_.emplace(worker_.pool(), node_.id, [this] {
    if (worker_.scheduler().now() - last_byte_ < alive_after_byte) return;
    abandoned_ = true;
    if (stream_) stream_->cancel();
  });
  const std::string head = upstream_head(plan.body.size());
  auto exchanging = exchange_heads(head, plan.body);
  const Result<void> exchanged = co_await std::move(exchanging);
  if (!exchanged) co_return failure(exchanged.error());
  if (http::is_redirect(head_.status)) {
    co_return failure(
        {ErrorKind::bad_reply, Origin::node, Retry::other_node,
         fmt::format("answered with a redirect ({}), which is never followed", head_.status)});
  }
  if (head_.status >= 400 && plan_.refusals == Plan::Refusals::hold) {
    auto collecting = collect_refusal();
    co_return co_await std::move(collecting);
  }
  if (answer_.begun() && head_.status != 200) {
    co_return failure({ErrorKind::bad_reply, Origin::node, Retry::other_node,
                       fmt::format("answered with status {}", head_.status)});
  }
  const bool is_stream = content_type_.starts_with("application/x-ndjson") ||
                         content_type_.starts_with("text/event-stream");
  if (!is_stream && answer_.committed()) {
    co_return finish_cut({ErrorKind::bad_reply, Origin::node, Retry::other_node,
                          "went on with something else than a stream"});
  }
  if (!is_stream) {
    auto relaying = relay_whole();
    co_return co_await std::move(relaying);
  }
  watcher_ = api::StreamWatcher(plan_.form);
  if (plan_.resume != nullptr && plan_.resume->splice() == nullptr)
    watcher_.record_to(plan_.resume->transcript());
  auto relaying = relay_stream({});
  co_return co_await std::move(relaying);
}

// ---- to the node

net::Task<Result<void>> Attempt::open() {
  worker_.metrics().upstream_connects.add();
  auto connecting = worker_.nodes().connect(
      node_.info, node_.addresses,
      worker_.scheduler().now() + client_.options().upstream.connect_timeout);
  auto connected = co_await std::move(connecting);
  if (!connected) co_return std::unexpected(connected.error());
  stream_ = std::move(*connected);
  co_return Result<void>{};
}

std::string Attempt::upstream_head(std::size_t body_size) const {
  const Request& request = client_.request();
  std::string head;
  head.reserve(request.pass_fields.size() + request.target.size() + 256);
  http::append(head, request.method, " ", node_.info.path_prefix, request.target,
               " HTTP/1.1\r\nHost: ", node_.host_field, "\r\n", request.pass_fields);
  if (body_size > 0 || request.method == "POST")
    http::append(head, "Content-Length: ", body_size, "\r\n");
  http::append(head, "X-Forwarded-For: ", request.forwarded_for,
               http::separator_after(request.forwarded_for), request.client);
  if (!request.authority.empty()) http::append(head, "\r\nX-Forwarded-Host: ", request.authority);
  http::append(head,
               "\r\nX-Forwarded-Proto: ", request.secured ? std::string_view("https") : "http",
               "\r\nX-Request-Id: ", request.id, "\r\n\r\n");
  return head;
}

TimePoint Attempt::response_deadline() const {
  const Duration limit = client_.options().upstream.response_timeout;
  return limit.count() == 0 ? net::no_deadline : worker_.scheduler().now() + limit;
}

/// The next piece of a body that is no stream: once its head has come, nothing is left to wait for.
TimePoint Attempt::body_deadline() const {
  const TimePoint next = worker_.scheduler().now() + client_.options().upstream.head_timeout;
  return std::min(next, response_deadline());
}

net::Task<Result<void>> Attempt::exchange_heads(std::string_view head, std::string_view body) {
  stream_ = worker_.pool().take(node_.id);
  reused_ = stream_ != nullptr;
  while (true) {
    if (!stream_) {
      auto opening = open();
      const Result<void> opened = co_await std::move(opening);
      if (!opened) co_return opened;
    }
    if (client_.client_gone()) {
      co_return std::unexpected(
          Error{ErrorKind::cancelled, Origin::client, Retry::never, "the client left"});
    }
    if (client_.ended()) co_return std::unexpected(*client_.ended());
    if (plan_.race != nullptr && plan_.race->lost(*this)) {
      co_return std::unexpected(
          Error{ErrorKind::cancelled, Origin::gateway, Retry::never, "another node was first"});
    }
    cancel_on_leave(stream_.get());
    call_.emplace(*stream_, worker_.scratch(), client_.options().upstream.head);
    call_->limit_head_time(worker_.scheduler(), client_.options().upstream.head_timeout);
    const Result<std::size_t> sent = call_->send_now(head, body);
    Result<void> done;
    if (!sent) {
      done = std::unexpected(sent.error());
    } else if (*sent < head.size() + body.size()) {
      auto sending = call_->send(
          head, body, worker_.scheduler().now() + client_.options().client.stall_timeout, *sent);
      done = co_await std::move(sending);
    }
    if (done) {
      auto receiving = call_->receive_head(client_.request().method, response_deadline());
      const Result<const http::ResponseHead*> received = co_await std::move(receiving);
      if (received) {
        last_byte_ = worker_.scheduler().now();
        take_response_head(**received);
        co_return Result<void>{};
      }
      done = std::unexpected(received.error());
    }
    // A kept connection that the node had closed meanwhile says nothing about the node: once more
    // on a fresh one.
    const bool stale =
        reused_ && done.error().kind == ErrorKind::reset && !call_->received_anything();
    if (!stale) co_return done;
    cancel_on_leave(nullptr);
    call_.reset();
    stream_.reset();
    reused_ = false;
  }
}

void Attempt::take_response_head(const http::ResponseHead& head) {
  head_.status = head.status;
  head_.reason = head.reason.empty() ? http::reason_phrase(head.status) : head.reason;
  for (const http::Field& field : head.fields.all()) {
    if (field.id == FieldId::content_type) content_type_ = field.value;
    const bool ours = http::is_hop_by_hop(field.id) || field.id == FieldId::content_length ||
                      field.id == FieldId::access_control || field.id == FieldId::sollol ||
                      field.id == FieldId::x_request_id;
    if (!ours) http::append(head_.fields, field.name, ": ", field.value, "\r\n");
  }
}

Verdict Attempt::failure(Error error) {
  Verdict verdict;
  if (client_.client_gone()) {
    verdict.kind = Verdict::Kind::client_left;
    return verdict;
  }
  if (client_.ended()) {
    verdict.error = *client_.ended();
    return verdict;
  }
  if (plan_.race != nullptr && plan_.race->lost(*this)) return beaten();
  if (abandoned_) {
    error = {ErrorKind::timeout, Origin::node, Retry::other_node,
             fmt::format("{} no longer answers", node_.info.name)};
  }
  switch (error.kind) {
    case ErrorKind::refused:
    case ErrorKind::untrusted:
    case ErrorKind::forbidden:
      verdict.health = RequestOutcome::refused;
      break;
    case ErrorKind::overloaded:
      verdict.health = RequestOutcome::neutral;
      break;
    default:
      verdict.health = abandoned_ ? RequestOutcome::neutral : RequestOutcome::fault;
  }
  verdict.said_so = watcher_.failed();
  error.detail = fmt::format("{}: {}", node_.info.name, error.detail);
  verdict.error = std::move(error);
  return verdict;
}

net::Task<Verdict> Attempt::collect_refusal() {
  auto receiving = call_->receive_body(refusal_max, body_deadline());
  Result<std::string> body = co_await std::move(receiving);
  if (!body && body.error().kind == ErrorKind::overloaded) {
    body = std::unexpected(Error{ErrorKind::bad_reply, Origin::node, Retry::other_node,
                                 "answered with an error message without end"});
  }
  if (!body) co_return failure(body.error());
  if (!is_refusal_of_ollama(content_type_)) {
    co_return failure(
        {ErrorKind::bad_reply, Origin::node, Retry::other_node,
         fmt::format("answered {} with content type '{:.64}'", head_.status, content_type_)});
  }
  if (call_->reusable()) worker_.pool().keep(node_.id, std::move(stream_));
  Verdict verdict;
  verdict.kind = Verdict::Kind::refused;
  verdict.status = head_.status;
  verdict.content_type = content_type_;
  verdict.body = std::move(*body);
  co_return verdict;
}

}  // namespace sollol::gateway

// The second half of an attempt: the node's answer on its way to the client.
#include <fmt/format.h>

#include "gateway/attempt.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using cluster::RequestOutcome;
using http::BodyWatcher;
using http::Framing;

namespace {

constexpr std::size_t usage_tail = 4096;  // the metrics stand at the end of an answer

Error node_fault(std::string detail) {
  return {ErrorKind::bad_reply, Origin::node, Retry::other_node, std::move(detail)};
}

}  // namespace

/// Whether the first payload of a success can be what was asked for, or what it says it is: JSON,
/// NDJSON or events.
std::optional<Error> Attempt::check_start(std::string_view payload) const {
  if (head_.status >= 300 || client_.request().is_head()) return std::nullopt;
  const bool says_json = content_type_.starts_with("application/json");
  if (plan_.payload == Plan::Payload::any && !says_json) return std::nullopt;
  if (payload.empty()) return node_fault("answered with nothing");
  const bool events = content_type_.starts_with("text/event-stream");
  const bool typed = events || says_json || content_type_.starts_with("application/x-ndjson");
  if (!typed) return node_fault(fmt::format("answered with content type '{}'", content_type_));
  const bool plausible =
      events ? std::string_view("dei:r").contains(payload[0]) : payload[0] == '{';
  if (!plausible) return node_fault("answered with something else than JSON");
  return std::nullopt;
}

/// The same of a whole answer, which must also be as long as it says: half an object would look
/// like an answer.
std::optional<Error> Attempt::check_whole(std::string_view body, bool surplus) const {
  if (auto problem = check_start(body)) return problem;
  if (!body.starts_with('{') || head_.status >= 300) return std::nullopt;
  if (surplus) return node_fault("sent more than it announced");
  const auto last = body.find_last_not_of(" \t\r\n");
  if (body[last] != '}') return node_fault("answered with half an object");
  return std::nullopt;
}

Verdict Attempt::finish_relayed() {
  client_.cancel_on_leave(nullptr);
  if (call_->reusable()) worker_.pool().keep(node_.id, std::move(stream_));
  Verdict verdict;
  verdict.kind = Verdict::Kind::relayed;
  verdict.status = head_.status;
  verdict.usage = watcher_.usage();
  verdict.health = RequestOutcome::ok;
  if (watcher_.failed()) {
    client_.request().outcome.problem = watcher_.error();
    verdict.health = RequestOutcome::neutral;  // the node could still say what was wrong
  }
  return verdict;
}

net::Task<Verdict> Attempt::relay_whole() {
  std::string collected;
  bool surplus = false;
  while (call_->body().state() == BodyWatcher::State::reading) {
    auto receiving = call_->receive(response_deadline());
    const Result<std::string_view> piece = co_await std::move(receiving);
    if (!piece) co_return failure(piece.error());
    last_byte_ = worker_.scheduler().now();
    const std::size_t used =
        call_->body().feed(*piece, [&](std::string_view payload) { collected.append(payload); });
    surplus = used < piece->size();
    if (surplus) call_->mark_unusable();
    if (collected.size() > whole_max) {
      auto streaming = relay_stream(std::move(collected));
      co_return co_await std::move(streaming);
    }
  }
  if (!call_->body().done()) co_return failure(node_fault("cut its answer short"));
  if (auto problem = check_whole(collected, surplus)) co_return failure(*problem);
  if (answer_.begun()) {  // a stream, of which this is the only record: NDJSON alone has that
    if (plan_.form != api::StreamForm::ndjson_answer)
      co_return failure(node_fault("answered a stream with one document"));
    if (!collected.ends_with('\n')) collected += '\n';
  }
  Verdict verdict = finish_relayed();
  verdict.usage = api::usage_of_json(
      std::string_view(collected).substr(collected.size() - std::min(collected.size(), usage_tail)),
      client_.request().route.operation);
  answer_.write_whole(std::move(head_), collected);
  auto flushing = client_.flush();
  const bool flushed = co_await std::move(flushing);
  if (!flushed) verdict.kind = Verdict::Kind::client_left;
  co_return verdict;
}

net::Task<Verdict> Attempt::relay_stream(std::string first) {
  BodyWatcher& body = call_->body();
  answer_.offer(std::move(head_), body.framing(), watcher_.form(),
                first.empty() ? Answer::Passing::raw : Answer::Passing::payload);
  std::optional<Error> problem;
  if (!first.empty()) {
    problem = check_start(first);
    if (!problem) answer_.write(first);
  }
  while (!problem && !client_.client_gone() && body.state() == BodyWatcher::State::reading) {
    if (answer_.committed()) {
      auto flushing = client_.flush();
      co_await std::move(flushing);
    }
    auto receiving = call_->receive(answer_.committed() ? net::no_deadline : response_deadline());
    const Result<std::string_view> piece = co_await std::move(receiving);
    if (client_.client_gone()) break;
    last_byte_ = worker_.scheduler().now();
    problem = piece ? forward(*piece) : piece.error();
  }
  if (client_.client_gone()) {
    Verdict left;
    left.kind = Verdict::Kind::client_left;
    left.usage = watcher_.usage();
    co_return left;
  }
  if (!problem && !complete()) problem = node_fault("ended its stream early");
  if (problem && !answer_.committed()) co_return failure(*problem);
  if (problem) co_return finish_cut(problem->detail);
  Verdict verdict = finish_relayed();
  auto flushing = client_.flush();
  co_await std::move(flushing);
  co_return verdict;
}

/// Whether the answer has ended as its framing and its API demand.
bool Attempt::complete() const {
  return call_->body().done() && (watcher_.finished() || watcher_.failed());
}

/// One piece of the body as it came. Nothing goes out before the first payload byte; what ends the
/// body goes out only when the stream is complete in its API's sense, so that an error record can
/// still be put before it.
std::optional<Error> Attempt::forward(std::string_view piece) {
  BodyWatcher& body = call_->body();
  const bool first = body.payload_bytes() == 0;
  std::optional<Error> problem;
  std::string payloads;  // only where the framing changes
  const std::size_t used = body.feed(piece, [&](std::string_view payload) {
    if (first && body.payload_bytes() == 0 && !problem) problem = check_start(payload);
    watcher_.feed(payload);
    if (!answer_.passes_raw()) payloads.append(payload);
  });
  if (used < piece.size()) call_->mark_unusable();
  if (problem) return problem;
  if (body.done()) watcher_.end();
  if (body.state() == BodyWatcher::State::bad) return node_fault("broke off its answer");
  if (body.done() && !complete() && !answer_.committed())
    return std::nullopt;  // the caller tries elsewhere
  if (body.payload_bytes() == 0 && !body.done()) {
    if (answer_.passes_raw()) answer_.hold(piece.substr(0, used));
    return std::nullopt;
  }
  const Answer::End end = complete() ? Answer::End::last : Answer::End::more;
  if (answer_.passes_raw()) {
    answer_.pass_chunks(piece.substr(0, used), body, end);
  } else {
    answer_.write(payloads, end);
  }
  return std::nullopt;
}

/// The answer broke off after some of it had reached the client, whom the caller has to tell.
Verdict Attempt::finish_cut(std::string problem) {
  client_.cancel_on_leave(nullptr);
  Verdict verdict;
  verdict.kind = Verdict::Kind::cut;
  verdict.usage = watcher_.usage();
  const bool blameless = abandoned_ || client_.ended();
  verdict.health = blameless ? RequestOutcome::neutral : RequestOutcome::fault;
  const bool raw = answer_.passes_raw();
  verdict.mid_record = raw ? answer_.inside_record() : watcher_.mid_record();
  verdict.inside_chunk = raw && answer_.inside_chunk();
  verdict.error = node_fault(std::move(problem));
  return verdict;
}

}  // namespace sollol::gateway

// The second half of an attempt: the node's answer on its way to the client.
#include <fmt/format.h>

#include <algorithm>

#include "gateway/attempt.h"
#include "gateway/resume.h"
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
  if (!typed) return node_fault(fmt::format("answered with content type '{:.64}'", content_type_));
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
  cancel_on_leave(nullptr);
  if (call_->reusable()) worker_.pool().keep(node_.id, std::move(stream_));
  if (plan_.slot != nullptr) plan_.slot->release();
  Verdict verdict;
  verdict.kind = Verdict::Kind::relayed;
  verdict.status = head_.status;
  verdict.usage = watcher_.usage();
  verdict.health = RequestOutcome::ok;
  verdict.answered = last_byte_;
  if (plan_.silence == Plan::Silence::watched) verdict.longest_gap = longest_gap_;
  if (watcher_.failed()) {
    client_.request().outcome.problem = client_.for_log(watcher_.error());
    verdict.health = RequestOutcome::neutral;  // the node could still say what was wrong
  }
  return verdict;
}

net::Task<Verdict> Attempt::relay_whole() {
  std::string collected;
  bool surplus = false;
  while (call_->body().state() == BodyWatcher::State::reading) {
    std::string_view piece = call_->take_rest();
    if (piece.empty()) {
      auto receiving = call_->receive(body_deadline());
      const Result<std::string_view> received = co_await std::move(receiving);
      if (!received) co_return failure(received.error());
      piece = *received;
      last_byte_ = worker_.scheduler().now();
    }
    const std::size_t used =
        call_->body().feed(piece, [&](std::string_view payload) { collected.append(payload); });
    surplus = used < piece.size();
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
  if (!is_first()) co_return beaten();
  Verdict verdict = finish_relayed();
  verdict.usage = api::usage_of_json(
      std::string_view(collected).substr(collected.size() - std::min(collected.size(), usage_tail)),
      client_.request().route.operation);
  answer_.write_whole(std::move(head_), collected);
  if (client_.holds_output()) {
    auto flushing = client_.flush();
    co_await std::move(flushing);
  }
  if (client_.client_gone()) verdict.kind = Verdict::Kind::client_left;
  co_return verdict;
}

net::Task<Verdict> Attempt::relay_stream(std::string first) {
  if (!is_first()) co_return beaten();
  BodyWatcher& body = call_->body();
  if (!answer_.committed()) {
    answer_.offer(std::move(head_), body.framing(), watcher_.form(),
                  first.empty() ? Answer::Passing::raw : Answer::Passing::payload);
  }
  expect_pieces();
  if (!first.empty()) {
    problem_ = check_start(first);
    if (!problem_) answer_.write(first);
  }
  while (!problem_ && !client_.client_gone() && body.state() == BodyWatcher::State::reading) {
    if (answer_.committed() && client_.holds_output()) {
      auto flushing = flush_client();
      co_await std::move(flushing);
    }
    auto receiving = call_->receive_each(*this, flows() ? net::no_deadline : response_deadline());
    const Result<void> received = co_await std::move(receiving);
    if (!received) problem_ = received.error();
  }
  stall_.stop();
  if (client_.client_gone()) {
    Verdict left;
    left.kind = Verdict::Kind::client_left;
    left.usage = watcher_.usage();
    co_return left;
  }
  if (!problem_ && !complete()) problem_ = node_fault("ended its stream early");
  if (problem_ && !answer_.committed()) co_return failure(*problem_);
  if (problem_ && !(all_said() && settle_records())) co_return finish_cut(std::move(*problem_));
  Verdict verdict = finish_relayed();
  if (problem_) {  // the answer is whole, if not its body: nothing is missing to the client
    answer_.write({}, Answer::End::last);
    verdict.health = RequestOutcome::fault;
  }
  auto flushing = client_.flush();
  co_await std::move(flushing);
  co_return verdict;
}

/// Tells the node's stream what its pieces will touch on their way to the client.
void Attempt::expect_pieces() {
  const api::Transcript* kept = plan_.resume == nullptr ? nullptr : plan_.resume->transcript();
  const auto [connection, count, socket] = client_.touched_by_write();
  const net::Region touches[]{{this, sizeof *this},
                              {&answer_, sizeof answer_},
                              connection,
                              count,
                              socket,
                              {kept, kept == nullptr ? 0 : sizeof *kept}};
  stream_->expect_pieces(touches);
}

/// One piece of a stream. Whatever needs more than passing it on is left to the coroutine.
bool Attempt::take(std::string_view piece) {
  if (client_.client_gone()) return false;
  heard();
  problem_ = forward(piece);
  if (watcher_.records() > 0) stall_.start(last_byte_, plan_.stall_limit);
  return !problem_ && flows() && !client_.holds_output() && !client_.client_gone() &&
         call_->body().state() == BodyWatcher::State::reading;
}

/// Whether the answer has begun, so that how long the rest takes is no matter of the response's
/// deadline.
bool Attempt::flows() const {
  return answer_.committed() &&
         (watcher_.records() > 0 || watcher_.form() == api::StreamForm::opaque);
}

/// The node sent something. The gaps between its tokens are what a stall is told by.
void Attempt::heard() {
  const TimePoint now = worker_.scheduler().now();
  if (watcher_.records() > 0) {
    longest_gap_ = std::max(longest_gap_, now - last_byte_);
    if (first_token_ == TimePoint{}) first_token_ = last_byte_;
    stall_.heard(now);
  }
  last_byte_ = now;
}

/// The time that a client takes to read is not its node's silence.
net::Task<void> Attempt::flush_client() {
  auto flushing = client_.flush();
  co_await std::move(flushing);
  last_byte_ = worker_.scheduler().now();
  stall_.heard(last_byte_);
}

/// Whether the answer has ended as its framing and its API demand.
bool Attempt::complete() const {
  return call_->body().done() && (watcher_.finished() || watcher_.failed());
}

/// Whether what is written next is the answer's end. Once the client has all that is to be said,
/// its next request must find the place at the node free.
Answer::End Attempt::next_end() {
  const bool ended = complete();
  if (plan_.slot != nullptr && (ended || all_said())) plan_.slot->release();
  return ended ? Answer::End::last : Answer::End::more;
}

/// Whether the records are at their end, if not the body.
bool Attempt::all_said() const {
  return watcher_.finished() && watcher_.form() != api::StreamForm::opaque;
}

/// What the records so far say against the node. An error record that another node may make good is
/// not passed on; any other is the client's.
std::optional<Error> Attempt::problem_in_records() const {
  if (watcher_.garbled() && plan_.payload == Plan::Payload::json)
    return node_fault("sent something that is no record");
  if (!watcher_.failed() || plan_.resume == nullptr || plan_.resume->transcript() == nullptr)
    return std::nullopt;
  const bool of_request = api::is_request_fault(watcher_.error());
  if (of_request && plan_.resume->splice() == nullptr) return std::nullopt;
  return node_fault(std::string(watcher_.error()));
}

/// A node that never comes to an end is not followed for ever.
std::optional<Error> Attempt::beyond_bounds() const {
  const UpstreamOptions& limits = client_.options().upstream;
  const bool opaque = watcher_.form() == api::StreamForm::opaque;
  if (!opaque && record_bytes_ > limits.record_max)
    return node_fault("sent a line without end in its stream (upstream.record_bytes)");
  if (opaque && call_->body().payload_bytes() > limits.answer_max)
    return node_fault("sent an answer without end (upstream.answer_bytes)");
  return std::nullopt;
}

/// One piece of the body as it came. Nothing goes out before the first payload byte; what ends the
/// body goes out only when the stream is complete in its API's sense, so that an error record can
/// still be put before it.
std::optional<Error> Attempt::forward(std::string_view piece) {
  if (plan_.resume != nullptr && plan_.resume->splice() != nullptr) return forward_spliced(piece);
  BodyWatcher& body = call_->body();
  const bool first = body.payload_bytes() == 0;
  std::optional<Error> problem;
  std::string payloads;  // only where the framing changes
  const std::size_t used = body.feed(piece, [&](std::string_view payload) {
    if (first && body.payload_bytes() == 0 && !problem) problem = check_start(payload);
    watcher_.feed(payload);
    const std::size_t line_end = payload.rfind('\n');
    record_bytes_ = line_end == std::string_view::npos ? record_bytes_ + payload.size()
                                                       : payload.size() - line_end - 1;
    if (!answer_.passes_raw()) payloads.append(payload);
  });
  if (used < piece.size()) call_->mark_unusable();
  if (problem) return problem;
  if (body.done()) watcher_.end();
  problem = problem_in_records();
  if (!problem && body.state() == BodyWatcher::State::bad)
    problem = node_fault("broke off its answer");
  if (problem) {
    if (answer_.passes_raw()) answer_.hold(piece.substr(0, used));
    pending_ += payloads;
    return problem;
  }
  if (body.done() && !complete() && !answer_.committed())
    return std::nullopt;  // the caller tries elsewhere
  // Half a record could not be taken back.
  const bool holds =
      (body.payload_bytes() == 0 && !body.done()) ||
      (watcher_.mid_record() && !complete() && answer_.held_back() + used <= Answer::carry_max);
  if (holds && answer_.passes_raw()) {
    answer_.hold(piece.substr(0, used));
    return std::nullopt;
  }
  if (body.payload_bytes() == 0 && !body.done()) return std::nullopt;
  if (!answer_.committed() && plan_.resume != nullptr) plan_.resume->keep(plan_.body);
  if (!answer_.passes_raw()) {
    if (auto wrong = forward_payload(payloads)) return wrong;
  } else {
    answer_.pass_chunks(piece.substr(0, used), body, next_end());
  }
  return beyond_bounds();
}

/// Payload whose framing changes: whole records, where the form has any, as long as they are not
/// too large to be held.
std::optional<Error> Attempt::forward_payload(std::string_view payload) {
  const Answer::End end = next_end();
  const bool ended = end == Answer::End::last;
  if (watcher_.form() == api::StreamForm::opaque) {
    answer_.write(payload, end);
    return std::nullopt;
  }
  pending_.append(payload);
  const std::uint64_t whole = watcher_.whole_bytes();
  std::size_t out = std::min<std::uint64_t>(pending_.size(), whole - std::min(whole, written_));
  if (ended || pending_.size() - out > Answer::carry_max) out = pending_.size();
  if (out == 0 && !ended) return std::nullopt;
  answer_.write(std::string_view(pending_).substr(0, out), end);
  written_ += out;
  pending_.erase(0, out);
  return std::nullopt;
}

/// One piece of a stream that goes on where another node's broke off: its records, made to follow.
std::optional<Error> Attempt::forward_spliced(std::string_view piece) {
  BodyWatcher& body = call_->body();
  api::Splice& splice = *plan_.resume->splice();
  std::optional<Error> problem;
  std::string out;
  const bool first = body.payload_bytes() == 0;
  const std::size_t used = body.feed(piece, [&](std::string_view payload) {
    if (first && body.payload_bytes() == 0 && !problem) problem = check_start(payload);
    if (problem) return;
    watcher_.feed(payload);
    splice.feed(payload, out);
  });
  if (used < piece.size()) call_->mark_unusable();
  if (body.done() && !problem) {
    watcher_.end();
    if (!watcher_.garbled()) splice.end(out);  // half a record could not be taken back
  }
  if (!problem && splice.overrun()) problem = node_fault("sent a record that is too large");
  if (!problem) problem = problem_in_records();
  if (!out.empty()) plan_.resume->went_on();
  const bool ended = !problem && complete();
  if (!out.empty() || ended) answer_.write(out, problem ? Answer::End::more : next_end());
  if (!problem && body.state() == BodyWatcher::State::bad)
    problem = node_fault("broke off its answer");
  return problem;
}

/// The answer broke off after some of it had reached the client, whom the caller has to tell unless
/// another node goes on.
Verdict Attempt::finish_cut(Error problem) {
  cancel_on_leave(nullptr);
  Verdict verdict;
  verdict.kind = Verdict::Kind::cut;
  verdict.usage = watcher_.usage();
  if (verdict.usage.output_tokens == 0) verdict.usage.output_tokens = watcher_.records();
  verdict.said_so = watcher_.failed();
  verdict.health = abandoned_ || verdict.said_so || client_.ended() ? RequestOutcome::neutral
                                                                    : RequestOutcome::fault;
  if (first_token_ != TimePoint{}) verdict.streamed = last_byte_ - first_token_;
  verdict.inside_chunk = answer_.passes_raw() && answer_.inside_chunk();
  verdict.mid_record = !verdict.inside_chunk && !settle_records();
  if (abandoned_) problem.detail = "no longer answers";
  if (client_.ended()) problem = *client_.ended();
  if (stall_.has_stalled()) {
    problem = node_fault(
        fmt::format("was silent for {:.1f} s between two tokens", to_seconds(stall_.limit())));
  }
  verdict.error = std::move(problem);
  return verdict;
}

/// Sends on what is whole of that which is held back, so that the client has exactly the records
/// that are known to be said. False when it has part of one already.
bool Attempt::settle_records() {
  if (watcher_.form() == api::StreamForm::opaque) return true;
  if (plan_.resume != nullptr && plan_.resume->splice() != nullptr) return true;
  const std::uint64_t whole = watcher_.whole_bytes();
  const std::string_view missing = watcher_.missing_end();
  if (answer_.passes_raw()) return answer_.settle(call_->body().payload_bytes(), whole, missing);
  if (whole < written_) return false;
  pending_.resize(std::min<std::uint64_t>(pending_.size(), whole - written_));
  pending_ += missing;
  if (!pending_.empty()) answer_.write(pending_);
  return true;
}

}  // namespace sollol::gateway

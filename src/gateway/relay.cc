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

void Attempt::note_first_byte() {
  Outcome& outcome = client_.request().outcome;
  if (outcome.first_byte.count() == 0)
    outcome.first_byte = worker_.scheduler().now() - client_.request().arrived;
}

/// Whether the first payload of a success can be what was asked for: JSON, NDJSON or events.
std::optional<Error> Attempt::check_start(std::string_view payload) const {
  if (plan_.payload == Plan::Payload::any || status_ >= 300) return std::nullopt;
  if (payload.empty()) return node_fault("answered with nothing");
  const bool events = content_type_.starts_with("text/event-stream");
  const bool typed = events || content_type_.starts_with("application/json") ||
                     content_type_.starts_with("application/x-ndjson");
  if (!typed) return node_fault(fmt::format("answered with content type '{}'", content_type_));
  const bool plausible =
      events ? std::string_view("dei:r").contains(payload[0]) : payload[0] == '{';
  if (!plausible) return node_fault("answered with something else than JSON");
  return std::nullopt;
}

Verdict Attempt::finish_relayed() {
  client_.cancel_on_leave(nullptr);
  if (call_->reusable()) worker_.pool().keep(node_.id, std::move(stream_));
  Verdict verdict;
  verdict.kind = Verdict::Kind::relayed;
  verdict.status = status_;
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
  while (call_->body().state() == BodyWatcher::State::reading) {
    auto receiving = call_->receive(response_deadline());
    const Result<std::string_view> piece = co_await std::move(receiving);
    if (!piece) co_return failure(piece.error());
    last_byte_ = worker_.scheduler().now();
    const std::size_t used =
        call_->body().feed(*piece, [&](std::string_view payload) { collected.append(payload); });
    if (used < piece->size()) call_->mark_unusable();
    if (collected.size() > whole_max) {
      auto streaming = relay_stream(std::move(collected));
      co_return co_await std::move(streaming);
    }
  }
  if (!call_->body().done()) co_return failure(node_fault("cut its answer short"));
  if (auto problem = check_start(collected)) co_return failure(*problem);
  note_first_byte();
  Verdict verdict = finish_relayed();
  verdict.usage = api::usage_of_json(
      std::string_view(collected).substr(collected.size() - std::min(collected.size(), usage_tail)),
      client_.request().route.operation);
  if (status_ != 204 && status_ != 304 && !client_.request().is_head()) {
    fmt::format_to(std::back_inserter(pass_fields_), "Content-Length: {}\r\n", collected.size());
  }
  const std::string head = client_.head_text(status_, reason_, pass_fields_);
  const std::array<std::string_view, 2> slices{head, collected};
  client_.write(slices);
  auto flushing = client_.flush();
  const bool flushed = co_await std::move(flushing);
  if (!flushed) verdict.kind = Verdict::Kind::client_left;
  co_return verdict;
}

/// Chooses the framing towards the client; the head that says so is made with the first write.
void Attempt::choose_framing(bool whole_chunks_pass) {
  const Framing& in = call_->body().framing();
  if (in.kind == Framing::Kind::sized && watcher_.form() == api::StreamForm::opaque) {
    out_ = OutFraming::sized;
    fmt::format_to(std::back_inserter(pass_fields_), "Content-Length: {}\r\n", in.length);
  } else if (client_.request().minor_version == 0) {
    out_ = OutFraming::until_close;
    client_.close_after();
  } else {
    out_ = in.kind == Framing::Kind::chunked && whole_chunks_pass ? OutFraming::raw_chunks
                                                                  : OutFraming::chunks;
    pass_fields_ += "Transfer-Encoding: chunked\r\n";
  }
}

net::Task<Verdict> Attempt::relay_stream(std::string first) {
  BodyWatcher& body = call_->body();
  choose_framing(first.empty());
  std::optional<Error> problem;
  if (!first.empty()) {
    problem = check_start(first);
    if (!problem) write_payload(first, {});
  }
  while (!problem && !client_.client_gone() && body.state() == BodyWatcher::State::reading) {
    if (begun_) {
      auto flushing = client_.flush();
      co_await std::move(flushing);
    }
    auto receiving = call_->receive(begun_ ? net::no_deadline : response_deadline());
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
  if (problem && !begun_) co_return failure(*problem);
  Verdict verdict = problem ? finish_cut(problem->detail) : finish_relayed();
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
    if (out_ != OutFraming::raw_chunks) payloads.append(payload);
  });
  if (used < piece.size()) call_->mark_unusable();
  if (problem) return problem;
  if (body.done()) watcher_.end();
  if (body.state() == BodyWatcher::State::bad) return node_fault("broke off its answer");
  if (body.done() && !complete() && !begun_) return std::nullopt;  // the caller tries elsewhere
  if (body.payload_bytes() == 0 && !body.done()) {
    if (out_ == OutFraming::raw_chunks) carry_.append(piece.substr(0, used));
    return std::nullopt;
  }
  const std::string_view ending =
      complete() && out_ != OutFraming::sized && out_ != OutFraming::until_close
          ? http::last_chunk
          : std::string_view{};
  if (out_ != OutFraming::raw_chunks) {
    write_payload(payloads, ending);
    return std::nullopt;
  }
  std::string joined;
  const std::string_view settled = take_settled(piece.substr(0, used), joined);
  if (!begun_ && settled.empty() && ending.empty()) return std::nullopt;
  write_out(settled, ending);
  return std::nullopt;
}

/// The whole chunks among what is held and `piece`; the rest is held. A chunk larger than
/// `carry_max` is let through in parts: should the node die inside it, only a reset can tell the
/// client.
std::string_view Attempt::take_settled(std::string_view piece, std::string& joined) {
  if (!carry_.empty()) {
    joined = std::exchange(carry_, {});
    joined.append(piece);
    piece = joined;
  }
  std::size_t open = std::min<std::uint64_t>(call_->body().unsettled(), piece.size());
  if (call_->body().done()) return piece.substr(0, piece.size() - open);
  if (open > carry_max) open = 0;
  carry_.assign(piece.substr(piece.size() - open));
  return piece.substr(0, piece.size() - open);
}

/// Payload in the framing chosen, then what ends the body.
void Attempt::write_payload(std::string_view payload, std::string_view ending) {
  if (out_ == OutFraming::chunks && !payload.empty()) {
    const std::string chunk = http::chunk_of(payload);
    write_out(chunk, ending);
  } else {
    write_out(payload, ending);
  }
}

void Attempt::write_out(std::string_view bytes, std::string_view ending) {
  if (begun_) {
    if (bytes.empty() && ending.empty()) return;
    const std::array<std::string_view, 2> slices{bytes, ending};
    client_.write(std::span(slices).first(ending.empty() ? 1 : 2));
    return;
  }
  begun_ = true;
  note_first_byte();
  const std::string head = client_.head_text(status_, reason_, pass_fields_);
  const std::array<std::string_view, 3> slices{head, bytes, ending};
  client_.write(slices);
  client_.release_body();  // no retry from here on
}

/// The answer broke off after it had begun: tells the client in the form of its API, or, where the
/// form has no word for it, by a reset.
Verdict Attempt::finish_cut(std::string problem) {
  client_.cancel_on_leave(nullptr);
  worker_.metrics().broken_streams.add();
  Verdict verdict;
  verdict.kind = Verdict::Kind::cut;
  verdict.usage = watcher_.usage();
  verdict.health = abandoned_ ? RequestOutcome::neutral : RequestOutcome::fault;
  client_.request().outcome.problem = fmt::format("{}: {}", node_.info.name, problem);
  const std::string record = api::error_record(
      watcher_.form(),
      fmt::format("the node {} failed while answering: {}", node_.info.name, problem),
      watcher_.mid_record() && out_ != OutFraming::raw_chunks);
  const bool inside_chunk = out_ == OutFraming::raw_chunks &&
                            call_->body().unsettled() > carry_.size() && !call_->body().done();
  if (record.empty() || inside_chunk || out_ == OutFraming::sized) {
    client_.abort();
    return verdict;
  }
  const bool chunked = out_ != OutFraming::until_close;
  write_out(chunked ? http::chunk_of(record) : record,
            chunked ? http::last_chunk : std::string_view{});
  return verdict;
}

}  // namespace sollol::gateway

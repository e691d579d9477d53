#include "gateway/connection.h"

#include <fmt/format.h>

#include "api/content_coding.h"
#include "gateway/dispatch.h"
#include "gateway/worker.h"
#include "http/append.h"

namespace sollol::gateway {

using http::Framing;
using net::Direction;
using net::IoResult;
using net::Wake;

namespace {

constexpr std::size_t read_size =
    4096;  // first read of a request: fits nearly all heads with small bodies
constexpr std::size_t read_size_max = 256 * 1024;  // a read inside a large body
constexpr std::size_t drain_max = 1
                                  << 20;  // unread body that is thrown away to keep the connection
constexpr Duration drain_limit = 2s;
// What a small request takes is not counted: limits.connections bounds it.
constexpr std::size_t uncounted_max = 16 * 1024;
constexpr std::size_t unpack_step = 64 * 1024;
constexpr std::string_view too_much_held =
    "the requests of all clients take more memory than they may (limits.requests_total_bytes)";

}  // namespace

Connection::Connection(Worker& worker, std::unique_ptr<net::Stream> stream)
    : worker_(worker),
      stream_(std::move(stream)),
      options_(worker.options_now()),
      memory_(worker.shared().request_memory) {
  request_.client = stream_->peer_address();
  worker_.opened(*this);
}

Connection::~Connection() { worker_.closed(*this); }

net::Task<void> Connection::serve(std::unique_ptr<Connection> self) {
  auto running = self->run();
  co_await std::move(running);
}

net::Task<void> Connection::run() {
  while (!gone_ && !close_after_) {
    auto reading = read_request();
    const bool got = co_await std::move(reading);
    if (!got) break;
    auto handling = dispatch(*this);
    co_await std::move(handling);
    on_leave_ = nullptr;
    cancel_target_ = nullptr;
    if (holds_output()) {
      auto flushing = flush();
      co_await std::move(flushing);
    }
    finish_request();
    if (!request_.keep_alive) close_after_ = true;
    if (close_after_) {  // what it has not sent yet is not waited for
      unread_ = !body_.done();
      break;
    }
    if (body_.done()) continue;
    auto draining = drain_body();
    const bool drained = co_await std::move(draining);
    if (!drained) {
      unread_ = true;
      break;
    }
  }
  if (unread_ && !gone_) {
    auto lingering = linger();
    co_await std::move(lingering);
  }
  if (reset_at_end_) {
    stream_->reset();
  } else {
    stream_->close();
  }
}

void Connection::finish_request() {
  release_body();
  answer_ends();
  if (gone_ && request_.outcome.status == 0) {
    request_.outcome.status = 499;  // as nginx logs it: the client closed the request
    request_.outcome.problem = "the client left";
  }
  worker_.finished(request_);
}

// ---- reading requests

net::Task<Wake> Connection::fill(std::size_t wanted, TimePoint deadline) {
  auto waiting = net::wait(*stream_, Direction::read, deadline);
  filling_ = true;
  const Wake wake = co_await std::move(waiting);
  filling_ = false;
  if (wake != Wake::ready) co_return wake;
  const IoResult got = stream_->read(input_.prepare(wanted));
  if (got.status == IoResult::Status::end || got.status == IoResult::Status::error) {
    gone_ = true;
    co_return Wake::cancelled;
  }
  input_.commit(got.bytes);
  co_return Wake::ready;
}

net::Task<bool> Connection::read_request() {
  // Compared first: the count of holders is shared by all cores.
  if (const auto& newest = worker_.options_now(); options_ != newest) options_ = newest;
  const ClientOptions& limits = options_->client;
  request_.clear();
  continue_sent_ = false;
  body_ = http::BodyWatcher();
  TimePoint head_deadline = net::no_deadline;
  std::size_t parsed = 0;
  worker_.awaits_request(*this);
  while (true) {
    if (!input_.empty() && worth_parsing(parsed)) {
      parsed = input_.size();
      http::RequestHead& head = worker_.request_head();
      const http::HeadParse parse = http::parse_request_head(input_.view(), limits.head, head);
      if (parse.state == http::HeadParse::State::complete) {
        idle_ = false;
        worker_.has_request(*this);
        request_.arrived = worker_.scheduler().now();
        take_head(head, request_);
        worker_.name_request(request_);
        input_.consume(parse.length);
        body_ = http::BodyWatcher(request_.framing);
        co_return true;
      }
      if (parse.state == http::HeadParse::State::bad) {
        auto refusing = refuse(parse.status, parse.problem);
        co_await std::move(refusing);
        co_return false;
      }
      if (head_deadline == net::no_deadline)
        head_deadline = worker_.scheduler().now() + limits.head_timeout;
    } else if (input_.empty()) {
      input_.release();
    }
    if (!fits()) {
      auto refusing = refuse(503, too_much_held, "Retry-After: 1\r\n");
      co_await std::move(refusing);
      co_return false;
    }
    const bool idle = head_deadline == net::no_deadline;
    idle_ = true;
    awaits_head_ = idle;
    auto filling = fill(read_size, idle ? idle_deadline() : head_deadline);
    const Wake wake = co_await std::move(filling);
    awaits_head_ = false;
    if (idle && wake != Wake::ready && worker_.draining() && !gone_ && !ended_ && !making_room_) {
      // Woken to be told, or the grace is over: closing must not cut off a request that has come.
      if (look_once_more() || worker_.scheduler().now() < worker_.idle_until()) continue;
      co_return false;
    }
    if (ended_ || making_room_) co_return false;
    if (wake == Wake::timed_out && !idle) {
      auto refusing = refuse(408, "the request head took too long");
      co_await std::move(refusing);
    }
    if (wake != Wake::ready) co_return false;
  }
}

/// A head that comes a byte at a time is looked at again only when another of its lines has ended.
bool Connection::worth_parsing(std::size_t parsed) const {
  return parsed == 0 || input_.size() >= options_->client.head.bytes_max ||
         input_.view().substr(std::min(parsed, input_.size())).contains('\n');
}

/// Whether what this connection holds of its request has room beside what all others hold.
bool Connection::fits() {
  const std::size_t held = input_.capacity() + decoded_.capacity();
  return memory_.resize(held > uncounted_max ? held : 0, options_->client.requests_total_max);
}

void Connection::make_room() {
  worker_.has_request(*this);  // not to be chosen twice
  making_room_ = true;
  close_after_ = true;
  if (filling_) stream_->cancel();
}

/// Reads on for a moment after an early answer: closing on unread bytes would reset the connection,
/// and the client might lose the answer (RFC 9112 §9.6).
net::Task<void> Connection::linger() {
  stream_->shutdown_write();
  input_.consume(input_.size());
  input_.release();
  fits();
  const TimePoint deadline = worker_.scheduler().now() + drain_limit;
  for (std::size_t seen = 0; seen < drain_max && !gone_; seen += input_.size()) {
    input_.consume(input_.size());
    auto filling = fill(read_size_max, deadline);
    const Wake wake = co_await std::move(filling);
    if (wake != Wake::ready) break;
  }
}

net::Task<void> Connection::refuse(int status, std::string_view problem, std::string fields) {
  worker_.has_request(*this);
  request_.arrived = worker_.scheduler().now();
  worker_.name_request(request_);
  request_.outcome.problem = problem;
  request_.keep_alive = false;
  close_after_ = true;
  unread_ = true;
  auto answering = answer(status, "text/plain; charset=utf-8",
                          fmt::format("{} {}: {}", status, http::reason_phrase(status), problem),
                          std::move(fields));
  co_await std::move(answering);
  auto flushing = flush();
  co_await std::move(flushing);
  worker_.finished(request_);
}

net::Task<bool> Connection::send_continue() {
  if (continue_sent_ || !input_.empty()) co_return true;
  continue_sent_ = true;
  constexpr std::string_view interim = "HTTP/1.1 100 Continue\r\n\r\n";
  write({&interim, 1});
  auto flushing = flush();
  co_return co_await std::move(flushing);
}

namespace {

Error too_large(std::size_t bytes_max) {
  return bad_input(fmt::format(
      "the request body is larger than {} bytes (limits.intent_body_bytes)", bytes_max));
}

Error unknown_coding(std::string_view coding) {
  return bad_input(fmt::format(
      "Content-Encoding '{}' is not understood here: send the body plain, or as zstd to "
      "the /v1 routes",
      coding));
}

Error left_early() {
  return {ErrorKind::cancelled, Origin::client, Retry::never,
          "the client left before its request was complete"};
}

}  // namespace

/// Notes with which status the body is refused; the rest of it is not read.
std::unexpected<Error> Connection::body_failure(int status, Error error) {
  body_status_ = status;
  close_after_ = true;
  return std::unexpected(std::move(error));
}

net::Task<Result<std::string_view>> Connection::read_body(std::size_t bytes_max) {
  const api::BodyCoding coding =
      api::body_coding(request_.content_encoding, request_.route.operation);
  if (coding == api::BodyCoding::unknown)
    co_return body_failure(415, unknown_coding(request_.content_encoding));
  if (request_.framing.kind == Framing::Kind::sized && request_.framing.length > bytes_max)
    co_return body_failure(413, too_large(bytes_max));
  std::optional<std::string_view> body = body_at_hand();
  if (!body) {
    if (request_.expects_continue) {
      auto continuing = send_continue();
      const bool going_on = co_await std::move(continuing);
      if (!going_on) co_return std::unexpected(left_early());
    }
    auto receiving = receive_body(bytes_max);
    const Result<std::string_view> received = co_await std::move(receiving);
    if (!received) co_return received;
    body = *received;
  }
  if (coding == api::BodyCoding::plain) co_return *body;
  co_return unpack(*body);
}

/// A body of known size once all of it has come, as that of nearly every request has with its head.
std::optional<std::string_view> Connection::body_at_hand() {
  if (request_.framing.kind != Framing::Kind::sized || input_.size() < request_.framing.length)
    return std::nullopt;
  body_.feed(input_.view(), [](std::string_view) {});
  body_in_input_ = request_.framing.length;
  keep_room();
  return input_.view().substr(0, body_in_input_);
}

/// For what a client pipelines while its request is served: what views of the body show must not
/// move.
void Connection::keep_room() { input_.prepare(spare_for_watch); }

net::Task<Result<std::string_view>> Connection::receive_body(std::size_t bytes_max) {
  const bool sized = request_.framing.kind == Framing::Kind::sized;
  const TimePoint last = worker_.scheduler().now() + options_->client.body_timeout;
  while (body_.state() == http::BodyWatcher::State::reading) {
    if (sized) {
      if (const auto whole = body_at_hand()) co_return *whole;
    } else {
      const std::size_t used = body_.feed(input_.view(), [&](std::string_view payload) {
        std::ranges::copy(payload, decoded_.prepare(payload.size()).data());
        decoded_.commit(payload.size());
      });
      input_.consume(used);
      if (decoded_.size() > bytes_max) co_return body_failure(413, too_large(bytes_max));
      if (body_.state() != http::BodyWatcher::State::reading) break;
    }
    if (!fits()) {
      co_return body_failure(
          503, {ErrorKind::overloaded, Origin::gateway, Retry::later, std::string(too_much_held)});
    }
    const std::size_t missing = sized ? request_.framing.length - input_.size() : read_size;
    const TimePoint stalled = worker_.scheduler().now() + options_->client.stall_timeout;
    auto filling = fill(std::clamp(missing, read_size, read_size_max), std::min(stalled, last));
    const Wake wake = co_await std::move(filling);
    if (wake == Wake::timed_out) {
      co_return body_failure(
          408, {ErrorKind::timeout, Origin::client, Retry::never,
                stalled < last ? "the request body stalled" : "the request body took too long"});
    }
    if (ended_) co_return body_failure(503, *ended_);
    if (wake != Wake::ready) co_return std::unexpected(left_early());
  }
  if (!body_.done()) co_return body_failure(400, bad_input("the request body is badly framed"));
  keep_room();
  decoded_.prepare(1);
  co_return decoded_.view();
}

/// The plain text of a packed body, which is let go.
Result<std::string_view> Connection::unpack(std::string_view packed) {
  net::InputBuffer plain;
  api::ZstdReader reader(packed);
  while (true) {
    const Result<std::size_t> got = reader.read(plain.prepare(unpack_step).first(unpack_step));
    if (!got) return body_failure(400, got.error());
    if (*got == 0) break;
    plain.commit(*got);
    if (plain.size() > options_->client.unpacked_max) {
      return body_failure(
          413, bad_input(fmt::format(
                   "the request body unpacks to more than {} bytes (limits.unpacked_body_bytes)",
                   options_->client.unpacked_max)));
    }
  }
  return hold_body(std::move(plain));
}

Result<std::string_view> Connection::replace_body(std::string_view text) {
  net::InputBuffer plain;
  std::ranges::copy(text, plain.prepare(text.size()).begin());
  plain.commit(text.size());
  return hold_body(std::move(plain));
}

/// Keeps a body in place of the one that came.
Result<std::string_view> Connection::hold_body(net::InputBuffer plain) {
  input_.consume(std::exchange(body_in_input_, 0));
  decoded_ = std::move(plain);
  if (!fits()) {
    return body_failure(
        503, {ErrorKind::overloaded, Origin::gateway, Retry::later, std::string(too_much_held)});
  }
  keep_room();
  return decoded_.view();
}

net::Task<Result<std::string_view>> Connection::read_body_piece() {
  input_.consume(std::exchange(body_in_input_, 0));
  decoded_.consume(decoded_.size());
  if (request_.expects_continue) {
    auto continuing = send_continue();
    const bool going_on = co_await std::move(continuing);
    if (!going_on) co_return std::unexpected(left_early());
  }
  while (body_.state() == http::BodyWatcher::State::reading) {
    if (!input_.empty() && body_.framing().kind == Framing::Kind::sized) {
      body_in_input_ = body_.feed(input_.view(), [](std::string_view) {});
      co_return input_.view().substr(0, body_in_input_);
    }
    if (!input_.empty()) {
      input_.consume(body_.feed(input_.view(), [&](std::string_view payload) {
        std::ranges::copy(payload, decoded_.prepare(payload.size()).data());
        decoded_.commit(payload.size());
      }));
      if (!decoded_.empty()) co_return decoded_.view();
      continue;
    }
    auto filling = fill(64 * 1024, worker_.scheduler().now() + options_->client.stall_timeout);
    const Wake wake = co_await std::move(filling);
    if (ended_) co_return body_failure(503, *ended_);
    if (wake == Wake::timed_out) {
      co_return body_failure(
          408, {ErrorKind::timeout, Origin::client, Retry::never, "the request body stalled"});
    }
    if (wake != Wake::ready) co_return std::unexpected(left_early());
  }
  if (!body_.done()) co_return body_failure(400, bad_input("the request body is badly framed"));
  co_return std::string_view{};
}

void Connection::release_body() {
  input_.consume(std::exchange(body_in_input_, 0));
  input_.release();
  decoded_.consume(decoded_.size());
  decoded_.release();
  fits();
}

net::Task<bool> Connection::drain_body() {
  if (gone_) co_return false;
  if (body_.done()) co_return true;
  if (request_.expects_continue && !continue_sent_) co_return false;  // it will never come
  std::size_t drained = 0;
  const TimePoint deadline = worker_.scheduler().now() + drain_limit;
  while (body_.state() == http::BodyWatcher::State::reading) {
    const std::size_t used = body_.feed(input_.view(), [](std::string_view) {});
    input_.consume(used);
    drained += used;
    if (body_.state() != http::BodyWatcher::State::reading) break;
    if (drained > drain_max) co_return false;
    auto filling = fill(read_size * 4, deadline);
    const Wake wake = co_await std::move(filling);
    if (wake != Wake::ready) co_return false;
  }
  co_return body_.done();
}

// ---- answers

std::string Connection::head_text(int status, std::string_view reason,
                                  std::string_view framing_fields) {
  Outcome& outcome = request_.outcome;
  outcome.status = status;
  std::string head;
  head.reserve(512);
  http::append(head, "HTTP/1.1 ", status, " ", reason, "\r\n", framing_fields,
               "X-Request-Id: ", request_.id, "\r\nX-Sollol-Node: ",
               outcome.node.empty() ? std::string_view("gateway") : std::string_view(outcome.node),
               "\r\n");
  if (request_.wants_reason && !outcome.reason.empty())
    http::append(head, "X-Sollol-Reason: ", outcome.reason, "\r\n");
  if (outcome.num_ctx_pinned != 0)
    http::append(head, "X-Sollol-Num-Ctx: ", outcome.num_ctx_pinned, "\r\n");
  if (!request_.origin.empty()) {
    http::append(head, "Access-Control-Allow-Origin: ", request_.origin, "\r\nVary: Origin\r\n");
  }
  const bool keeps = request_.keep_alive && !close_after_ && !worker_.draining();
  if (!keeps) {
    head += "Connection: close\r\n";
    request_.keep_alive = false;
  } else if (request_.minor_version == 0) {
    head += "Connection: keep-alive\r\n";
  }
  head += "\r\n";
  return head;
}

net::Task<void> Connection::answer(int status, std::string_view content_type, std::string body,
                                   std::string fields) {
  std::string framing;
  http::append(framing, "Date: ", worker_.http_date(), "\r\n");
  if (!content_type.empty()) http::append(framing, "Content-Type: ", content_type, "\r\n");
  if (status != 204) http::append(framing, "Content-Length: ", body.size(), "\r\n");
  framing += fields;
  const std::string head = head_text(status, http::reason_phrase(status), framing);
  const std::array<std::string_view, 2> slices{
      head, request_.is_head() ? std::string_view{} : std::string_view(body)};
  answer_ends();
  write(slices);
  auto flushing = flush();
  co_await std::move(flushing);
}

net::Task<void> Connection::answer(api::Reply reply, std::string fields) {
  return answer(reply.status, reply.content_type, std::move(reply.body), std::move(fields));
}

bool Connection::write(std::span<const std::string_view> slices) {
  std::size_t offered = 0;
  for (const std::string_view slice : slices) offered += slice.size();
  request_.outcome.bytes_out += offered;
  std::size_t taken = 0;
  if (held_.empty() && !gone_) {
    const IoResult written = stream_->write(slices);
    if (written.status == IoResult::Status::error) left();
    taken = written.bytes;
    if (taken == offered) return true;
  }
  if (gone_) return true;  // nobody to hold it for
  for (std::string_view slice : slices) {
    const std::size_t skip = std::min(taken, slice.size());
    taken -= skip;
    held_.append(slice.substr(skip));
  }
  return false;
}

net::Task<bool> Connection::flush() {
  while (!held_.empty() && !gone_) {
    auto waiting = net::wait(*stream_, Direction::write,
                             worker_.scheduler().now() + options_->client.stall_timeout);
    const Wake wake = co_await std::move(waiting);
    if (wake != Wake::ready) {
      request_.outcome.problem = "the client stopped reading";
      reset_at_end_ = true;  // else the kernel would keep for it what it does not take
      left();
      break;
    }
    const std::string_view all = held_;
    const IoResult written = stream_->write({&all, 1});
    if (written.status == IoResult::Status::error) left();
    held_.erase(0, written.bytes);
  }
  if (gone_) held_.clear();
  if (held_.capacity() > 64 * 1024) held_.shrink_to_fit();
  co_return !gone_;
}

void Connection::abort() {
  close_after_ = true;
  gone_ = true;
  held_.clear();
  stream_->reset();
}

}  // namespace sollol::gateway

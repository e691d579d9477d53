#include "net/http_call.h"

#include <fmt/format.h>

#include <array>

namespace sollol::net {
namespace {

Error wait_error(Wake wake, std::string_view awaited) {
  if (wake == Wake::timed_out) {
    return {ErrorKind::timeout, Origin::node, Retry::other_node,
            fmt::format("no {} in time", awaited)};
  }
  return {ErrorKind::cancelled, Origin::gateway, Retry::never,
          fmt::format("stopped waiting for {}", awaited)};
}

Error closed_error(std::string_view what) {
  return {ErrorKind::reset, Origin::node, Retry::other_node,
          fmt::format("the node closed the connection {}", what)};
}

}  // namespace

Result<std::size_t> HttpCall::send_now(std::string_view head, std::string_view body) {
  const std::array<std::string_view, 2> slices{head, body};
  const std::size_t first = head.empty() ? 1 : 0;
  const std::size_t count = body.empty() && first == 0 ? 1 : 2 - first;
  const IoResult written = stream_.write(std::span(slices).subspan(first, count));
  if (written.status == IoResult::Status::error)
    return std::unexpected(closed_error("while it was sent a request"));
  return written.bytes;
}

Task<Result<void>> HttpCall::send(std::string_view head, std::string_view body, TimePoint deadline,
                                  std::size_t sent) {
  for (bool waits = sent > 0; sent < head.size() + body.size(); waits = true) {
    if (waits) {
      auto waiting = wait(stream_, Direction::write, deadline);
      const Wake wake = co_await std::move(waiting);
      if (wake != Wake::ready)
        co_return std::unexpected(wait_error(wake, "room to send the request"));
    }
    const std::size_t of_head = std::min(sent, head.size());
    const Result<std::size_t> more = send_now(head.substr(of_head), body.substr(sent - of_head));
    if (!more) co_return std::unexpected(more.error());
    sent += *more;
  }
  co_return Result<void>{};
}

std::optional<Result<std::size_t>> HttpCall::take(Wake wake, std::size_t offset) {
  if (wake != Wake::ready) return std::unexpected(wait_error(wake, "answer"));
  const IoResult got = stream_.read(scratch_.all().subspan(offset));
  if (got.status == IoResult::Status::error) return std::unexpected(closed_error("abruptly"));
  if (got.status == IoResult::Status::end) return std::size_t{0};
  if (got.bytes == 0) return std::nullopt;
  received_anything_ = true;
  return got.bytes;
}

Task<Result<std::size_t>> HttpCall::read_some(std::size_t offset, TimePoint deadline) {
  while (true) {
    auto waiting = wait(stream_, Direction::read, deadline);
    const Wake wake = co_await std::move(waiting);
    if (auto got = take(wake, offset)) co_return std::move(*got);
  }
}

Task<Result<const http::ResponseHead*>> HttpCall::receive_head(std::string_view method,
                                                               TimePoint deadline) {
  std::string_view held;  // what is known of the head: scratch, or carry_ once it came in pieces
  std::size_t parsed = 0;
  int interims = 0;
  while (true) {
    // A head that comes a byte at a time is looked at again only when a line of it has ended.
    const bool worth_parsing = parsed == 0 || held.size() >= limits_.bytes_max ||
                               held.substr(std::min(parsed, held.size())).contains('\n');
    if (!held.empty() && worth_parsing) {
      parsed = held.size();
      const http::HeadParse parse = http::parse_response_head(held, limits_, scratch_.head);
      if (parse.state == http::HeadParse::State::bad) {
        co_return std::unexpected(
            Error{ErrorKind::bad_reply, Origin::node, Retry::other_node,
                  fmt::format("the node's answer is not HTTP: {}", parse.problem)});
      }
      if (parse.state == http::HeadParse::State::complete) {
        if (scratch_.head.status == 101 || ++interims > interim_max) {
          co_return std::unexpected(Error{ErrorKind::bad_reply, Origin::node, Retry::other_node,
                                          scratch_.head.status == 101
                                              ? "the node changed the protocol unasked"
                                              : "the node sent nothing but interim answers"});
        }
        if (scratch_.head.status >= 200) {
          rest_ = held.substr(parse.length);
          body_ = http::BodyWatcher(http::response_framing(scratch_.head, method));
          keep_alive_ = scratch_.head.keep_alive;
          co_return &scratch_.head;
        }
        held.remove_prefix(parse.length);  // an interim answer
        parsed = 0;
        if (held.empty()) carry_.clear();
        continue;
      }
    }
    if (held.size() != carry_.size()) carry_ = std::string(held);
    if (scheduler_ != nullptr && !carry_.empty()) {
      deadline = std::min(deadline, scheduler_->now() + head_time_);
      scheduler_ = nullptr;  // from the first byte on it stands
    }
    auto reading = read_some(0, deadline);
    const Result<std::size_t> got = co_await std::move(reading);
    if (!got) co_return std::unexpected(got.error());
    if (*got == 0) {
      co_return std::unexpected(
          closed_error(carry_.empty() ? "without an answer" : "inside a response head"));
    }
    held = {scratch_.bytes.get(), *got};
    if (!carry_.empty()) {
      carry_.append(held);
      held = carry_;
    }
  }
}

Task<Result<std::string_view>> HttpCall::receive(TimePoint deadline) {
  if (!rest_.empty()) co_return take_rest();
  auto reading = read_some(0, deadline);
  const Result<std::size_t> got = co_await std::move(reading);
  if (!got) co_return std::unexpected(got.error());
  if (*got == 0) {
    keep_alive_ = false;
    body_.end_of_stream();
  }
  co_return std::string_view(scratch_.bytes.get(), *got);
}

/// What the stream calls when there is something to read. It owns the sleeping coroutine and hands
/// it on to the next wait, so that the coroutine goes when the stream drops its waits.
template <class Handler>
struct HttpCall::Handing {
  HttpCall& call;
  PieceSink& sink;
  Handler handler;

  void operator()(Wake wake) {
    bool more = false;
    try {
      more = call.hand_out(wake, sink);
    } catch (...) {  // the coroutine's
      call.thrown_ = std::current_exception();
    }
    if (more) {
      call.stream_.on_ready(Direction::read, no_deadline, std::move(*this));
    } else {
      std::move(handler)(wake);
    }
  }
};

Task<Result<void>> HttpCall::receive_each(PieceSink& sink, TimePoint deadline) {
  if (!rest_.empty()) {
    if (!sink.take(take_rest())) co_return Result<void>{};
    deadline = no_deadline;
  }
  auto start = [this, &sink, deadline](auto handler) {
    stream_.on_ready(Direction::read, deadline,
                     Handing<decltype(handler)>{*this, sink, std::move(handler)});
  };
  auto waiting = asio::async_initiate<decltype(use_task), void(Wake)>(std::move(start), use_task);
  co_await std::move(waiting);
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  if (failed_) co_return std::unexpected(*std::exchange(failed_, std::nullopt));
  co_return Result<void>{};
}

bool HttpCall::hand_out(Wake wake, PieceSink& sink) {
  const std::optional<Result<std::size_t>> got = take(wake, 0);
  if (!got) return true;
  if (!*got) {
    failed_ = got->error();
    return false;
  }
  if (**got == 0) {
    keep_alive_ = false;
    body_.end_of_stream();
  }
  return sink.take({scratch_.bytes.get(), **got});
}

Task<Result<std::string>> HttpCall::receive_body(
    std::size_t bytes_max, std::move_only_function<TimePoint()> next_deadline) {
  std::string body;
  while (body_.state() == http::BodyWatcher::State::reading) {
    auto receiving = receive(next_deadline());
    const Result<std::string_view> piece = co_await std::move(receiving);
    if (!piece) co_return std::unexpected(piece.error());
    const std::size_t used =
        body_.feed(*piece, [&](std::string_view payload) { body.append(payload); });
    if (used < piece->size()) keep_alive_ = false;
    if (body.size() > bytes_max) {
      co_return std::unexpected(
          Error{ErrorKind::overloaded, Origin::node, Retry::never,
                fmt::format("the answer is larger than {} bytes", bytes_max)});
    }
  }
  if (!body_.done()) {
    co_return std::unexpected(Error{ErrorKind::bad_reply, Origin::node, Retry::other_node,
                                    "the answer's body is cut or malformed"});
  }
  co_return body;
}

Task<Result<SimpleReply>> call_once(Stream& stream, HttpScratch& scratch, SimpleRequest request,
                                    TimePoint deadline) {
  std::string head =
      fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n{}", request.method,
                  request.target, request.host_field, request.extra_fields);
  if (!request.body.empty() || request.method == "POST") {
    head += fmt::format("Content-Type: application/json\r\nContent-Length: {}\r\n",
                        request.body.size());
  }
  head += "\r\n";
  HttpCall call(stream, scratch);
  auto sending = call.send(head, request.body, deadline);
  const Result<void> sent = co_await std::move(sending);
  if (!sent) co_return std::unexpected(sent.error());
  auto receiving = call.receive_head(request.method, deadline);
  const auto response = co_await std::move(receiving);
  if (!response) co_return std::unexpected(response.error());
  SimpleReply result;
  result.reply.status = (*response)->status;
  result.reply.content_type = (*response)->fields.find(http::FieldId::content_type);
  result.reply.server = (*response)->fields.find(http::FieldId::server);
  result.reply.from_gateway = !(*response)->fields.find(http::FieldId::sollol).empty();
  auto reading = call.receive_body(request.reply_max, deadline);
  Result<std::string> body = co_await std::move(reading);
  if (!body) co_return std::unexpected(body.error());
  result.reply.body = std::move(*body);
  result.reusable = call.reusable();
  co_return result;
}

}  // namespace sollol::net

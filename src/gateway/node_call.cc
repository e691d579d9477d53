#include "gateway/node_call.h"

#include <fmt/format.h>

#include <algorithm>

#include "gateway/attempt.h"

namespace sollol::gateway {

net::Task<Result<void>> NodeCall::send(std::string_view method, std::string_view target,
                                       std::string fields, std::string body) {
  const TimePoint now = worker_.scheduler().now();
  in_use_.emplace(worker_.pool(), node_.id, [this] {
    if (worker_.scheduler().now() - last_byte_ < alive_after_byte) return;
    abandoned_ = true;
    cancel();
  });
  auto connecting = worker_.nodes().connect(node_.info, node_.addresses,
                                            now + worker_.options().upstream.connect_timeout);
  auto connected = co_await std::move(connecting);
  if (!connected) co_return std::unexpected(connected.error());
  if (cancelled_)
    co_return std::unexpected(
        Error{ErrorKind::cancelled, Origin::client, Retry::never, "cancelled"});
  stream_ = std::move(*connected);
  call_.emplace(*stream_, worker_.scratch(), worker_.options().upstream.head);
  call_->limit_head_time(worker_.scheduler(), worker_.options().upstream.head_timeout);
  const std::string head =
      fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n", method,
                  node_.info.path_prefix, target, node_.host_field, fields);
  auto sending = call_->send(head, body, now + worker_.options().client.stall_timeout);
  co_return co_await std::move(sending);
}

net::Task<Result<const http::ResponseHead*>> NodeCall::receive_head(std::string_view method) {
  const Duration limit = worker_.options().upstream.response_timeout;
  const TimePoint deadline = deadline_            ? *deadline_
                             : limit.count() == 0 ? net::no_deadline
                                                  : worker_.scheduler().now() + limit;
  auto receiving = call_->receive_head(method, deadline);
  const Result<const http::ResponseHead*> head = co_await std::move(receiving);
  if (!head) co_return std::unexpected(explained(head.error()));
  last_byte_ = worker_.scheduler().now();
  co_return head;
}

net::Task<Result<std::string_view>> NodeCall::receive() {
  auto receiving = call_->receive(net::no_deadline);
  const Result<std::string_view> piece = co_await std::move(receiving);
  if (!piece) co_return std::unexpected(explained(piece.error()));
  last_byte_ = worker_.scheduler().now();
  co_return piece;
}

net::Task<Result<std::string>> NodeCall::receive_body(std::size_t bytes_max) {
  // Asked whenever something has come; once the head has, nothing is left to wait for.
  auto receiving = call_->receive_body(bytes_max, [this] {
    last_byte_ = worker_.scheduler().now();
    return std::min(last_byte_ + worker_.options().upstream.head_timeout,
                    deadline_.value_or(net::no_deadline));
  });
  Result<std::string> body = co_await std::move(receiving);
  if (!body) co_return std::unexpected(explained(body.error()));
  co_return body;
}

Error NodeCall::explained(Error error) const {
  if (!abandoned_) return error;
  return {ErrorKind::timeout, Origin::node, Retry::other_node, "no longer answers"};
}

net::Task<net::Wake> NodeCall::write(std::string bytes) {
  return net::write_all(*stream_, std::move(bytes), worker_.scheduler(),
                        worker_.options().client.stall_timeout);
}

void NodeCall::cancel() {
  cancelled_ = true;
  if (stream_) stream_->cancel();
}

}  // namespace sollol::gateway

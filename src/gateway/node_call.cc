#include "gateway/node_call.h"

#include <fmt/format.h>

namespace sollol::gateway {

net::Task<Result<void>> NodeCall::send(std::string_view method, std::string_view target,
                                       std::string fields, std::string body) {
  const TimePoint now = worker_.scheduler().now();
  auto connecting = net::connect_any(worker_.connector(), node_.addresses,
                                     now + worker_.options().upstream.connect_timeout);
  auto connected = co_await std::move(connecting);
  if (!connected) co_return std::unexpected(connected.error());
  if (cancelled_)
    co_return std::unexpected(
        Error{ErrorKind::cancelled, Origin::client, Retry::never, "cancelled"});
  stream_ = std::move(*connected);
  call_.emplace(*stream_, worker_.scratch(), worker_.options().upstream.head);
  const std::string head =
      fmt::format("{} {}{} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n{}\r\n", method,
                  node_.info.path_prefix, target, node_.host_field, fields);
  auto sending = call_->send(head, body, now + worker_.options().client.stall_timeout);
  co_return co_await std::move(sending);
}

net::Task<Result<const http::ResponseHead*>> NodeCall::receive_head(std::string_view method) {
  return call_->receive_head(method, net::no_deadline);
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

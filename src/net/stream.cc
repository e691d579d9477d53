#include "net/stream.h"

#include "net/connector.h"
#include "net/scheduler.h"

namespace sollol::net {

Task<Wake> write_all(Stream& stream, std::string bytes, Scheduler& scheduler,
                     Duration stall_limit) {
  std::string_view left = bytes;
  while (!left.empty()) {
    const IoResult written = stream.write({&left, 1});
    if (written.status == IoResult::Status::error) co_return Wake::cancelled;
    left.remove_prefix(written.bytes);
    if (left.empty()) break;
    auto waiting = wait(stream, Direction::write, scheduler.now() + stall_limit);
    const Wake wake = co_await std::move(waiting);
    if (wake != Wake::ready) co_return wake;
  }
  co_return Wake::ready;
}

Task<Result<std::unique_ptr<Stream>>> connect_any(Connector& connector,
                                                  std::vector<Address> addresses,
                                                  TimePoint deadline) {
  Error last{ErrorKind::refused, Origin::node, Retry::other_node,
             "its address is not resolved yet"};
  for (Address& address : addresses) {
    auto connecting = connector.connect(std::move(address), deadline);
    auto connected = co_await std::move(connecting);
    if (connected || connected.error().kind == ErrorKind::timeout) co_return connected;
    last = connected.error();
  }
  co_return std::unexpected(std::move(last));
}

}  // namespace sollol::net

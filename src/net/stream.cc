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

Task<Result<std::unique_ptr<Stream>>> connect_any(Connector& connector, const Scheduler& clock,
                                                  std::vector<Address> addresses,
                                                  TimePoint deadline) {
  Error last{ErrorKind::refused, Origin::node, Retry::other_node,
             "its address is not resolved yet"};
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const TimePoint now = clock.now();
    const Duration share = (deadline - now) / static_cast<int>(addresses.size() - i);
    const bool shares = i + 1 < addresses.size() && deadline != no_deadline;
    auto connecting = connector.connect(std::move(addresses[i]), shares ? now + share : deadline);
    auto connected = co_await std::move(connecting);
    if (connected) co_return connected;
    last = connected.error();
  }
  co_return std::unexpected(std::move(last));
}

}  // namespace sollol::net

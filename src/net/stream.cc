#include "net/stream.h"

#include "net/scheduler.h"

namespace sollol::net {

Task<Wake> write_all(Stream& stream, std::string bytes, Scheduler& scheduler, Duration stall_limit) {
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

}  // namespace sollol::net

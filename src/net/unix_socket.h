#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "net/scheduler.h"
#include "net/stream.h"
#include "net/task.h"

namespace sollol::net {

/// Connects to a socket of this machine by its path. Does not wait: the kernel decides at once.
/// Error: not_found (no such path), forbidden (no permission), refused (nobody listens, or the
/// path is none), overloaded (no descriptor, or its queue is full).
Result<std::unique_ptr<Stream>> connect_unix(asio::io_context& context, Scheduler& scheduler,
                                             const std::string& path);

}  // namespace sollol::net

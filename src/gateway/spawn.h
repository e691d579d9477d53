#pragma once

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <exception>
#include <string_view>

#include "net/task.h"

namespace sollol::gateway {

/// Starts a task that lives as long as its context; an exception that escapes it is a bug and is
/// logged, not fatal.
inline void spawn(net::asio::io_context& context, std::string_view what, net::Task<void> task) {
  net::asio::co_spawn(context, std::move(task), [what](std::exception_ptr failure) {
    if (!failure) return;
    try {
      std::rethrow_exception(failure);
    } catch (const std::exception& e) {
      spdlog::error("{}: {}", what, e.what());
    }
  });
}

}  // namespace sollol::gateway

#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>

namespace sollol::net {

namespace asio = boost::asio;

/// The coroutine type of everything that waits. Bound to io_context's own executor: the type-erased
/// one costs a virtual call and a reference count at every suspension.
template <class T = void>
using Task = asio::awaitable<T, asio::io_context::executor_type>;

inline constexpr asio::use_awaitable_t<asio::io_context::executor_type> use_task{};

}  // namespace sollol::net

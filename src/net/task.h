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

/// An io_context whose tasks can be dropped before it goes: a task that waits for another thread's
/// holds that one's executor, so no context may go while tasks of any other are left.
class Context : public asio::io_context {
 public:
  Context() : asio::io_context(BOOST_ASIO_CONCURRENCY_HINT_UNSAFE_IO) {}
  /// Destroys all that is left to be done. Its thread has ended.
  void drop_tasks() { shutdown(); }
};

}  // namespace sollol::net

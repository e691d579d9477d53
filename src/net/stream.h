#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"
#include "net/task.h"

namespace sollol::net {

enum class Direction : std::uint8_t { read, write };

/// How a wait ended.
enum class Wake : std::uint8_t { ready, timed_out, cancelled };

/// What a non-blocking read or write did.
struct IoResult {
  enum class Status : std::uint8_t { ok, would_block, end, error };
  Status status = Status::ok;
  std::size_t bytes = 0;  // may be > 0 with would_block after a partial write
};

/// Memory that something is about to touch.
struct Region {
  const void* at = nullptr;
  std::size_t bytes = 0;
};

inline constexpr TimePoint no_deadline = TimePoint::max();

/// One byte stream to a peer, in the readiness style: reads and writes never block, waiting is
/// apart. So a stream that waits holds no buffer, and one buffer per worker serves all its streams.
///
/// One thread. Destroying a stream closes it and drops its waits without calling them.
class Stream {
 public:
  using Callback = std::move_only_function<void(Wake)>;

  virtual ~Stream() = default;

  virtual IoResult read(std::span<char> into) = 0;
  /// Writes the slices in order as far as the peer's window allows.
  virtual IoResult write(std::span<const std::string_view> slices) = 0;

  /// Calls `callback` once, when the direction may be ready, the deadline passes or `cancel` is
  /// called; never from inside this call. A later call for the same direction replaces an earlier
  /// one, whose callback is dropped.
  virtual void on_ready(Direction direction, TimePoint deadline, Callback callback) = 0;
  /// Drops the callback of the direction without calling it.
  virtual void forget(Direction direction) = 0;
  /// Wakes whoever waits now, in both directions, with Wake::cancelled; soon, never from inside
  /// this call.
  virtual void cancel() = 0;

  /// Ends our side; the peer may still send.
  virtual void shutdown_write() = 0;
  virtual void close() = 0;
  /// Closes with RST: the peer must not take what it has for complete.
  virtual void reset() = 0;
  virtual std::string peer_address() const = 0;
  /// The peer is about to send many small pieces one by one: what acknowledges them may wait and
  /// answer for several at once, and what is touched by whoever handles one may be fetched ahead. A
  /// hint, which lasts until the peer pauses; regions that are no more do no harm.
  virtual void expect_pieces([[maybe_unused]] std::span<const Region> touches) {}
  /// What a write touches, for such a hint.
  virtual Region memory() const { return {}; }
};

/// Waits for the direction of a stream; see Stream::on_ready.
inline Task<Wake> wait(Stream& stream, Direction direction, TimePoint deadline = no_deadline) {
  auto start = [&stream, direction, deadline](auto handler) {
    stream.on_ready(direction, deadline, [handler = std::move(handler)](Wake wake) mutable {
      std::move(handler)(wake);
    });
  };
  return asio::async_initiate<decltype(use_task), void(Wake)>(std::move(start), use_task);
}

/// Writes all slices, waiting as long as the peer accepts something before `stall_limit` passes.
/// Ready: all written. timed_out: the peer stopped reading. cancelled: it is gone.
Task<Wake> write_all(Stream& stream, std::string bytes, class Scheduler& scheduler,
                     Duration stall_limit);

}  // namespace sollol::net

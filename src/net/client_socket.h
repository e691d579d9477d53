#pragma once

#include <span>
#include <string_view>
#include <utility>

#include "base/address.h"
#include "base/result.h"
#include "net/stream.h"

namespace sollol::net {

/// The client's end of a connection, for a thread that has no loop: reads and writes never block,
/// and `wait` does. Owns its descriptor.
class ClientSocket {
 public:
  ClientSocket() noexcept = default;
  explicit ClientSocket(int descriptor) noexcept : descriptor_(descriptor) {}
  ClientSocket(ClientSocket&& other) noexcept : descriptor_(other.release()) {}
  ClientSocket& operator=(ClientSocket&& other) noexcept;
  ~ClientSocket();

  /// Two ends of one connection inside this process. Error: overloaded, when no descriptor is left.
  static Result<std::pair<ClientSocket, ClientSocket>> make_pair();
  /// Begins to connect; the first read or write tells whether it could. Error: refused, overloaded.
  static Result<ClientSocket> begin_connect(const Address& to);

  IoResult read(std::span<char> into) noexcept;
  IoResult write(std::string_view bytes) noexcept;
  /// Blocks until the direction may be ready or `limit` has passed; false in the latter case, and
  /// when a signal came.
  bool wait(Direction direction, Duration limit) const noexcept;
  /// The peer has closed or said something unasked: no request may follow.
  bool stale() const noexcept;

  int descriptor() const noexcept { return descriptor_; }
  /// Gives the descriptor away.
  int release() noexcept { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_ = -1;
};

/// A descriptor that a thread waits for.
struct Awaited {
  int descriptor = -1;
  Direction direction = Direction::read;
  bool ready = false;
};

/// Blocks until one of them may be ready, `limit` has passed or a signal came; marks those that
/// are.
void wait_for_any(std::span<Awaited> all, Duration limit);

}  // namespace sollol::net

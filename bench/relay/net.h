#pragma once

#include <sys/epoll.h>
#include <sys/types.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sollol::bench {

using Nanoseconds = std::chrono::nanoseconds;

/// Owns a file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Fd() { close(); }
  void close() noexcept;
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// An IPv4 address and port; parses "127.0.2.1:8080", throws std::runtime_error on anything else or
/// outside 127.0.0.0/8.
struct Endpoint {
  std::uint32_t address = 0;  // host byte order
  std::uint16_t port = 0;
  static Endpoint parse(const std::string& text);
  std::string text() const;
};

/// Opens a listening socket, non-blocking; port 0 takes a free one. Throws std::system_error.
Fd listen_on(Endpoint at);
/// The address a socket is bound to.
Endpoint bound_to(const Fd& socket);
/// Starts a connection from a loopback address picked by `seat`, so that many thousand need not
/// share one port range. Non-blocking, no delay; an empty Fd when refused at once.
Fd connect_to(Endpoint to, std::size_t seat);
/// Accepts one connection, non-blocking, no delay; an empty Fd when none waits.
Fd accept_from(const Fd& listener);

/// What one read gave. `arrived` is the kernel's receive time stamp on the real-time clock, or zero
/// when it gave none.
struct Read {
  ssize_t size = 0;  // as recv: 0 at the end of the stream, -1 with errno
  Nanoseconds arrived{};
};
void ask_for_arrival_times(const Fd& socket);
Read read_with_arrival(const Fd& socket, std::span<char> into);

/// Level-triggered epoll. A token names the socket in what `wait` returns.
class Poller {
 public:
  Poller();
  void add(const Fd& socket, std::uint32_t events, std::uint64_t token);
  void change(const Fd& socket, std::uint32_t events, std::uint64_t token);
  /// Waits no longer than `limit` (negative: without limit) and returns what is ready; valid until
  /// the next call.
  std::span<const epoll_event> wait(Nanoseconds limit);

 private:
  Fd fd_;
  std::vector<epoll_event> ready_;
};

Nanoseconds monotonic_now();
Nanoseconds realtime_now();
/// Raises this process's soft limit of open files to its hard limit.
void raise_fd_limit();

}  // namespace sollol::bench

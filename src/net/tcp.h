#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <memory>

#include "net/connector.h"
#include "net/ring.h"
#include "net/scheduler.h"

namespace sollol::net {

/// Real time on an io_context. Its wheel's timer runs only while something is armed.
class AsioScheduler final : public Scheduler {
 public:
  explicit AsioScheduler(asio::io_context& context);
  /// Runs the context on this thread until it is stopped, and looks at the clock only once in each
  /// turn: one handler, or a few completions of a ring (well under a millisecond). Reading it takes
  /// some 40 ns, and a request asks a dozen times. Meanwhile the times are this thread's alone.
  void run();
  void next_turn() noexcept {
    now_ = {};
    wall_now_ = {};
  }

  TimePoint now() const override { return of_this_turn<Clock>(now_); }
  WallTime wall_now() const override { return of_this_turn<std::chrono::system_clock>(wall_now_); }
  Task<> sleep_until(TimePoint when) override;
  void arm(TimerWheel::Entry& entry, TimePoint when) override;

 private:
  void run_wheel();
  template <class From>
  From::time_point of_this_turn(From::time_point& known) const {
    if (!in_turns_) return From::now();
    if (known == typename From::time_point{}) known = From::now();
    return known;
  }

  asio::io_context& context_;
  bool in_turns_ = false;
  mutable TimePoint now_{};  // zero: not looked at yet in this turn
  mutable WallTime wall_now_{};
  TimerWheel wheel_;
  asio::steady_timer wheel_timer_;
  bool wheel_running_ = false;
};

/// Bound to io_context's own executor, as Task is.
using TcpSocket = asio::basic_stream_socket<asio::ip::tcp, asio::io_context::executor_type>;
using TcpAcceptor = asio::basic_socket_acceptor<asio::ip::tcp, asio::io_context::executor_type>;

/// A connected socket as a Stream, with Nagle's delay off; served by `ring` when there is one.
std::unique_ptr<Stream> make_tcp_stream(TcpSocket socket, Scheduler& scheduler,
                                        Ring* ring = nullptr);

/// A socket that somebody else connected, TCP or of this machine, as a Stream; owns the descriptor.
/// Error: bad_input, when it is no socket.
Result<std::unique_ptr<Stream>> adopt_stream(asio::io_context& context, Scheduler& scheduler,
                                             int descriptor, Ring* ring = nullptr);

/// Lets acknowledgements of small pieces wait for the next piece (at most 40 ms). By itself the
/// kernel sends one for each piece that is read, which costs about as much as the reading: without
/// them a relayed token is a tenth cheaper (bench/relay, row `tokens`). Holds until the peer
/// pauses.
void delay_acknowledgements(int descriptor) noexcept;

class TcpConnector final : public Connector {
 public:
  TcpConnector(asio::io_context& context, Scheduler& scheduler)
      : context_(context), scheduler_(scheduler) {}
  Task<Result<std::unique_ptr<Stream>>> connect(Address to, TimePoint deadline) override;
  /// What is connected from here on is served by `ring`; null: through epoll.
  void serve_through(Ring* ring) noexcept { ring_ = ring; }

 private:
  asio::io_context& context_;
  Scheduler& scheduler_;
  Ring* ring_ = nullptr;
};

/// Accepts on one address. Several listeners may share it (SO_REUSEPORT): the kernel spreads
/// connections over them.
class TcpListener {
 public:
  /// Error: refused, with the address and the mend, when it is taken or not ours.
  static Result<TcpListener> open(asio::io_context& context, const Address& at);

  /// Takes over a listening socket that somebody else made; owns the descriptor. Error: bad_input,
  /// when it is none.
  static Result<TcpListener> adopt(asio::io_context& context, int descriptor);

  /// The next connection; an error when the listener was closed or no descriptor is left
  /// (overloaded: wait, then again).
  Task<Result<std::unique_ptr<Stream>>> accept(Scheduler& scheduler, Ring* ring = nullptr);
  /// Ends `accept`. The socket itself lives on where another process holds it too.
  void close();
  Address address() const;
  int descriptor() { return acceptor_.native_handle(); }

 private:
  explicit TcpListener(TcpAcceptor acceptor) : acceptor_(std::move(acceptor)) {}
  TcpAcceptor acceptor_;
};

/// Resolves a host name to its addresses; literals resolve to themselves. Error: refused, naming
/// the host.
Task<Result<std::vector<Address>>> resolve(asio::io_context& context, std::string host,
                                           std::uint16_t port);

}  // namespace sollol::net

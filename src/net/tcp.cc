#include "net/tcp.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <utility>

#include "net/address.h"
#include "net/listening.h"
#include "net/ring_stream.h"
#include "net/waits.h"

namespace sollol::net {

using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t slices_max = 16;

/// The part of a TcpStream that its pending operations keep alive after the stream is gone.
class TcpCore final : public std::enable_shared_from_this<TcpCore> {
 public:
  TcpCore(TcpSocket socket, Scheduler& scheduler)
      : socket_(std::move(socket)), waits_(*this, scheduler) {}

  TcpSocket& socket() noexcept { return socket_; }
  Waits<TcpCore>& waits() noexcept { return waits_; }

  void on_ready(Direction direction, TimePoint deadline, Stream::Callback callback) {
    waits_.set(direction, deadline, std::move(callback));
    if (!pending_[std::to_underlying(direction)]) start_wait(direction);
  }

  /// What waits now is woken from the context, not from here: it may end whoever cancels.
  void cancel() {
    waits_.cancel();
    asio::post(socket_.get_executor(), Telling{shared_from_this()});
  }

  void close() {
    waits_.forget(Direction::read);
    waits_.forget(Direction::write);
    error_code ignored;
    socket_.close(ignored);
  }

 private:
  /// At most one wait a direction is pending at the reactor, and it outlives the callbacks that use
  /// it, so that a connection which is watched, parked and used again arms the reactor once.
  void start_wait(Direction direction) {
    pending_[std::to_underlying(direction)] = true;
    const auto kind = direction == Direction::read ? TcpSocket::wait_read : TcpSocket::wait_write;
    socket_.async_wait(kind, Waiting{shared_from_this(), direction});
  }

  /// What the reactor holds. Dropped without being called when the context goes: the callback goes
  /// then too, since the task in it may hold the stream, and by that itself.
  struct Waiting {
    Waiting(std::shared_ptr<TcpCore> c, Direction d) noexcept : core(std::move(c)), direction(d) {}
    Waiting(Waiting&&) noexcept = default;
    ~Waiting() {
      if (core) core->waits_.forget(direction);
    }
    void operator()(error_code problem) {
      const auto self = std::move(core);
      self->pending_[std::to_underlying(direction)] = false;
      // A read or write tells what is wrong; only the waking matters here.
      self->waits_.wake(direction, problem ? Wake::cancelled : Wake::ready);
    }
    std::shared_ptr<TcpCore> core;
    Direction direction;
  };

  /// The same of what was cancelled and is to be told so.
  struct Telling {
    explicit Telling(std::shared_ptr<TcpCore> c) noexcept : core(std::move(c)) {}
    Telling(Telling&&) noexcept = default;
    ~Telling() {
      if (core) core->waits_.drop_cancelled();
    }
    void operator()() {
      const auto self = std::move(core);
      self->waits_.tell_cancelled();
    }
    std::shared_ptr<TcpCore> core;
  };

  TcpSocket socket_;
  Waits<TcpCore> waits_;
  std::array<bool, 2> pending_{};
};

IoResult to_result(std::size_t bytes, const error_code& problem) {
  if (!problem) return {IoResult::Status::ok, bytes};
  if (problem == asio::error::would_block || problem == asio::error::try_again) {
    return {IoResult::Status::would_block, bytes};
  }
  if (problem == asio::error::eof) return {IoResult::Status::end, bytes};
  return {IoResult::Status::error, bytes};
}

class TcpStream final : public Stream {
 public:
  TcpStream(TcpSocket socket, Scheduler& scheduler)
      : core_(std::make_shared<TcpCore>(std::move(socket), scheduler)) {
    error_code ignored;
    core_->socket().non_blocking(true, ignored);
  }
  ~TcpStream() override { core_->close(); }

  IoResult read(std::span<char> into) override {
    error_code problem;
    const std::size_t bytes =
        core_->socket().read_some(asio::mutable_buffer(into.data(), into.size()), problem);
    return to_result(bytes, problem);
  }

  IoResult write(std::span<const std::string_view> slices) override {
    error_code problem;
    if (slices.size() == 1) {
      const asio::const_buffer one(slices[0].data(), slices[0].size());
      return finish_write(core_->socket().write_some(one, problem), slices[0].size(), problem);
    }
    std::array<asio::const_buffer, slices_max> all;
    const std::size_t count = std::min(slices.size(), slices_max);
    std::size_t wanted = 0;
    for (std::size_t i = 0; i < count; ++i) {
      all[i] = asio::const_buffer(slices[i].data(), slices[i].size());
      wanted += slices[i].size();
    }
    const std::span<const asio::const_buffer> buffers(all.data(), count);
    return finish_write(core_->socket().write_some(buffers, problem), wanted, problem);
  }

  void on_ready(Direction direction, TimePoint deadline, Callback callback) override {
    core_->on_ready(direction, deadline, std::move(callback));
  }
  void forget(Direction direction) override { core_->waits().forget(direction); }

  void cancel() override { core_->cancel(); }

  void shutdown_write() override {
    error_code ignored;
    core_->socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  void close() override { core_->close(); }

  void reset() override {
    error_code ignored;
    core_->socket().set_option(asio::socket_base::linger(true, 0), ignored);
    core_->close();
  }

  std::string peer_address() const override { return peer_of(core_->socket().native_handle()); }

  void expect_pieces(std::span<const Region>) override {
    delay_acknowledgements(core_->socket().native_handle());
  }

 private:
  static IoResult finish_write(std::size_t bytes, std::size_t wanted, const error_code& problem) {
    // A short write means a full window: the next try would block.
    if (!problem && bytes < wanted) return {IoResult::Status::would_block, bytes};
    return to_result(bytes, problem);
  }

  std::shared_ptr<TcpCore> core_;
};

tcp::endpoint to_endpoint(const Address& address) {
  return {asio::ip::make_address(address.ip), address.port};
}

Error connect_error(const Address& to, const error_code& problem) {
  const bool out_of_descriptors = problem == asio::error::no_descriptors ||
                                  problem == boost::system::errc::too_many_files_open_in_system;
  if (out_of_descriptors) {
    return {ErrorKind::overloaded, Origin::gateway, Retry::later,
            "out of file descriptors: raise the limit (ulimit -n, or LimitNOFILE= in the unit)"};
  }
  return {ErrorKind::refused, Origin::node, Retry::other_node,
          fmt::format("cannot connect to {}: {}", to_string(to), problem.message())};
}

}  // namespace

AsioScheduler::AsioScheduler(asio::io_context& context)
    : context_(context), wheel_(Clock::now()), wheel_timer_(context) {}

void AsioScheduler::run() {
  in_turns_ = true;
  do {
    next_turn();
  } while (context_.run_one() > 0);
  in_turns_ = false;
}

Task<> AsioScheduler::sleep_until(TimePoint when) {
  asio::steady_timer timer(context_, when);
  co_await timer.async_wait(asio::as_tuple(use_task));
}

void AsioScheduler::arm(TimerWheel::Entry& entry, TimePoint when) {
  wheel_.arm(entry, when);
  if (!wheel_running_) run_wheel();
}

void AsioScheduler::run_wheel() {
  wheel_running_ = true;
  wheel_timer_.expires_after(TimerWheel::tick);
  wheel_timer_.async_wait([this](error_code problem) {
    if (problem) return;
    wheel_.advance(now());
    wheel_running_ = false;
    if (!wheel_.empty()) run_wheel();
  });
}

void delay_acknowledgements(int descriptor) noexcept {
  const int off = 0;
  ::setsockopt(descriptor, IPPROTO_TCP, TCP_QUICKACK, &off, sizeof off);
}

std::unique_ptr<Stream> make_tcp_stream(TcpSocket socket, Scheduler& scheduler, Ring* ring) {
  error_code ignored;
  socket.set_option(tcp::no_delay(true), ignored);
  if (ring == nullptr) return std::make_unique<TcpStream>(std::move(socket), scheduler);
  const int descriptor = socket.release(ignored);
  int blocking_mode = 0;
  ::ioctl(descriptor, FIONBIO, &blocking_mode);
  return make_ring_stream(descriptor, scheduler, *ring);
}

Result<std::unique_ptr<Stream>> adopt_stream(asio::io_context& context, Scheduler& scheduler,
                                             int descriptor, Ring* ring) {
  // Bytes come and go as over TCP, whatever the socket's family; the protocol named here is only
  // what asio would open by itself.
  TcpSocket socket(context);
  error_code problem;
  socket.assign(tcp::v4(), descriptor, problem);
  if (problem) {
    ::close(descriptor);
    return std::unexpected(
        bad_input(fmt::format("descriptor {} is no socket: {}", descriptor, problem.message())));
  }
  return make_tcp_stream(std::move(socket), scheduler, ring);
}

Task<Result<std::unique_ptr<Stream>>> TcpConnector::connect(Address to, TimePoint deadline) {
  struct Timeout final : TimerWheel::Entry {
    explicit Timeout(TcpSocket& s) : socket(s) {}
    void expired() override {
      fired = true;
      error_code ignored;
      socket.close(ignored);
    }
    TcpSocket& socket;
    bool fired = false;
  };
  TcpSocket socket(context_);
  const tcp::endpoint endpoint = to_endpoint(to);
  error_code problem;
  socket.open(endpoint.protocol(), problem);
  if (problem) co_return std::unexpected(connect_error(to, problem));
  Timeout timeout(socket);
  if (deadline != no_deadline) scheduler_.arm(timeout, deadline);
  auto connecting = socket.async_connect(endpoint, asio::as_tuple(use_task));
  std::tie(problem) = co_await std::move(connecting);
  timeout.disarm();
  if (timeout.fired) {
    co_return std::unexpected(Error{ErrorKind::timeout, Origin::node, Retry::other_node,
                                    fmt::format("no answer from {} to a connect", to_string(to))});
  }
  if (problem) co_return std::unexpected(connect_error(to, problem));
  co_return make_tcp_stream(std::move(socket), scheduler_, ring_);
}

Result<TcpListener> TcpListener::open(asio::io_context& context, const Address& at) {
  const tcp::endpoint endpoint = to_endpoint(at);
  TcpAcceptor acceptor(context);
  error_code problem;
  acceptor.open(endpoint.protocol(), problem);
  if (!problem) acceptor.set_option(TcpAcceptor::reuse_address(true), problem);
  using reuse_port = asio::detail::socket_option::boolean<SOL_SOCKET, SO_REUSEPORT>;
  if (!problem) acceptor.set_option(reuse_port(true), problem);
  if (!problem) acceptor.bind(endpoint, problem);
  if (!problem) acceptor.listen(asio::socket_base::max_listen_connections, problem);
  if (problem) {
    return std::unexpected(
        Error{ErrorKind::refused, Origin::gateway, Retry::never,
              fmt::format("cannot listen on {}: {}", to_string(at), problem.message())});
  }
  return TcpListener(std::move(acceptor));
}

Result<TcpListener> TcpListener::adopt(asio::io_context& context, int descriptor) {
  const Address at = listening_address(descriptor);
  TcpAcceptor acceptor(context);
  error_code problem = asio::error::not_socket;
  if (!at.ip.empty()) acceptor.assign(to_endpoint(at).protocol(), descriptor, problem);
  if (problem) {
    return std::unexpected(bad_input(fmt::format("descriptor {} is no listening TCP socket: {}",
                                                 descriptor, problem.message())));
  }
  accept_new_connections(descriptor);
  return TcpListener(std::move(acceptor));
}

Task<Result<std::unique_ptr<Stream>>> TcpListener::accept(Scheduler& scheduler, Ring* ring) {
  auto accepting = acceptor_.async_accept(asio::as_tuple(use_task));
  auto [problem, socket] = co_await std::move(accepting);
  if (problem) {
    const bool closed =
        problem == asio::error::operation_aborted || problem == asio::error::bad_descriptor;
    co_return std::unexpected(Error{closed ? ErrorKind::cancelled : ErrorKind::overloaded,
                                    Origin::gateway, Retry::later, "accept: " + problem.message()});
  }
  co_return make_tcp_stream(std::move(socket), scheduler, ring);
}

void TcpListener::close() {
  if (!acceptor_.is_open()) return;
  // Not acceptor_.close(): where another process holds the same socket, closing does not take it
  // out of our reactor.
  error_code ignored;
  const int descriptor = acceptor_.release(ignored);
  if (descriptor >= 0) ::close(descriptor);
}

Address TcpListener::address() const {
  error_code problem;
  const tcp::endpoint endpoint = acceptor_.local_endpoint(problem);
  return {endpoint.address().to_string(), endpoint.port()};
}

Task<Result<std::vector<Address>>> resolve(asio::io_context& context, std::string host,
                                           std::uint16_t port) {
  error_code not_ip;
  const auto literal = asio::ip::make_address(host, not_ip);
  if (!not_ip) co_return std::vector<Address>{{literal.to_string(), port}};
  tcp::resolver resolver(context);
  auto resolving = resolver.async_resolve(host, std::to_string(port), asio::as_tuple(use_task));
  auto [problem, results] = co_await std::move(resolving);
  if (problem) {
    co_return std::unexpected(
        Error{ErrorKind::refused, Origin::node, Retry::other_node,
              fmt::format("cannot resolve '{}': {}", host, problem.message())});
  }
  std::vector<Address> addresses;
  for (const auto& entry : results) {
    addresses.push_back({entry.endpoint().address().to_string(), port});
  }
  co_return addresses;
}

}  // namespace sollol::net

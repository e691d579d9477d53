#include "gateway/worker.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <boost/asio/post.hpp>

#include "gateway/connection.h"
#include "gateway/spawn.h"
#include "http/append.h"
#include "net/listening.h"
#include "net/tls.h"

namespace sollol::gateway {

namespace asio = net::asio;

namespace {

constexpr Duration accept_pause = 50ms;         // after running out of descriptors
constexpr std::size_t refused_at_once = 64;     // connections reset before such a pause
constexpr Duration accept_failure_every = 10s;  // told at most so often
// Packets of a handshake that has begun may be on their way: longer than a round trip.
constexpr Duration handshakes_settle = 200ms;
constexpr Duration empty_check_every = 5ms;

/// One more while it lives.
class Counted {
 public:
  explicit Counted(std::size_t& count) : count_(count) { ++count_; }
  ~Counted() { --count_; }
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;

 private:
  std::size_t& count_;
};

std::unique_ptr<net::Ring> open_ring(Io io, asio::io_context& context,
                                     net::AsioScheduler& scheduler) {
  if (io == Io::epoll) return nullptr;
  auto ring = net::Ring::open(context, scheduler);
  if (ring) return std::move(*ring);
  spdlog::info("sockets are served through epoll, which costs more: {}", ring.error().detail);
  return nullptr;
}

/// In sixteen hexadecimal digits.
void append_id(std::string& out, std::uint64_t id) {
  char digits[16];
  for (std::size_t i = sizeof digits; i-- > 0; id >>= 4) digits[i] = "0123456789abcdef"[id & 15];
  out.append(digits, sizeof digits);
}

}  // namespace

Worker::Worker(Shared& shared, unsigned index, std::uint64_t seed)
    : shared_(shared),
      work_(asio::make_work_guard(context_)),
      scheduler_(context_),
      connector_(context_, scheduler_),
      nodes_(context_, scheduler_, connector_, shared.credentials, shared.options),
      views_(shared.views),
      options_(shared.options),
      keys_(shared.credentials.keys()),
      pool_(options_.current()->upstream, scheduler_),
      random_(seed + index),
      decisions_(options_.current()->decisions_kept),
      access_log_(shared.access_log),
      id_prefix_(random_.bits()) {}

Worker::~Worker() { stop(); }

Result<Address> Worker::listen(const Address& at) {
  Result<net::TcpListener> listener = net::TcpListener::open(context_, at);
  if (!listener) return std::unexpected(listener.error());
  return listeners_.emplace_back(std::move(*listener)).address();
}

Result<Address> Worker::adopt(int descriptor) {
  Result<net::TcpListener> listener = net::TcpListener::adopt(context_, descriptor);
  if (!listener) return std::unexpected(listener.error());
  return listeners_.emplace_back(std::move(*listener)).address();
}

void Worker::start() {
  listening_ = listeners_.size();
  for (net::TcpListener& listener : listeners_) spawn(context_, "accept", accept_loop(listener));
  spawn(context_, "access log", flush_access_log());
  thread_ = std::thread([this] {
    // Here, since a ring is its thread's.
    ring_ = open_ring(options_.current()->io, context_, scheduler_);
    connector_.serve_through(ring_.get());
    scheduler_.run();
  });
}

void Worker::stop() {
  if (thread_.joinable()) {
    context_.stop();
    thread_.join();
    access_log_.flush();
  }
  if (ring_) ring_->stop();  // before the context goes
}

void Worker::drop_tasks() {
  if (ring_) ring_->drop_waits();
  context_.drop_tasks();
}

std::vector<int> Worker::listening() {
  std::vector<int> descriptors;
  for (net::TcpListener& listener : listeners_) descriptors.push_back(listener.descriptor());
  return descriptors;
}

net::Task<void> Worker::accept_loop(net::TcpListener& listener) {
  std::size_t refused_in_a_row = 0;
  while (true) {
    auto accepting = listener.accept(scheduler_, ring_.get());
    Result<std::unique_ptr<net::Stream>> stream = co_await std::move(accepting);
    if (!stream && stream.error().kind == ErrorKind::cancelled) break;
    // Without a descriptor left, accepting fails even where nobody waits.
    if (!stream && net::connection_waits(listener.descriptor())) {
      note_accept_failure(stream.error());
      displace_one();
    }
    if (stream && !has_room()) {
      (*stream)->reset();
      if (++refused_in_a_row % refused_at_once != 0) continue;
      stream = std::unexpected(Error{ErrorKind::overloaded, Origin::client, Retry::later, {}});
    } else {
      refused_in_a_row = 0;
    }
    if (!stream) {
      auto pause = scheduler_.sleep_until(scheduler_.now() + accept_pause);
      co_await std::move(pause);
      continue;
    }
    serve(std::move(*stream));
  }
  --listening_;
  check_drained();
}

void Worker::note_accept_failure(const Error& error) {
  const TimePoint now = scheduler_.now();
  if (accept_failure_told_ != TimePoint{} && now - accept_failure_told_ < accept_failure_every)
    return;
  accept_failure_told_ = now;
  spdlog::warn("{}; new connections wait until some are closed", error.detail);
}

void Worker::serve(std::unique_ptr<net::Stream> stream) {
  if (auto identity = shared_.credentials.identity()) {
    spawn(context_, "handshake", serve_secured(std::move(stream), std::move(identity)));
  } else {
    spawn(context_, "connection",
          Connection::serve(std::make_unique<Connection>(*this, std::move(stream))));
  }
}

void Worker::take_connected(net::ClientSocket socket) {
  asio::post(context_, [this, socket = std::move(socket)]() mutable {
    auto stream = net::adopt_stream(context_, scheduler_, socket.release(), ring_.get());
    if (!stream) return;
    if (!has_room()) return (*stream)->reset();
    serve(std::move(*stream));
  });
}

net::Task<void> Worker::serve_secured(std::unique_ptr<net::Stream> plain,
                                      std::shared_ptr<const net::TlsContext> identity) {
  const Counted counted(handshakes_);
  const std::string peer = plain->peer_address();
  auto securing = net::tls_accept(std::move(plain), std::move(identity), context_,
                                  scheduler_.now() + options().tls.handshake_timeout);
  Result<std::unique_ptr<net::Stream>> stream = co_await std::move(securing);
  if (!stream) {
    metrics_.handshakes_failed.add();
    spdlog::debug("client {}: {}", peer, stream.error().detail);
    asio::post(context_, [this] { check_drained(); });
    co_return;
  }
  auto connection = std::make_unique<Connection>(*this, std::move(*stream));
  connection->secured();
  if (draining_) connection->drain();
  spawn(context_, "connection", Connection::serve(std::move(connection)));
}

// ---- stopping

void Worker::drain(Sockets sockets) {
  asio::post(context_, [this, sockets] {
    if (std::exchange(draining_, true)) return;
    idle_until_ = scheduler_.now() + options().drain.idle_grace;
    for (net::TcpListener& listener : listeners_) {
      if (sockets == Sockets::shared) {
        listener.close();  // whoever waits there is served by the other process
      } else {
        spawn(context_, "drain", close_when_empty(listener));
      }
    }
    const std::vector<Connection*> connections(connections_.begin(), connections_.end());
    for (Connection* connection : connections) connection->drain();
    check_drained();
  });
}

/// Closing a listener resets the connections in its backlog, so these are accepted first.
net::Task<void> Worker::close_when_empty(net::TcpListener& listener) {
  net::refuse_new_connections(listener.descriptor());
  const TimePoint settled = scheduler_.now() + handshakes_settle;
  while (scheduler_.now() < settled || net::connection_waits(listener.descriptor())) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + empty_check_every);
    co_await std::move(pause);
  }
  listener.close();
}

void Worker::end_running(Error why) {
  asio::post(context_, [this, why = std::move(why)] {
    const std::vector<Connection*> connections(connections_.begin(), connections_.end());
    for (Connection* connection : connections) {
      if (connections_.contains(connection)) connection->end(why);
    }
  });
}

void Worker::reset_connections() {
  asio::post(context_, [this] {
    for (net::TcpListener& listener : listeners_) listener.close();
    const std::vector<Connection*> connections(connections_.begin(), connections_.end());
    for (Connection* connection : connections) {
      if (connections_.contains(connection)) connection->cut();
    }
  });
}

void Worker::check_drained() {
  if (draining_ && listening_ == 0 && connections_.empty() && handshakes_ == 0)
    drained_.store(true, std::memory_order_release);
}

void Worker::reconfigure() {
  asio::post(context_, [this] { pool_.configure(options().upstream); });
}

net::Task<std::vector<RunningRequest>> Worker::running() {
  std::vector<RunningRequest> requests;
  for (Connection* connection : connections_) {
    const Request& request = connection->request();
    if (connection->idle()) continue;
    requests.push_back({request.id, request.client, request.outcome.model, request.outcome.node,
                        scheduler_.now() - request.arrived});
  }
  co_return requests;
}

net::Task<void> Worker::flush_access_log() {
  while (true) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + AccessLogBuffer::flush_every);
    co_await std::move(pause);
    access_log_.flush();
  }
}

const std::string& Worker::http_date() {
  const std::time_t second = std::chrono::system_clock::to_time_t(scheduler_.wall_now());
  if (second != http_date_second_) {
    http_date_second_ = second;
    http_date_ = fmt::format("{:%a, %d %b %Y %H:%M:%S} GMT", fmt::gmtime(second));
  }
  return http_date_;
}

void Worker::name_request(Request& request) {
  request.arrived_wall = scheduler_.wall_now();
  if (request.id.empty()) append_id(request.id, id_prefix_ << 32 | next_id_++);
  http::append(request.pass_fields, "X-Sollol-Via: ", request.via,
               http::separator_after(request.via), shared_.id, "\r\n");
}

/// Whether another connection may be served; at the limit, the one that has waited longest for its
/// next request goes.
bool Worker::has_room() {
  // The rest of the descriptors is for connections to nodes, whatever the setting says.
  const std::size_t most =
      std::min<std::size_t>(options().client.connections_max, net::descriptors_max() / 4 * 3);
  return connections_.size() + handshakes_ <
             std::max<std::size_t>(1, most / shared_.workers.size()) ||
         displace_one();
}

bool Worker::displace_one() {
  if (waiting_.empty()) return false;
  waiting_.front()->make_room();
  metrics_.connections_displaced.add();
  return true;
}

void Worker::awaits_request(Connection& connection) {
  Connection::Place& place = connection.place();
  if (std::exchange(place.waiting, true)) return;
  waiting_.splice(waiting_.end(), serving_, place.at);
}

void Worker::has_request(Connection& connection) {
  Connection::Place& place = connection.place();
  if (std::exchange(place.waiting, false)) serving_.splice(serving_.end(), waiting_, place.at);
}

void Worker::opened(Connection& connection) {
  connection.place().at = serving_.insert(serving_.end(), &connection);
  connections_.insert(&connection);
  metrics_.connections_opened.add();
}

void Worker::closed(Connection& connection) {
  connections_.erase(&connection);
  has_request(connection);
  serving_.erase(connection.place().at);
  metrics_.connections_closed.add();
  check_drained();
}

void Worker::finished(const Request& request) {
  const TimePoint now = scheduler_.now();
  metrics_.observe(request, now);
  if (access_log_.enabled()) access_log_.add(request, now);
}

}  // namespace sollol::gateway

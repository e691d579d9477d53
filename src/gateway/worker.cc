#include "gateway/worker.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <boost/asio/post.hpp>

#include "gateway/connection.h"
#include "gateway/spawn.h"

namespace sollol::gateway {

namespace asio = net::asio;

namespace {

constexpr Duration accept_pause = 50ms;  // after running out of descriptors

}  // namespace

Worker::Worker(Shared& shared, unsigned index, std::uint64_t seed)
    : shared_(shared),
      work_(asio::make_work_guard(context_)),
      scheduler_(context_),
      connector_(context_, scheduler_),
      views_(shared.views),
      pool_(shared.options.upstream, scheduler_),
      random_(seed + index),
      decisions_(shared.options.decisions_kept),
      access_log_(shared.access_log),
      id_prefix_(random_.bits()) {}

Worker::~Worker() { stop(); }

Result<Address> Worker::listen(const Address& at) {
  Result<net::TcpListener> listener = net::TcpListener::open(context_, at);
  if (!listener) return std::unexpected(listener.error());
  listener_.emplace(std::move(*listener));
  return listener_->address();
}

void Worker::start() {
  spawn(context_, "accept", accept_loop());
  if (access_log_.enabled()) spawn(context_, "access log", flush_access_log());
  thread_ = std::thread([this] { context_.run(); });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  context_.stop();
  thread_.join();
  access_log_.flush();
}

net::Task<void> Worker::accept_loop() {
  while (true) {
    auto accepting = listener_->accept(scheduler_);
    Result<std::unique_ptr<net::Stream>> stream = co_await std::move(accepting);
    if (!stream && stream.error().kind == ErrorKind::cancelled) co_return;
    if (!stream ||
        connections_.size() >= options().client.connections_max / shared_.workers.size()) {
      if (stream) stream->reset();
      auto pause = scheduler_.sleep_until(scheduler_.now() + accept_pause);
      co_await std::move(pause);
      continue;
    }
    spawn(context_, "connection",
          Connection::serve(std::make_unique<Connection>(*this, std::move(*stream))));
  }
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
  if (request.id.empty())
    fmt::format_to(std::back_inserter(request.id), "{:08x}{:08x}", id_prefix_ & 0xffffffff,
                   next_id_++);
}

void Worker::opened(Connection& connection) {
  connections_.insert(&connection);
  metrics_.connections_opened.add();
}

void Worker::closed(Connection& connection) {
  connections_.erase(&connection);
  metrics_.connections_closed.add();
}

void Worker::finished(const Request& request) {
  const TimePoint now = scheduler_.now();
  metrics_.observe(request, now);
  if (access_log_.enabled()) access_log_.add(request, now);
}

}  // namespace sollol::gateway

// The part of a connection that watches its client, and that ends it from outside.
#include "gateway/connection.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using net::Direction;
using net::IoResult;
using net::Wake;

namespace {

constexpr std::size_t last_look_size = 4096;

}  // namespace

// ---- watching the client while a node works

void Connection::watch() {
  stream_->on_ready(Direction::read, net::no_deadline, [this](Wake wake) { on_readable(wake); });
}

void Connection::on_readable(Wake wake) {
  if (wake != Wake::ready) return;
  // Only into room that is there: the body that a handler has been shown must not move.
  const std::span<char> room =
      input_.prepare(body_in_input_ == 0 && input_.empty() ? spare_for_watch : 0);
  if (room.empty()) return;
  const IoResult got = stream_->read(room);
  if (got.status == IoResult::Status::end || got.status == IoResult::Status::error) {
    left();
    return;
  }
  input_.commit(got.bytes);
  watch();
}

void Connection::left() {
  if (std::exchange(gone_, true)) return;
  wake_waits();
}

/// Ends what the request waits for. Each step may resume the coroutine that serves it, and with
/// that end this connection.
void Connection::wake_waits() {
  const Worker& worker = worker_;
  if (gone_ || filling_) stream_->cancel();
  if (!worker.holds(*this)) return;
  if (cancel_target_ != nullptr) cancel_target_->cancel();
  if (!worker.holds(*this)) return;
  if (on_leave_) std::exchange(on_leave_, nullptr)();
}

// ---- ending it

TimePoint Connection::idle_deadline() {
  if (worker_.draining()) return std::max(worker_.idle_until(), worker_.scheduler().now());
  return worker_.scheduler().now() + options_->client.idle_timeout;
}

/// Takes what has come without waiting; whether there was something.
bool Connection::look_once_more() {
  const IoResult got = stream_->read(input_.prepare(last_look_size));
  if (got.status == IoResult::Status::end || got.status == IoResult::Status::error) gone_ = true;
  input_.commit(got.bytes);
  return got.bytes > 0;
}

void Connection::drain() {
  if (awaits_head_ && filling_) stream_->cancel();
}

void Connection::end(const Error& why) {
  if (ended_ || gone_) return;
  ended_ = why;
  close_after_ = true;
  wake_waits();
}

void Connection::cut() {
  reset_at_end_ = true;
  close_after_ = true;
  held_.clear();
  left();
}

}  // namespace sollol::gateway

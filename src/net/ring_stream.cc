#include "net/ring_stream.h"

#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/tcp.hpp>
#include <cstring>

#include "net/address.h"
#include "net/tcp.h"
#include "net/waits.h"

namespace sollol::net {

namespace {

constexpr std::size_t copied_max = 32 * 1024;  // larger writes go to the kernel without a copy
constexpr std::size_t kept_capacity = 4096;    // of a stream that has nothing to send
constexpr std::size_t slices_max = 16;

/// The part of a stream that its operations keep alive after the stream is gone.
class RingCore final : public Ring::Client, public std::enable_shared_from_this<RingCore> {
 public:
  RingCore(int descriptor, Scheduler& scheduler, Ring& ring)
      : descriptor_(descriptor), scheduler_(scheduler), ring_(ring), waits_(*this, scheduler) {
    fetch_ahead({memory()});
  }
  ~RingCore() override { close_descriptor(); }

  IoResult read(std::span<char> into);
  IoResult write(std::span<const std::string_view> slices);
  void on_ready(Direction direction, TimePoint deadline, Stream::Callback callback);
  Waits<RingCore>& waits() noexcept { return waits_; }
  void cancel();
  void shutdown_write();
  void close();
  void reset();
  std::string peer_address() const;
  void expect_pieces(std::span<const Region> touches) {
    std::array<Region, Ring::Client::regions_max> all{memory()};
    std::ranges::copy(touches.first(std::min(touches.size(), all.size() - 1)), all.begin() + 1);
    fetch_ahead(all);
    pieces_ = true;
    delay_acknowledgements(descriptor_);
  }
  Region memory() const noexcept { return {this, sizeof *this}; }

 private:
  void completed(Ring::Kind kind, int result, std::string_view bytes, bool more) override;
  void called() override;
  std::shared_ptr<Client> self() override { return shared_from_this(); }
  void dropped() override {
    waits_.forget(Direction::read);
    waits_.forget(Direction::write);
  }
  void received(int result, std::string_view bytes, bool more);
  void sent(int result);

  void keep_receiving();
  void send_next();
  IoResult write_at_once(std::span<const std::string_view> slices);
  bool readable() const noexcept {
    return !fresh_.empty() || !unread_.empty() || ended_ || broken_ || closed_;
  }
  bool writable() const noexcept {
    return broken_ || closed_ || (!window_full_ && next_.size() < unsent_max);
  }
  void finish_closing();
  bool has_unread() const noexcept;
  void close_descriptor() noexcept {
    if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  }

  /// Ends the sending of a closed stream whose peer does not read.
  struct Limit final : TimerWheel::Entry {
    explicit Limit(RingCore& c) : core(c) {}
    void expired() override { core.reset(); }
    RingCore& core;
  };

  int descriptor_;
  Scheduler& scheduler_;
  Ring& ring_;
  Waits<RingCore> waits_;
  // Receiving.
  std::string_view fresh_;  // in the ring's buffer, only while a completion is handled
  std::string unread_;
  std::size_t unread_at_ = 0;
  bool receiving_ = false;
  bool pausing_ = false;  // a cancel is under way since nobody reads
  bool ended_ = false;
  bool pieces_ = false;  // a stream of small pieces comes in
  // Sending.
  std::string sending_;  // under way
  std::size_t sending_at_ = 0;
  std::string next_;
  bool sending_now_ = false;
  bool window_full_ = false;  // the kernel took less than it was given
  bool polling_ = false;      // asked to be told when it takes more
  bool shutdown_after_ = false;
  // Both.
  bool broken_ = false;
  bool closed_ = false;
  bool resetting_ = false;
  std::unique_ptr<Limit> limit_;
};

IoResult RingCore::read(std::span<char> into) {
  if (closed_) return {IoResult::Status::error, 0};
  const std::string_view held =
      fresh_.empty() ? std::string_view(unread_).substr(unread_at_) : fresh_;
  if (held.empty()) {
    if (ended_) return {IoResult::Status::end, 0};
    if (broken_) return {IoResult::Status::error, 0};
    keep_receiving();
    return {IoResult::Status::would_block, 0};
  }
  const std::size_t taken = std::min(held.size(), into.size());
  std::memcpy(into.data(), held.data(), taken);
  if (!fresh_.empty()) {
    fresh_.remove_prefix(taken);
  } else {
    unread_at_ += taken;
    if (unread_at_ == unread_.size()) {
      std::string().swap(unread_);
      unread_at_ = 0;
      keep_receiving();
    }
  }
  return {IoResult::Status::ok, taken};
}

void RingCore::keep_receiving() {
  if (receiving_ || ended_ || broken_ || closed_ || ring_.stopped()) return;
  receiving_ = true;
  ring_.receive(*this, descriptor_);
}

IoResult RingCore::write(std::span<const std::string_view> slices) {
  if (closed_ || broken_ || shutdown_after_) return {IoResult::Status::error, 0};
  std::size_t wanted = 0;
  for (const std::string_view slice : slices) wanted += slice.size();
  if (!sending_now_ && wanted > copied_max) return write_at_once(slices);
  if (!writable()) return {IoResult::Status::would_block, 0};
  if (std::exchange(pieces_, false)) fetch_ahead({memory()});  // the next request
  std::string& into = sending_now_ ? next_ : sending_;
  if (!sending_now_) into.clear();
  const std::size_t room = sending_now_ ? unsent_max - next_.size() : wanted;
  std::size_t taken = 0;
  for (const std::string_view slice : slices) {
    const std::string_view part = slice.substr(0, room - taken);
    into.append(part);
    taken += part.size();
  }
  if (!sending_now_ && taken > 0) {
    sending_at_ = 0;
    sending_now_ = true;
    ring_.send(*this, descriptor_, sending_);
  }
  return {taken < wanted ? IoResult::Status::would_block : IoResult::Status::ok, taken};
}

IoResult RingCore::write_at_once(std::span<const std::string_view> slices) {
  std::array<iovec, slices_max> parts;
  std::size_t wanted = 0;
  const std::size_t count = std::min(slices.size(), slices_max);
  for (std::size_t i = 0; i < count; ++i) {
    parts[i] = {const_cast<char*>(slices[i].data()), slices[i].size()};
    wanted += slices[i].size();
  }
  msghdr message{};
  message.msg_iov = parts.data();
  message.msg_iovlen = count;
  const ssize_t written = ::sendmsg(descriptor_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (written < 0 && errno != EAGAIN && errno != EINTR) {
    broken_ = true;
    return {IoResult::Status::error, 0};
  }
  const auto taken = static_cast<std::size_t>(std::max<ssize_t>(written, 0));
  window_full_ = taken < wanted;
  return {window_full_ ? IoResult::Status::would_block : IoResult::Status::ok, taken};
}

void RingCore::on_ready(Direction direction, TimePoint deadline, Stream::Callback callback) {
  waits_.set(direction, deadline, std::move(callback));
  if (ring_.stopped()) return;
  if (direction == Direction::read) {
    if (readable()) return ring_.call_soon(shared_from_this());
    keep_receiving();
  } else if (writable()) {
    ring_.call_soon(shared_from_this());
  } else if (window_full_ && !sending_now_ && !std::exchange(polling_, true)) {
    ring_.await_writable(*this, descriptor_);
  }
}

void RingCore::cancel() {
  waits_.cancel();
  if (!ring_.stopped()) ring_.call_soon(shared_from_this());
}

void RingCore::called() {
  waits_.tell_cancelled();
  const Wake wake = closed_ ? Wake::cancelled : Wake::ready;
  if (readable()) waits_.wake(Direction::read, wake);
  if (writable()) waits_.wake(Direction::write, wake);
}

void RingCore::completed(Ring::Kind kind, int result, std::string_view bytes, bool more) {
  switch (kind) {
    case Ring::Kind::receive:
      received(result, bytes, more);
      break;
    case Ring::Kind::send:
      sent(result);
      break;
    case Ring::Kind::writable:
      window_full_ = polling_ = false;
      if (!closed_) waits_.wake(Direction::write, Wake::ready);
      break;
    case Ring::Kind::cancel:
      break;
  }
  if (closed_ && !busy()) close_descriptor();
}

void RingCore::received(int result, std::string_view bytes, bool more) {
  if (!more) receiving_ = pausing_ = false;
  if (closed_) return;
  if (result > 0) {
    if (unread_.empty()) {
      fresh_ = bytes;
      waits_.wake(Direction::read, Wake::ready);
      bytes = std::exchange(fresh_, {});
    }
    if (closed_) return;
    unread_.append(bytes);
    if (unread_.size() - unread_at_ > unread_max && receiving_ && !std::exchange(pausing_, true))
      ring_.cancel(*this, Ring::Kind::receive);
    if (!unread_.empty() && waits_.waiting(Direction::read)) ring_.call_soon(shared_from_this());
    if (!receiving_ && unread_.empty()) keep_receiving();
    return;
  }
  // Cancelled to pause, or no shared buffer was free: goes on when somebody reads.
  if (result == -ECANCELED || result == -ENOBUFS || result == -EAGAIN || result == -EINTR) {
    if (unread_.empty()) keep_receiving();
    return;
  }
  (result == 0 ? ended_ : broken_) = true;
  waits_.wake(Direction::read, Wake::ready);
}

void RingCore::sent(int result) {
  sending_now_ = false;
  if (result < 0) {
    broken_ = true;
    next_.clear();
    if (closed_) return finish_closing();
    waits_.wake(Direction::write, Wake::ready);
    return;
  }
  sending_at_ += static_cast<std::size_t>(result);
  if (sending_at_ < sending_.size()) {
    sending_now_ = true;
    return ring_.send(*this, descriptor_, std::string_view(sending_).substr(sending_at_));
  }
  send_next();
}

void RingCore::send_next() {
  if (!next_.empty()) {
    std::swap(sending_, next_);
    next_.clear();
    sending_at_ = 0;
    sending_now_ = true;
    ring_.send(*this, descriptor_, sending_);
  } else if (sending_.capacity() > kept_capacity) {
    std::string().swap(sending_);
    std::string().swap(next_);
  }
  if (closed_) {
    if (!sending_now_) finish_closing();
    return;
  }
  if (shutdown_after_ && !sending_now_) ::shutdown(descriptor_, SHUT_WR);
  waits_.wake(Direction::write, Wake::ready);
}

void RingCore::shutdown_write() {
  if (closed_ || std::exchange(shutdown_after_, true)) return;
  if (!sending_now_) ::shutdown(descriptor_, SHUT_WR);
}

void RingCore::close() {
  waits_.forget(Direction::read);
  waits_.forget(Direction::write);
  if (closed_) return;
  if (!sending_now_ && has_unread()) return reset();
  closed_ = true;
  if (ring_.stopped()) return close_descriptor();
  if (!sending_now_) return finish_closing();
  limit_ = std::make_unique<Limit>(*this);
  scheduler_.arm(*limit_, scheduler_.now() + closing_max);
}

/// Whether something has come that nobody read. Closing on it resets the connection, as the kernel
/// does for any socket: a peer that is held up with more to send must be told.
bool RingCore::has_unread() const noexcept {
  int waiting = 0;
  return unread_at_ < unread_.size() ||
         (descriptor_ >= 0 && ::ioctl(descriptor_, FIONREAD, &waiting) == 0 && waiting > 0);
}

/// Ends the connection; the descriptor is closed when the last operation has ended.
void RingCore::finish_closing() {
  if (resetting_) return;
  if (has_unread()) return reset();
  limit_.reset();
  ::shutdown(descriptor_, SHUT_RDWR);
  if (!busy()) close_descriptor();
}

void RingCore::reset() {
  const auto keep = shared_from_this();
  waits_.forget(Direction::read);
  waits_.forget(Direction::write);
  if (descriptor_ < 0) return;
  closed_ = resetting_ = true;
  if (limit_) limit_->disarm();
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  if (ring_.stopped() || !busy()) return close_descriptor();
  if (receiving_) ring_.cancel(*this, Ring::Kind::receive);
  if (sending_now_) ring_.cancel(*this, Ring::Kind::send);
  if (polling_) ring_.cancel(*this, Ring::Kind::writable);
}

std::string RingCore::peer_address() const { return closed_ ? "unknown" : peer_of(descriptor_); }

class RingStream final : public Stream {
 public:
  RingStream(int descriptor, Scheduler& scheduler, Ring& ring)
      : core_(std::make_shared<RingCore>(descriptor, scheduler, ring)) {}
  ~RingStream() override { core_->close(); }

  IoResult read(std::span<char> into) override { return core_->read(into); }
  IoResult write(std::span<const std::string_view> slices) override { return core_->write(slices); }
  void on_ready(Direction direction, TimePoint deadline, Callback callback) override {
    core_->on_ready(direction, deadline, std::move(callback));
  }
  void forget(Direction direction) override { core_->waits().forget(direction); }
  void cancel() override { core_->cancel(); }
  void shutdown_write() override { core_->shutdown_write(); }
  void close() override { core_->close(); }
  void reset() override { core_->reset(); }
  std::string peer_address() const override { return core_->peer_address(); }
  void expect_pieces(std::span<const Region> touches) override { core_->expect_pieces(touches); }
  Region memory() const override { return core_->memory(); }

 private:
  std::shared_ptr<RingCore> core_;
};

}  // namespace

std::unique_ptr<Stream> make_ring_stream(int descriptor, Scheduler& scheduler, Ring& ring) {
  return std::make_unique<RingStream>(descriptor, scheduler, ring);
}

}  // namespace sollol::net

#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <boost/asio/post.hpp>
#include <utility>

namespace sollol::net {
namespace {

constexpr std::size_t record_max = 16384;  // plain text of one record (RFC 8446 §5.1)

struct FreeSsl {
  void operator()(SSL* ssl) const noexcept { SSL_free(ssl); }
};
using SslHandle = std::unique_ptr<SSL, FreeSsl>;

// ---- OpenSSL's BIO over a Stream

Stream& stream_of(BIO* bio) { return *static_cast<Stream*>(BIO_get_data(bio)); }

int bio_read(BIO* bio, char* into, std::size_t size, std::size_t* got) {
  BIO_clear_retry_flags(bio);
  const IoResult result = stream_of(bio).read({into, size});
  *got = result.bytes;
  if (result.bytes > 0) return 1;
  if (result.status == IoResult::Status::would_block) BIO_set_retry_read(bio);
  if (result.status == IoResult::Status::end) BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
  return 0;
}

int bio_write(BIO* bio, const char* from, std::size_t size, std::size_t* taken) {
  BIO_clear_retry_flags(bio);
  const std::string_view bytes(from, size);
  const IoResult result = stream_of(bio).write({&bytes, 1});
  *taken = result.bytes;
  if (result.bytes > 0) return 1;
  if (result.status != IoResult::Status::error) BIO_set_retry_write(bio);
  return 0;
}

long bio_control(BIO* bio, int command, long, void*) {
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0 ? 1 : 0;
  return 0;
}

int bio_create(BIO* bio) {
  BIO_set_init(bio, 1);
  return 1;
}

BIO_METHOD* stream_bio() {
  static BIO_METHOD* const method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "sollol stream");
    BIO_meth_set_read_ex(made, bio_read);
    BIO_meth_set_write_ex(made, bio_write);
    BIO_meth_set_ctrl(made, bio_control);
    BIO_meth_set_create(made, bio_create);
    return made;
  }();
  return method;
}

SslHandle make_ssl(const TlsContext& context, Stream& plain) {
  SslHandle ssl(SSL_new(context.native()));
  BIO* bio = BIO_new(stream_bio());
  BIO_set_data(bio, &plain);
  SSL_set_bio(ssl.get(), bio, bio);  // takes the one reference
  return ssl;
}

// ---- the stream

/// What a TlsStream's pending waits keep alive after the stream is gone.
class TlsCore final : public std::enable_shared_from_this<TlsCore> {
 public:
  TlsCore(std::unique_ptr<Stream> plain, SslHandle ssl, asio::io_context& loop)
      : plain_(std::move(plain)), ssl_(std::move(ssl)), executor_(loop.get_executor()) {}

  IoResult read(std::span<char> into);
  IoResult write(std::span<const std::string_view> slices);
  void on_ready(Direction direction, TimePoint deadline, Stream::Callback callback);
  void forget(Direction direction);
  void cancel();
  void say_goodbye();
  void take_leftovers();
  Stream& plain() noexcept { return *plain_; }

 private:
  struct Side {
    Stream::Callback callback;
    Stream::Callback cancelled;  // was waiting when it was cancelled, and is about to be told
    TimePoint deadline = no_deadline;
    std::uint64_t generation = 0;  // tells a waking that its wait is over
  };

  /// What the plain stream, or the loop, holds for a wait. Dropped without being called when the
  /// context goes: the callback goes then too, since the task in it may hold the stream.
  struct Waking {
    Waking(TlsCore& c, Direction d)
        : core(c.weak_from_this()), direction(d), generation(c.side_of(d).generation) {}
    Waking(Waking&&) noexcept = default;
    ~Waking() {
      const auto self = core.lock();
      if (!self || self->side_of(direction).generation != generation) return;
      const auto dropped = std::exchange(self->side_of(direction).callback, nullptr);
    }
    void operator()(Wake woke = Wake::ready) {
      const auto self = std::exchange(core, {}).lock();
      if (self && self->side_of(direction).generation == generation)
        self->plain_woke(direction, woke);
    }
    std::weak_ptr<TlsCore> core;
    Direction direction;
    std::uint64_t generation;
  };

  /// The same of what was cancelled and is to be told so.
  struct Telling {
    explicit Telling(std::shared_ptr<TlsCore> c) noexcept : core(std::move(c)) {}
    Telling(Telling&&) noexcept = default;
    ~Telling() {
      if (!core) return;
      for (Side& side : core->sides_) const auto dropped = std::exchange(side.cancelled, nullptr);
    }
    void operator()() {
      const auto self = std::move(core);
      for (Side& side : self->sides_) {
        auto cancelled = std::exchange(side.cancelled, nullptr);
        if (cancelled) cancelled(Wake::cancelled);
      }
    }
    std::shared_ptr<TlsCore> core;
  };

  Side& side_of(Direction direction) noexcept { return sides_[std::to_underlying(direction)]; }
  IoResult failed_read(int outcome, std::size_t bytes);
  IoResult write_record(std::string_view bytes);
  bool finish_pending();
  bool readable();
  void await_plain(Direction direction);
  void plain_woke(Direction direction, Wake wake);
  void post_ready(Direction direction);
  void wake(Direction direction, Wake wake);

  std::unique_ptr<Stream> plain_;
  SslHandle ssl_;
  asio::io_context::executor_type executor_;
  std::array<Side, 2> sides_;
  // A read that met the end or an error: it stays so.
  std::optional<IoResult::Status> over_;
  bool starved_ = false;  // OpenSSL holds no whole record: only the peer can help
  // A record that the peer's window has not taken whole: OpenSSL wants it again, of this length.
  std::size_t pending_ = 0;
  // Plain text of such a record that went out since; its writer will offer it again.
  std::size_t credit_ = 0;
  bool broken_ = false;  // no record may follow, not even close_notify
};

IoResult TlsCore::read(std::span<char> into) {
  if (over_) return {*over_, 0};
  std::size_t bytes = 0;
  // One record a call; on while records are at hand, so that one waking takes all that came.
  do {
    std::size_t got = 0;
    ERR_clear_error();
    const int outcome = SSL_read_ex(ssl_.get(), into.data() + bytes, into.size() - bytes, &got);
    if (outcome != 1) return failed_read(outcome, bytes);
    starved_ = false;
    bytes += got;
  } while (bytes < into.size() && SSL_has_pending(ssl_.get()) == 1);
  return {IoResult::Status::ok, bytes};
}

/// What a read that brought nothing more means, after `bytes` that came before.
IoResult TlsCore::failed_read(int outcome, std::size_t bytes) {
  switch (SSL_get_error(ssl_.get(), outcome)) {
    case SSL_ERROR_WANT_READ:
      starved_ = true;
      break;
    case SSL_ERROR_ZERO_RETURN:
      over_ = IoResult::Status::end;
      break;
    default:  // also a key update that must be answered while our window is shut
      over_ = IoResult::Status::error;
      broken_ = true;
  }
  ERR_clear_error();
  if (bytes > 0) return {IoResult::Status::ok, bytes};
  return {over_.value_or(IoResult::Status::would_block), 0};
}

/// Sends the rest of a blocked record; false while it is still blocked or all is lost. Its plain
/// text is encrypted already: OpenSSL only checks the length of what it is given again.
bool TlsCore::finish_pending() {
  if (pending_ == 0) return true;
  static constexpr std::array<char, record_max> stand_in{};
  const std::size_t length = pending_;
  const IoResult result = write_record({stand_in.data(), length});
  if (result.bytes == 0) return false;
  credit_ += length;
  return true;
}

IoResult TlsCore::write_record(std::string_view bytes) {
  std::size_t taken = 0;
  ERR_clear_error();
  const int outcome = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &taken);
  if (outcome == 1) {
    pending_ = 0;
    return {IoResult::Status::ok, taken};
  }
  const int reason = SSL_get_error(ssl_.get(), outcome);
  ERR_clear_error();
  if (reason == SSL_ERROR_WANT_WRITE || reason == SSL_ERROR_WANT_READ) {
    pending_ = bytes.size();
    return {IoResult::Status::would_block, 0};
  }
  broken_ = true;
  return {IoResult::Status::error, 0};
}

IoResult TlsCore::write(std::span<const std::string_view> slices) {
  if (broken_) return {IoResult::Status::error, 0};
  if (!finish_pending())
    return {broken_ ? IoResult::Status::error : IoResult::Status::would_block, 0};
  std::size_t total = 0;
  for (const std::string_view slice : slices) total += slice.size();
  std::size_t accepted = std::min(credit_, total);
  credit_ -= accepted;
  // Position of the first byte not accepted.
  std::size_t index = 0;
  std::size_t offset = accepted;
  std::array<char, record_max> gathered;
  while (accepted < total) {
    while (offset >= slices[index].size()) offset -= slices[index++].size();
    std::string_view record = slices[index].substr(offset).substr(0, record_max);
    if (record.size() < record_max && accepted + record.size() < total) {
      // A head and a small body, or a chunk line and its token, share a record.
      std::size_t size = 0;
      for (std::size_t i = index, from = offset; i < slices.size() && size < record_max; ++i) {
        const std::string_view part = slices[i].substr(from).substr(0, record_max - size);
        std::ranges::copy(part, gathered.data() + size);
        size += part.size();
        from = 0;
      }
      record = {gathered.data(), size};
    }
    const IoResult result = write_record(record);
    if (result.bytes == 0) return {result.status, accepted};
    accepted += result.bytes;
    offset += result.bytes;
  }
  return {IoResult::Status::ok, accepted};
}

/// Whether a read would bring plain text, an end or an error. Takes in records that carry none of
/// them (session tickets, key updates).
bool TlsCore::readable() {
  if (over_) return true;
  char ignored = 0;
  std::size_t got = 0;
  ERR_clear_error();
  const int outcome = SSL_peek_ex(ssl_.get(), &ignored, 1, &got);
  if (outcome == 1) {
    starved_ = false;
    return true;
  }
  return failed_read(outcome, 0).status != IoResult::Status::would_block;
}

void TlsCore::on_ready(Direction direction, TimePoint deadline, Stream::Callback callback) {
  Side& side = side_of(direction);
  side.callback = std::move(callback);
  side.deadline = deadline;
  ++side.generation;
  const bool at_hand =
      direction == Direction::read && (over_ || (!starved_ && SSL_has_pending(ssl_.get()) == 1));
  if (at_hand) {
    post_ready(direction);
  } else {
    await_plain(direction);
  }
}

/// The plain stream knows nothing of what is at hand here, so the loop itself does the waking.
void TlsCore::post_ready(Direction direction) { asio::post(executor_, Waking(*this, direction)); }

void TlsCore::await_plain(Direction direction) {
  plain_->on_ready(direction, side_of(direction).deadline, Waking(*this, direction));
}

void TlsCore::plain_woke(Direction direction, Wake woke) {
  Side& side = side_of(direction);
  if (!side.callback) return;
  if (woke == Wake::ready && direction == Direction::read && !readable()) {
    await_plain(direction);
    return;
  }
  wake(direction, woke);
}

void TlsCore::wake(Direction direction, Wake woke) {
  Side& side = side_of(direction);
  ++side.generation;
  auto callback = std::exchange(side.callback, nullptr);
  if (callback) callback(woke);
}

void TlsCore::forget(Direction direction) {
  Side& side = side_of(direction);
  ++side.generation;
  side.callback = nullptr;
  side.cancelled = nullptr;
  plain_->forget(direction);
}

/// What waits now is woken from the loop, not from here: it may end whoever cancels.
void TlsCore::cancel() {
  for (const Direction direction : {Direction::read, Direction::write}) {
    Side& side = side_of(direction);
    ++side.generation;
    plain_->forget(direction);
    if (side.callback) side.cancelled = std::exchange(side.callback, nullptr);
  }
  asio::post(executor_, Telling{shared_from_this()});
}

void TlsCore::say_goodbye() {
  if (broken_ || pending_ > 0) return;
  ERR_clear_error();
  SSL_shutdown(ssl_.get());
  ERR_clear_error();
  broken_ = true;
}

/// Takes in what lies in the socket and nobody asked for, session tickets mostly: closing on unread
/// bytes resets the connection, and the peer would lose the end of what it was sent.
void TlsCore::take_leftovers() {
  std::array<char, 4096> ignored;
  (void)plain_->read(ignored);
}

class TlsStream final : public Stream {
 public:
  explicit TlsStream(std::shared_ptr<TlsCore> core) : core_(std::move(core)) {}
  ~TlsStream() override {
    forget_all();
    core_->plain().close();
  }

  IoResult read(std::span<char> into) override { return core_->read(into); }
  IoResult write(std::span<const std::string_view> slices) override { return core_->write(slices); }
  void on_ready(Direction direction, TimePoint deadline, Callback callback) override {
    core_->on_ready(direction, deadline, std::move(callback));
  }
  void forget(Direction direction) override { core_->forget(direction); }
  void cancel() override { core_->cancel(); }
  void shutdown_write() override {
    core_->say_goodbye();
    core_->plain().shutdown_write();
  }
  void close() override {
    core_->say_goodbye();
    core_->take_leftovers();
    forget_all();
    core_->plain().close();
  }
  void reset() override {
    forget_all();
    core_->plain().reset();
  }
  std::string peer_address() const override { return core_->plain().peer_address(); }
  void expect_pieces(std::span<const Region> touches) override {
    core_->plain().expect_pieces(touches);
  }

 private:
  void forget_all() {
    core_->forget(Direction::read);
    core_->forget(Direction::write);
  }

  std::shared_ptr<TlsCore> core_;
};

// ---- the handshake

Error handshake_error(SSL* ssl, unsigned long code) {
  const long verified = SSL_get_verify_result(ssl);
  if (verified != X509_V_OK) {
    return {ErrorKind::untrusted, Origin::node, Retry::other_node,
            fmt::format("its certificate cannot be trusted: {}",
                        X509_verify_cert_error_string(verified))};
  }
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  if (reason == nullptr || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    return {ErrorKind::reset, Origin::node, Retry::other_node,
            "the connection ended during the TLS handshake"};
  }
  return {ErrorKind::bad_reply, Origin::node, Retry::other_node,
          fmt::format("no TLS handshake: {}", reason)};
}

/// Takes the handshake to its end. Errors as tls_accept and tls_connect.
Task<Result<void>> shake_hands(Stream& plain, SSL* ssl, TimePoint deadline) {
  while (true) {
    ERR_clear_error();
    const int outcome = SSL_do_handshake(ssl);
    if (outcome == 1) co_return Result<void>{};
    const int reason = SSL_get_error(ssl, outcome);
    if (reason != SSL_ERROR_WANT_READ && reason != SSL_ERROR_WANT_WRITE) {
      const unsigned long code = ERR_peek_error();
      ERR_clear_error();
      co_return std::unexpected(handshake_error(ssl, code));
    }
    const Direction direction = reason == SSL_ERROR_WANT_READ ? Direction::read : Direction::write;
    auto waiting = wait(plain, direction, deadline);
    const Wake wake = co_await std::move(waiting);
    if (wake == Wake::ready) continue;
    const bool late = wake == Wake::timed_out;
    co_return std::unexpected(Error{late ? ErrorKind::timeout : ErrorKind::cancelled, Origin::node,
                                    Retry::other_node, "no TLS handshake in time"});
  }
}

/// To a client that speaks HTTP where TLS is spoken, in the words of other servers.
void answer_plain_http(Stream& plain) {
  constexpr std::string_view answer =
      "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: "
      "close\r\nContent-Length: 49\r\n\r\nThis port speaks HTTPS: use an https:// address.\n";
  (void)plain.write({&answer, 1});
  plain.shutdown_write();
}

/// Names the peer that the certificate must be for, and asks for it (SNI).
bool expect_host(SSL* ssl, const std::string& host) {
  X509_VERIFY_PARAM* verify = SSL_get0_param(ssl);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, host.c_str()) == 1) return true;
  ERR_clear_error();
  X509_VERIFY_PARAM_set_hostflags(verify, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  return SSL_set1_host(ssl, host.c_str()) == 1 && SSL_set_tlsext_host_name(ssl, host.c_str()) == 1;
}

}  // namespace

Task<Result<std::unique_ptr<Stream>>> tls_accept(std::unique_ptr<Stream> plain,
                                                 std::shared_ptr<const TlsContext> context,
                                                 asio::io_context& loop, TimePoint deadline) {
  SslHandle ssl = make_ssl(*context, *plain);
  SSL_set_accept_state(ssl.get());
  auto shaking = shake_hands(*plain, ssl.get(), deadline);
  const Result<void> done = co_await std::move(shaking);
  if (!done) {
    Error error = done.error();
    error.origin = Origin::client;
    error.retry = Retry::never;
    if (error.detail.ends_with("http request")) answer_plain_http(*plain);
    plain->close();
    co_return std::unexpected(std::move(error));
  }
  auto core = std::make_shared<TlsCore>(std::move(plain), std::move(ssl), loop);
  co_return std::make_unique<TlsStream>(std::move(core));
}

Task<Result<std::unique_ptr<Stream>>> tls_connect(std::unique_ptr<Stream> plain,
                                                  std::shared_ptr<const TlsContext> context,
                                                  asio::io_context& loop, std::string host,
                                                  TimePoint deadline) {
  SslHandle ssl = make_ssl(*context, *plain);
  SSL_set_connect_state(ssl.get());
  if (!expect_host(ssl.get(), host)) {
    co_return std::unexpected(Error{ErrorKind::untrusted, Origin::node, Retry::other_node,
                                    fmt::format("'{}' can be in no certificate", host)});
  }
  auto shaking = shake_hands(*plain, ssl.get(), deadline);
  const Result<void> done = co_await std::move(shaking);
  if (!done) co_return std::unexpected(done.error());
  auto core = std::make_shared<TlsCore>(std::move(plain), std::move(ssl), loop);
  co_return std::make_unique<TlsStream>(std::move(core));
}

}  // namespace sollol::net

#pragma once

#include <exception>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "http/framing.h"
#include "http/head.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace sollol::net {

/// Per-thread working memory of all HttpCalls on that thread. Its contents live until the next
/// suspension.
struct HttpScratch {
  static constexpr std::size_t size = 128 * 1024;
  std::unique_ptr<char[]> bytes = std::make_unique<char[]>(size);
  http::ResponseHead head;  // views into `bytes` or into the call's carry
  std::span<char> all() noexcept { return {bytes.get(), size}; }
};

/// What pieces of a body are handed to one by one; see HttpCall::receive_each.
class PieceSink {
 public:
  /// A piece as it is on the wire, valid during the call; empty: the peer closed. Returns whether
  /// it wants the next one too.
  virtual bool take(std::string_view piece) = 0;

 protected:
  ~PieceSink() = default;
};

/// One request and its response over a stream, as the client of HTTP/1.1.
///
/// Reads go through the thread's scratch memory, so a call that waits holds no buffer; only a head
/// that arrives in pieces is copied. Every error names what was waited for. One thread; the stream
/// and scratch must outlive the call.
class HttpCall {
 public:
  HttpCall(Stream& stream, HttpScratch& scratch, http::HeadLimits limits = {})
      : stream_(stream), scratch_(scratch), limits_(limits) {}

  static constexpr int interim_max = 16;
  /// A head must be whole this long after its first byte, whatever the deadline for the latter.
  void limit_head_time(const Scheduler& scheduler, Duration limit) noexcept {
    scheduler_ = &scheduler;
    head_time_ = limit;
  }

  /// Writes of head and body, in this order, what the socket takes at once; how many bytes that
  /// was. Error: reset (the peer closed).
  Result<std::size_t> send_now(std::string_view head, std::string_view body);
  /// Writes all of them but the first `sent` bytes. The views must stay valid until it returns.
  /// Error: reset, timeout, cancelled.
  Task<Result<void>> send(std::string_view head, std::string_view body, TimePoint deadline,
                          std::size_t sent = 0);

  /// Receives the head, past at most `interim_max` 1xx; the result is valid until the next
  /// suspension. `method` decides the framing. Error: reset (closed before a whole head), bad_reply
  /// (no HTTP, a change of protocol, too many 1xx), timeout, cancelled.
  Task<Result<const http::ResponseHead*>> receive_head(std::string_view method, TimePoint deadline);

  /// Bytes of the body as they are on the wire that came with the head; the caller feeds `body()`
  /// with them.
  std::string_view take_rest() noexcept { return std::exchange(rest_, {}); }
  /// More of them, those with the head first; valid until the next suspension. Empty: the peer
  /// closed.
  Task<Result<std::string_view>> receive(TimePoint deadline);

  /// The same for many small pieces: hands them to `sink` as they come, from the thread's loop, and
  /// returns once it wants no more. `deadline` is that of the first; the others may take their
  /// time. The coroutine sleeps on meanwhile: waking it for each would be half of the work (two
  /// frames made, and the memory of five touched). `sink` must outlive the call.
  Task<Result<void>> receive_each(PieceSink& sink, TimePoint deadline);

  /// Receives the rest of the body, decoded; `next_deadline` is asked before each piece. Error: as
  /// above, and overloaded when it is larger than `bytes_max`.
  Task<Result<std::string>> receive_body(std::size_t bytes_max,
                                         std::move_only_function<TimePoint()> next_deadline);
  Task<Result<std::string>> receive_body(std::size_t bytes_max, TimePoint deadline) {
    return receive_body(bytes_max, [deadline] { return deadline; });
  }

  http::BodyWatcher& body() noexcept { return body_; }
  const http::BodyWatcher& body() const noexcept { return body_; }
  /// Whether any byte of a response has arrived: until then a kept connection may simply have been
  /// closed.
  bool received_anything() const noexcept { return received_anything_; }
  /// Whether the connection can carry another request: the body ended and nothing was left over.
  bool reusable() const noexcept { return keep_alive_ && body_.done() && rest_.empty(); }
  void mark_unusable() noexcept { keep_alive_ = false; }

 private:
  /// What a wait brought into scratch at `offset`; zero: the peer closed, nothing: wait again.
  std::optional<Result<std::size_t>> take(Wake wake, std::size_t offset);
  /// Reads into scratch at `offset`; waits while there is nothing. Zero: the peer closed.
  Task<Result<std::size_t>> read_some(std::size_t offset, TimePoint deadline);
  template <class Handler>
  struct Handing;
  /// Whether to wait for another piece; otherwise `failed_` says why not, unless the sink does.
  bool hand_out(Wake wake, PieceSink& sink);

  Stream& stream_;
  HttpScratch& scratch_;
  http::HeadLimits limits_;
  const Scheduler* scheduler_ = nullptr;
  Duration head_time_{};
  http::BodyWatcher body_;
  std::string carry_;      // the beginning of a head that came in pieces
  std::string_view rest_;  // received after the head and not yet handed out
  bool received_anything_ = false;
  bool keep_alive_ = true;
  std::optional<Error> failed_;
  std::exception_ptr thrown_;  // by the sink
};

/// A whole small answer.
struct HttpReply {
  int status = 0;
  std::string content_type;
  std::string server;
  bool from_gateway = false;  // it bears a field of ours
  std::string body;
};

/// Sends one request and receives its whole answer; the connection may be used again when
/// `reusable` comes back true.
struct SimpleRequest {
  std::string_view method = "GET";
  std::string target = {};
  std::string host_field = {};
  std::string extra_fields = {};  // whole lines with CRLF
  std::string body = {};
  std::size_t reply_max = 1 << 20;
};
struct SimpleReply {
  HttpReply reply;
  bool reusable = false;
};
Task<Result<SimpleReply>> call_once(Stream& stream, HttpScratch& scratch, SimpleRequest request,
                                    TimePoint deadline);

}  // namespace sollol::net

#pragma once

#include <array>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/errors.h"
#include "base/result.h"
#include "gateway/options.h"
#include "gateway/request.h"
#include "gateway/request_memory.h"
#include "http/framing.h"
#include "net/buffer.h"
#include "net/stream.h"

namespace sollol::gateway {

class Worker;

/// One client connection: reads requests, hands each to its handler, writes answers, keeps the
/// connection.
///
/// While a handler waits for a node, the connection watches its client: pipelined bytes are kept
/// (bounded), a client that leaves cancels the stream that the handler named. One worker thread.
class Connection {
 public:
  Connection(Worker& worker, std::unique_ptr<net::Stream> stream);
  ~Connection();

  /// The connection's life, until either side closes it.
  static net::Task<void> serve(std::unique_ptr<Connection> self);

  Worker& worker() noexcept { return worker_; }
  Request& request() noexcept { return request_; }
  /// What a node said, as far as the logs may hold it: an error may quote the prompt.
  std::string_view for_log(std::string_view words_of_node) const noexcept {
    return options_->log_node_errors ? words_of_node
                                     : std::string_view("the node's own words (log.node_errors)");
  }
  /// The client speaks TLS with us.
  void secured() noexcept { request_.secured = true; }
  bool client_gone() const noexcept { return gone_; }
  /// The options that this request is served under.
  const Options& options() const noexcept { return *options_; }

  /// The gateway stops: without a request for `drain.idle_grace` the connection is closed, and with
  /// one after its answer.
  void drain();
  /// Ends the request under way: `ended` from now on, and what it waits for at a node is cancelled.
  /// Whoever serves it answers with that error, in the form of its API.
  void end(const Error& why);
  /// Resets the connection, whatever it is doing. From outside of the coroutine that serves it.
  void cut();
  /// Why this request must be ended now: it is not to be tried again, and it is no node's fault.
  const std::optional<Error>& ended() const noexcept { return ended_; }
  /// Closes a connection that waits for a request, so that another finds room.
  void make_room();
  /// Its place among the worker's connections.
  struct Place {
    std::list<Connection*>::iterator at;
    bool waiting = false;
  };
  Place& place() noexcept { return place_; }
  /// Between two requests.
  bool idle() const noexcept { return idle_; }

  /// Receives the whole body, decoded. The view is followed by net::InputBuffer::padding readable
  /// bytes and stays valid until `release_body` or the end of the request. A body that came
  /// compressed is unpacked. Error: bad_input (too large, bad framing, unknown coding), overloaded
  /// (all requests together take too much), cancelled, timeout; `body_status` tells the status.
  net::Task<Result<std::string_view>> read_body(std::size_t bytes_max);
  /// The next piece of the body, decoded; empty at its end. Valid until the next call.
  net::Task<Result<std::string_view>> read_body_piece();
  /// The status that tells the client why its body was not taken; after an error of the above.
  int body_status() const noexcept { return body_status_; }
  /// Puts another text in the body's place, which ends earlier views of it. Errors as `read_body`.
  Result<std::string_view> replace_body(std::string_view text);
  /// Frees the body's memory once no retry can need it.
  void release_body();

  /// What is written next is the answer's end: with it, the client may send its next request, which
  /// must find the place free that this one had.
  void answer_ends() noexcept { request_.key_use = {}; }

  /// Starts watching the client. When it leaves, or the request is ended, `stream` is cancelled
  /// (null: nothing to cancel) and `callback` is called, once.
  void watch();
  void cancel_on_leave(net::Stream* stream) noexcept { cancel_target_ = stream; }
  using OnLeave = std::move_only_function<void()>;
  void on_leave(OnLeave callback) { on_leave_ = std::move(callback); }

  /// Writes a whole answer with Content-Length. `content_type` must outlive the call; `fields`:
  /// extra lines with CRLF.
  net::Task<void> answer(int status, std::string_view content_type, std::string body,
                         std::string fields = {});
  net::Task<void> answer(api::Reply reply, std::string fields = {});

  /// The head of an answer, with the fields that every answer carries; `framing_fields` are whole
  /// lines.
  std::string head_text(int status, std::string_view reason, std::string_view framing_fields);
  /// Writes now what the client takes and holds the rest; false when something is held: `flush`
  /// before writing more.
  bool write(std::span<const std::string_view> slices);
  /// Memory that a piece of a stream touches here on its way to the client.
  std::array<net::Region, 3> touched_by_write() const noexcept {
    const auto often =
        reinterpret_cast<std::uintptr_t>(&gone_ + 1) - reinterpret_cast<std::uintptr_t>(this);
    return {net::Region{this, often},
            {&request_.outcome.bytes_out, sizeof request_.outcome.bytes_out},
            stream_->memory()};
  }
  /// The client has not yet taken all that was written.
  bool holds_output() const noexcept { return !held_.empty(); }
  /// Waits until all that is held is written; false when the client has gone or stalls.
  net::Task<bool> flush();
  /// Ends the connection after this answer, whatever the client wished.
  void close_after() noexcept { close_after_ = true; }
  /// Ends it now with RST, so that a cut answer cannot look complete.
  void abort();

 private:
  /// Pipelined bytes kept while a request is served.
  static constexpr std::size_t spare_for_watch = 1024;

  net::Task<void> run();
  net::Task<bool> read_request();
  net::Task<net::Wake> fill(std::size_t wanted, TimePoint deadline);
  TimePoint idle_deadline();
  bool look_once_more();
  net::Task<void> refuse(int status, std::string_view problem, std::string fields = {});
  bool worth_parsing(std::size_t parsed) const;
  bool fits();
  std::unexpected<Error> body_failure(int status, Error error);
  Result<std::string_view> unpack(std::string_view packed);
  Result<std::string_view> hold_body(net::InputBuffer plain);
  net::Task<Result<std::string_view>> receive_body(std::size_t bytes_max);
  std::optional<std::string_view> body_at_hand();
  void keep_room();
  net::Task<bool> send_continue();
  net::Task<bool> drain_body();
  net::Task<void> linger();
  void on_readable(net::Wake wake);
  void left();
  void wake_waits();
  void finish_request();

  // First what every piece of a stream touches: see `touched_by_write`.
  Worker& worker_;
  std::unique_ptr<net::Stream> stream_;
  std::string held_;  // accepted by `write`, not yet by the client
  std::shared_ptr<const Options> options_;
  bool gone_ = false;
  net::InputBuffer input_;
  net::InputBuffer decoded_;       // a chunked body that is wanted whole
  std::size_t body_in_input_ = 0;  // bytes at the start of input_ that a handler has been shown
  http::BodyWatcher body_;
  Request request_;
  std::string head_;  // of the answer, reused
  net::Stream* cancel_target_ = nullptr;
  OnLeave on_leave_;
  std::optional<Error> ended_;
  RequestMemoryShare memory_;
  Place place_;
  int body_status_ = 400;
  bool making_room_ = false;
  bool reset_at_end_ = false;
  bool idle_ = true;
  bool awaits_head_ = false;  // not a byte of a request has come
  bool filling_ = false;
  bool close_after_ = false;
  bool continue_sent_ = false;
  bool unread_ = false;  // the client was answered before it had sent all
};

}  // namespace sollol::gateway

#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/time.h"

namespace sollol::sim {

/// Unwinds a handler whose client has left, or whose node was killed.
struct ClientGone {};

/// One connection to a simulated node, and the request on it. Speaks HTTP/1.x with Beast, in the
/// manner of Go's server: small answers have a length, others are chunked, no head goes out before
/// the first byte of a body. All calls on the fleet's thread; whatever waits throws ClientGone when
/// the client leaves.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  explicit Exchange(boost::asio::ip::tcp::socket socket);

  /// Reads the next request's head. False: the connection is over (a bad head was answered with
  /// 400).
  boost::asio::awaitable<bool> read_head();
  /// Reads the body into body().
  boost::asio::awaitable<void> read_body();
  /// Reads some of the body; 0 at its end. Instead of read_body().
  boost::asio::awaitable<std::size_t> read_some(std::span<char> into);

  std::string_view method() const { return method_; }
  std::string_view path() const { return path_; }  // percent-decoded, without the query
  std::string_view header(std::string_view name) const;
  const std::string& head() const { return head_; }  // as it came, names and order kept
  const std::string& body() const { return body_; }

  /// Sends a whole answer. HEAD gets its head only.
  boost::asio::awaitable<void> reply(int status, std::string_view type, std::string body);
  /// Sends one chunk of a streamed 200 answer, with the head before the first.
  boost::asio::awaitable<void> send(std::string_view type, std::string_view chunk);
  /// Ends a streamed answer.
  boost::asio::awaitable<void> end();
  bool started() const { return started_; }
  /// Bytes as they are, then the end of the connection.
  boost::asio::awaitable<void> send_raw(std::string bytes);
  /// A streamed answer whose next chunk has a size and half of its bytes, or no size at all; what
  /// follows is the caller's.
  enum class BadChunk : std::uint8_t { half, sizeless };
  boost::asio::awaitable<void> send_bad_chunk(std::string_view type, std::string chunk,
                                              BadChunk how);
  /// Ends the sending side, and reads on until the client leaves.
  boost::asio::awaitable<void> half_close();

  /// Waits until that moment on the real clock.
  boost::asio::awaitable<void> sleep_until(TimePoint real);
  /// Waits for the next wake().
  boost::asio::awaitable<void> wait();
  void wake() { timer_.cancel(); }

  /// From here to the end of the request, a client that leaves is noticed.
  void watch();
  /// Ends the request; false: the connection is over too.
  boost::asio::awaitable<bool> finish();

  /// Ends the connection with a reset, or by closing it; whatever waits unwinds.
  void reset();
  void close();

  /// What is wrong with the answer of this request: of a whole one, and of a stream's length.
  enum class Flaw : std::uint8_t {
    none,
    half_then_reset,  // half of a whole answer's body
    half_then_fin,
    bad_chunk,     // a chunked whole answer whose first chunk has no size
    long_length,   // more than is sent, then the end of the connection
    short_length,  // less than is sent
  };
  void set_flaw(Flaw flaw) { flaw_ = flaw; }

  /// Instead of the type that reply() and send() name.
  void set_type_override(std::string type) { type_override_ = std::move(type); }
  /// A further header of the answer.
  void add_header(std::string_view name, std::string_view value);

 private:
  using Parser = boost::beast::http::request_parser<boost::beast::http::buffer_body>;

  void on_readable(boost::system::error_code error);
  boost::asio::awaitable<void> write(std::string_view bytes);
  boost::asio::awaitable<void> continue_if_expected();
  std::string head_of(int status, std::string_view type, std::string_view framing) const;
  boost::asio::awaitable<void> reply_flawed(int status, std::string_view type, std::string body);

  boost::asio::ip::tcp::socket socket_;
  boost::asio::steady_timer timer_;
  boost::beast::flat_buffer buffer_;
  std::optional<Parser> parser_;
  std::string method_, path_, head_, body_, type_override_, more_headers_;
  bool keep_alive_ = true;
  bool chunks_ = true;     // HTTP/1.1
  bool started_ = false;   // the head of the answer is out
  bool active_ = false;    // a handler runs
  bool watching_ = false;  // a wait for readability is pending
  bool gone_ = false;
  Flaw flaw_ = Flaw::none;
};

}  // namespace sollol::sim

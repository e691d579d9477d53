#include "sim/exchange.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>

#include "sim/go_json.h"

namespace sollol::sim {
namespace asio = boost::asio;
namespace http = boost::beast::http;

namespace {

constexpr auto as_tuple = asio::as_tuple(asio::use_awaitable);
constexpr std::uint32_t head_bytes_max = 1 << 20;  // as Go's server
constexpr std::size_t length_max = 2048;           // a longer body is chunked, as Go's server does
constexpr std::size_t stream_length = 1 << 20;     // of a stream that says so and is shorter
constexpr std::size_t length_surplus = 100;        // of a length that is longer than its body
constexpr std::uint64_t drain_bytes_max = 256 << 10;
constexpr std::uint64_t body_bytes_max = 1ULL << 30;  // of what is held in memory

std::string percent_decoded(std::string_view text) {
  std::string out;
  const auto digit = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool escape = text[i] == '%' && i + 2 < text.size() &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 1])) != 0 &&
                        std::isxdigit(static_cast<unsigned char>(text[i + 2])) != 0;
    out += escape ? static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2])) : text[i];
    if (escape) i += 2;
  }
  return out;
}

std::string_view view(boost::beast::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Exchange::Exchange(asio::ip::tcp::socket socket)
    : socket_(std::move(socket)), timer_(socket_.get_executor()), buffer_(head_bytes_max * 2) {
  boost::system::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

asio::awaitable<bool> Exchange::read_head() {
  parser_.emplace();
  parser_->header_limit(head_bytes_max);
  parser_->body_limit(boost::none);
  body_.clear();
  started_ = false;
  type_override_.clear();
  more_headers_.clear();
  flaw_ = Flaw::none;
  const auto [error, bytes] =
      co_await http::async_read_header(socket_, buffer_, *parser_, as_tuple);
  if (error) {
    const bool ours = error.category() == http::make_error_code(http::error::bad_method).category();
    if (ours && error != http::error::end_of_stream && error != http::error::partial_message) {
      keep_alive_ = false;
      co_await write(
          "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: "
          "close\r\n\r\n400 Bad Request");
    }
    co_return false;
  }
  const auto& request = parser_->get();
  keep_alive_ = request.keep_alive();
  chunks_ = request.version() >= 11;
  method_ = view(request.method_string());
  const auto target = view(request.target());
  path_ = percent_decoded(target.substr(0, target.find('?')));
  head_ = fmt::format("{} {} HTTP/{}.{}\r\n", method_, target, request.version() / 10,
                      request.version() % 10);
  for (const auto& field : request)
    head_ += fmt::format("{}: {}\r\n", view(field.name_string()), view(field.value()));
  head_ += "\r\n";
  active_ = true;
  co_return true;
}

std::string_view Exchange::header(std::string_view name) const {
  return view(parser_->get()[{name.data(), name.size()}]);
}

asio::awaitable<void> Exchange::continue_if_expected() {
  if (!boost::beast::iequals(parser_->get()[http::field::expect], "100-continue")) co_return;
  parser_->get().erase(http::field::expect);
  co_await write("HTTP/1.1 100 Continue\r\n\r\n");
}

asio::awaitable<std::size_t> Exchange::read_some(std::span<char> into) {
  co_await continue_if_expected();
  if (parser_->is_done()) co_return 0;
  auto& target = parser_->get().body();
  target.data = into.data();
  target.size = into.size();
  while (!parser_->is_done() && target.size == into.size()) {
    const auto [error, bytes] =
        co_await http::async_read_some(socket_, buffer_, *parser_, as_tuple);
    if (error && error != http::error::need_buffer) throw ClientGone{};
  }
  co_return into.size() - target.size;
}

asio::awaitable<void> Exchange::read_body() {
  std::string piece(16 << 10, '\0');
  while (true) {
    const auto bytes = co_await read_some(piece);
    if (bytes == 0) break;
    body_.append(piece, 0, bytes);
    if (body_.size() > body_bytes_max) throw ClientGone{};
    if (piece.size() < (1 << 20) && bytes == piece.size()) piece.resize(piece.size() * 4);
  }
}

std::string Exchange::head_of(int status, std::string_view type, std::string_view framing) const {
  const auto reason = http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)));
  auto out = fmt::format("HTTP/1.1 {} {}\r\n{}", status, view(reason), more_headers_);
  if (!type.empty()) {
    out += fmt::format("Content-Type: {}\r\n", type_override_.empty() ? type : type_override_);
  }
  return out + fmt::format("Date: {}\r\n{}{}\r\n", http_date(std::chrono::system_clock::now()),
                           framing, keep_alive_ ? "" : "Connection: close\r\n");
}

void Exchange::add_header(std::string_view name, std::string_view value) {
  fmt::format_to(std::back_inserter(more_headers_), "{}: {}\r\n", name, value);
}

/// A whole answer with what is wrong with it.
asio::awaitable<void> Exchange::reply_flawed(int status, std::string_view type, std::string body) {
  if (flaw_ == Flaw::bad_chunk) {
    co_await send_bad_chunk(type, std::move(body), BadChunk::sizeless);
    co_return close();
  }
  const bool half = flaw_ == Flaw::half_then_reset || flaw_ == Flaw::half_then_fin;
  const auto length = flaw_ == Flaw::long_length    ? body.size() + length_surplus
                      : flaw_ == Flaw::short_length ? body.size() / 2
                                                    : body.size();
  if (half) body.resize(body.size() / 2);
  auto out = head_of(status, type, fmt::format("Content-Length: {}\r\n", length));
  out += body;
  co_await write(out);
  if (flaw_ == Flaw::long_length) keep_alive_ = false;
  if (flaw_ == Flaw::half_then_fin) co_await half_close();
  if (!half) co_return;
  reset();
  throw ClientGone{};
}

asio::awaitable<void> Exchange::reply(int status, std::string_view type, std::string body) {
  started_ = true;
  const bool headless = method_ == "HEAD";
  if (flaw_ != Flaw::none && !headless) {
    co_await reply_flawed(status, type, std::move(body));
    co_return;
  }
  const bool large = chunks_ && body.size() > length_max;
  const bool chunked = large && !headless;
  std::string framing;
  if (chunked) {
    framing = "Transfer-Encoding: chunked\r\n";
  } else if (status != 204 && !large) {
    framing = fmt::format("Content-Length: {}\r\n", body.size());
  }
  auto out = head_of(status, type, framing);
  if (chunked) {
    out += fmt::format("{:x}\r\n", body.size());
    out += body;
    out += "\r\n0\r\n\r\n";
  } else if (!headless) {
    out += body;
  }
  co_await write(out);
}

asio::awaitable<void> Exchange::send(std::string_view type, std::string_view chunk) {
  std::string out;
  if (!started_) {
    const bool sized = flaw_ == Flaw::long_length || flaw_ == Flaw::short_length;
    if (sized) chunks_ = false;
    if (!chunks_ && !sized) keep_alive_ = false;
    const auto length = flaw_ == Flaw::long_length ? stream_length : chunk.size() / 2;
    out = head_of(200, type,
                  sized     ? fmt::format("Content-Length: {}\r\n", length)
                  : chunks_ ? "Transfer-Encoding: chunked\r\n"
                            : "");
    if (flaw_ == Flaw::long_length) keep_alive_ = false;
    started_ = true;
  }
  if (!chunk.empty()) {  // an empty chunk would end the answer
    if (chunks_) fmt::format_to(std::back_inserter(out), "{:x}\r\n", chunk.size());
    out += chunk;
    if (chunks_) out += "\r\n";
  }
  co_await write(out);
}

asio::awaitable<void> Exchange::end() {
  if (chunks_) co_await write("0\r\n\r\n");
}

asio::awaitable<void> Exchange::send_raw(std::string bytes) {
  keep_alive_ = false;
  started_ = true;
  co_await write(bytes);
}

asio::awaitable<void> Exchange::send_bad_chunk(std::string_view type, std::string chunk,
                                               BadChunk how) {
  std::string out;
  if (!started_) out = head_of(200, type, "Transfer-Encoding: chunked\r\n");
  started_ = true;
  keep_alive_ = false;
  out += how == BadChunk::sizeless ? "zz\r\n" : fmt::format("{:x}\r\n", chunk.size());
  out.append(chunk, 0, chunk.size() / 2);
  co_await write(out);
}

asio::awaitable<void> Exchange::half_close() {
  boost::system::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  while (true) co_await wait();
}

asio::awaitable<void> Exchange::write(std::string_view bytes) {
  if (gone_) throw ClientGone{};
  const auto buffer = asio::buffer(bytes);
  const auto [error, written] = co_await asio::async_write(socket_, buffer, as_tuple);
  if (error) throw ClientGone{};
}

asio::awaitable<void> Exchange::sleep_until(TimePoint real) {
  while (!gone_ && Clock::now() < real) {
    timer_.expires_at(real);
    const auto [error] = co_await timer_.async_wait(as_tuple);
    static_cast<void>(error);  // a wake in between changes nothing
  }
  if (gone_) throw ClientGone{};
}

asio::awaitable<void> Exchange::wait() {
  if (gone_) throw ClientGone{};
  timer_.expires_at(TimePoint::max());
  const auto [error] = co_await timer_.async_wait(as_tuple);
  static_cast<void>(error);
  if (gone_) throw ClientGone{};
}

void Exchange::watch() {
  if (watching_ || buffer_.size() != 0 || !socket_.is_open()) return;
  watching_ = true;
  socket_.async_wait(
      asio::ip::tcp::socket::wait_read,
      [self = shared_from_this()](boost::system::error_code error) { self->on_readable(error); });
}

/// The end of what the client sends, or an error, means that it has left. A further request may
/// wait.
void Exchange::on_readable(boost::system::error_code error) {
  watching_ = false;
  if (!active_ || error) return;
  char byte = 0;
  const auto got = ::recv(socket_.native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))) return;
  gone_ = true;
  wake();
}

asio::awaitable<bool> Exchange::finish() {
  active_ = false;
  if (gone_ || !socket_.is_open()) co_return false;
  std::string piece(16 << 10, '\0');
  for (std::uint64_t drained = 0; keep_alive_ && !parser_->is_done();) {
    drained += co_await read_some(piece);
    if (drained > drain_bytes_max) keep_alive_ = false;
  }
  if (!keep_alive_) {
    boost::system::error_code ignored;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, ignored);
  }
  co_return keep_alive_;
}

void Exchange::reset() {
  boost::system::error_code ignored;
  socket_.set_option(asio::socket_base::linger(true, 0), ignored);
  close();
}

void Exchange::close() {
  gone_ = true;
  boost::system::error_code ignored;
  socket_.close(ignored);
  wake();
}

}  // namespace sollol::sim

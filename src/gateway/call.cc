// One call of a pool or a gateway client: a small client of HTTP/1.1 that never blocks by itself.
#include "sollol/call.h"

#include <algorithm>
#include <array>

#include "gateway/call_path.h"
#include "http/append.h"
#include "http/framing.h"
#include "http/head.h"

namespace sollol {

using net::Direction;
using net::IoResult;

namespace {

constexpr std::size_t read_size = 64 * 1024;
constexpr double finish_wait_s = 3600;

std::unexpected<Failure> fail(std::string text, bool unreachable = false) {
  return std::unexpected(Failure{std::move(text), unreachable});
}

bool fit_for_head(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

/// The request as it goes out; nullopt when it holds what would end a line of its head.
std::optional<std::string> request_text(const CallRequest& request, const std::string& fields) {
  if (!fit_for_head(request.method) || !fit_for_head(request.target) ||
      request.target.contains(' ') || !request.target.starts_with('/'))
    return std::nullopt;
  std::string text;
  text.reserve(256 + fields.size() + request.body.size());
  http::append(text, request.method, " ", request.target, " HTTP/1.1\r\n", fields);
  for (const auto& [name, value] : request.fields) {
    if (!fit_for_head(name) || !fit_for_head(value)) return std::nullopt;
    http::append(text, name, ": ", value, "\r\n");
  }
  if (!request.body.empty() || request.method == "POST") {
    http::append(text, "Content-Type: application/json\r\nContent-Length: ", request.body.size(),
                 "\r\n");
  }
  http::append(text, "\r\n", request.body);
  return text;
}

}  // namespace

// ---- connections

Result<CallPath::Connection> CallPath::take() {
  while (true) {
    net::ClientSocket socket;
    {
      const std::scoped_lock lock(mutex_);
      if (kept_.empty()) break;
      socket = std::move(kept_.back());
      kept_.pop_back();
    }
    if (!socket.stale()) return Connection{std::move(socket), true};
  }
  return connect();
}

Result<CallPath::Connection> CallPath::connect() {
  Result<net::ClientSocket> socket = connect_fresh();
  if (!socket) return std::unexpected(socket.error());
  return Connection{std::move(*socket), false};
}

void CallPath::keep(net::ClientSocket socket) {
  const std::scoped_lock lock(mutex_);
  if (kept_.size() < kept_max) kept_.push_back(std::move(socket));
}

// ---- one call

struct Call::Impl {
  std::shared_ptr<CallPath> path;
  CallPath::Connection connection;
  std::string method;
  std::string request;
  std::size_t sent = 0;
  std::string head;  // of the answer, as it came
  http::ResponseHead parsed;
  http::BodyWatcher body;
  std::string payload;  // of the body, not taken yet
  State state = State::sending;
  bool heard = false;  // a byte of the answer

  std::expected<void, Failure> send();
  std::expected<void, Failure> receive();
  std::expected<void, Failure> take_bytes(std::string_view bytes);
  std::expected<void, Failure> broken();
  void feed(std::string_view bytes);
  void end();
};

std::expected<void, Failure> Call::Impl::send() {
  while (sent < request.size()) {
    const IoResult done = connection.socket.write(std::string_view(request).substr(sent));
    sent += done.bytes;
    if (done.status == IoResult::Status::would_block) return {};
    // An answer may have come before all was sent: a refusal. It says more than the broken pipe.
    if (done.status != IoResult::Status::ok) break;
  }
  state = State::waiting;
  return {};
}

std::expected<void, Failure> Call::Impl::receive() {
  std::array<char, read_size> bytes;
  while (state != State::ended) {
    const IoResult got = connection.socket.read(bytes);
    if (got.status == IoResult::Status::would_block) return {};
    if (got.status != IoResult::Status::ok) return broken();
    heard = true;
    if (const auto taken = take_bytes({bytes.data(), got.bytes}); !taken) return taken;
    if (got.bytes < bytes.size()) return {};
  }
  return {};
}

std::expected<void, Failure> Call::Impl::take_bytes(std::string_view bytes) {
  if (state == State::answering) {
    feed(bytes);
  } else {
    head.append(bytes);
    const http::HeadParse parse = http::parse_response_head(head, {}, parsed);
    if (parse.state == http::HeadParse::State::incomplete) return {};
    if (parse.state == http::HeadParse::State::bad)
      return fail("the gateway's answer is no HTTP: " + std::string(parse.problem));
    const std::string rest = head.substr(parse.length);
    body = http::BodyWatcher(http::response_framing(parsed, method));
    state = State::answering;
    feed(rest);
  }
  if (body.state() == http::BodyWatcher::State::bad)
    return fail("the gateway's answer is badly framed");
  if (body.done()) end();
  return {};
}

void Call::Impl::feed(std::string_view bytes) {
  body.feed(bytes, [this](std::string_view run) { payload.append(run); });
}

void Call::Impl::end() {
  state = State::ended;
  const bool reusable = parsed.keep_alive && sent == request.size() &&
                        body.framing().kind != http::Framing::Kind::until_close;
  if (reusable) path->keep(std::move(connection.socket));
}

std::expected<void, Failure> Call::Impl::broken() {
  if (state == State::answering) {
    body.end_of_stream();
    if (!body.done()) return fail("the answer broke off before its end");
    end();
    return {};
  }
  // A kept connection that was closed meanwhile says nothing about this request.
  if (!connection.kept || heard)
    return fail("the gateway closed the connection without an answer", true);
  auto fresh = path->connect();
  if (!fresh) return fail(fresh.error().detail, true);
  connection = std::move(*fresh);
  sent = 0;
  state = State::sending;
  return send();
}

Call::Call(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Call::Call(Call&&) noexcept = default;
Call& Call::operator=(Call&&) noexcept = default;
Call::~Call() = default;

std::expected<Call, Failure> begin_call(const std::shared_ptr<CallPath>& path,
                                        CallRequest request) {
  auto text = request_text(request, path->fields());
  if (!text)
    return fail(
        "method, target or fields: no line end or blank may stand in them, and a target "
        "begins with /");
  auto connection = path->take();
  if (!connection) return fail(connection.error().detail, true);
  auto impl = std::make_unique<Call::Impl>();
  impl->path = path;
  impl->connection = std::move(*connection);
  impl->method = std::move(request.method);
  impl->request = std::move(*text);
  Call call(std::move(impl));
  if (const auto begun = call.advance(); !begun) return std::unexpected(begun.error());
  return call;
}

std::expected<Call::State, Failure> Call::advance() {
  Impl& impl = *impl_;
  if (impl.state == State::sending) {
    if (const auto sent = impl.send(); !sent) return std::unexpected(sent.error());
  }
  if (const auto received = impl.receive(); !received) return std::unexpected(received.error());
  return impl.state;
}

bool Call::wait(double seconds) const {
  if (impl_->state == State::ended) return true;
  return impl_->connection.socket.wait(sends() ? Direction::write : Direction::read,
                                       from_seconds(seconds));
}

Call::State Call::state() const { return impl_->state; }
int Call::descriptor() const { return impl_->connection.socket.descriptor(); }
bool Call::sends() const { return impl_->state == State::sending; }

int Call::status() const {
  const bool known = impl_->state == State::answering || impl_->state == State::ended;
  return known ? impl_->parsed.status : 0;
}

std::string Call::field(std::string_view name) const {
  return status() == 0 ? std::string() : std::string(impl_->parsed.fields.find(name));
}

std::string Call::take() { return std::exchange(impl_->payload, {}); }

std::expected<CallAnswer, Failure> Call::finish() {
  while (true) {
    const auto state = advance();
    if (!state) return std::unexpected(state.error());
    if (*state == State::ended) return CallAnswer{status(), field("X-Sollol-Node"), take()};
    wait(finish_wait_s);
  }
}

}  // namespace sollol

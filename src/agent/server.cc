#include "agent/server.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <boost/asio/co_spawn.hpp>
#include <set>

#include "agent/report.h"
#include "http/head.h"
#include "net/address.h"
#include "net/buffer.h"
#include "net/listening.h"
#include "net/network.h"
#include "net/stream.h"
#include "net/tcp.h"

namespace sollol::agent {

namespace asio = net::asio;

struct Server::Impl {
  Impl(net::Scheduler& s, ServerOptions o, std::function<std::string()> r, net::TcpListener l)
      : scheduler(s), options(std::move(o)), report(std::move(r)), listener(std::move(l)) {}

  net::Scheduler& scheduler;
  const ServerOptions options;
  const std::function<std::string()> report;
  net::TcpListener listener;
  std::set<net::Stream*> open;
  bool stopping = false;
};

namespace {

using Shared = std::shared_ptr<Server::Impl>;

/// How long to wait when no descriptor is left to accept with.
constexpr Duration accept_pause = std::chrono::milliseconds(100);

struct Answer {
  int status = 200;
  std::string body = {};
  std::string_view type = "application/json";
  std::string_view fields = {};  // whole lines with CRLF
};

Answer problem(int status, std::string_view text, std::string_view fields = {}) {
  return {.status = status, .body = fmt::format("{{\"error\":\"{}\"}}\n", text), .fields = fields};
}

/// Whether the request names the machine by something that no web page's own name is.
bool names_the_machine(std::string_view authority) {
  if (authority.starts_with('['))
    authority = authority.substr(1, authority.find(']') - 1);
  else
    authority = authority.substr(0, authority.find(':'));
  return net::is_ip(authority) || http::equals_ignoring_case(authority, "localhost");
}

bool shows_token(const http::RequestHead& head, std::string_view token) {
  const auto shown = head.fields.find(http::FieldId::authorization);
  constexpr std::string_view scheme = "bearer ";
  if (shown.size() < scheme.size() ||
      !http::equals_ignoring_case(shown.substr(0, scheme.size()), scheme))
    return false;
  return same_token(shown.substr(scheme.size()), token);
}

Answer answer_to(const Server::Impl& server, const http::RequestHead& head) {
  const bool reads = head.method == "GET" || head.method == "HEAD";
  if (head.path() == "/" && reads) return {.body = "SOLLOL agent\n", .type = "text/plain"};
  if (head.path() != report_path) return problem(404, "there is only /sollol/agent/v1/report here");
  if (!reads) return problem(405, "only GET is answered here", "Allow: GET, HEAD\r\n");
  const auto& token = server.options.token;
  if (token.empty() && !names_the_machine(head.authority))
    return problem(403, "without a token, ask by an IP address or as localhost");
  if (!token.empty() && !shows_token(head, token))
    return problem(401, "show the agent's token: Authorization: Bearer TOKEN",
                   "WWW-Authenticate: Bearer\r\n");
  return {.body = server.report()};
}

std::string to_bytes(const Answer& answer, bool with_body) {
  auto bytes = fmt::format(
      "HTTP/1.1 {} {}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n"
      "Server: sollol-agent\r\n{}Connection: close\r\n\r\n",
      answer.status, http::reason_phrase(answer.status), answer.type, answer.body.size(),
      answer.fields);
  if (with_body) bytes += answer.body;
  return bytes;
}

/// The bytes to answer one request with, once its head is whole; empty when the peer left or was
/// too slow.
net::Task<std::string> receive_and_answer(Shared server, net::Stream& stream) {
  const TimePoint deadline = server->scheduler.now() + server->options.request_time;
  const http::HeadLimits limits{.bytes_max = server->options.head_bytes, .fields_max = 64};
  net::InputBuffer input;
  auto head = std::make_unique<http::RequestHead>();
  while (true) {
    auto waiting = net::wait(stream, net::Direction::read, deadline);
    const net::Wake wake = co_await std::move(waiting);
    if (wake != net::Wake::ready) co_return std::string();
    const auto got = stream.read(input.prepare(1024));
    if (got.status == net::IoResult::Status::would_block && got.bytes == 0) continue;
    if (got.bytes == 0) co_return std::string();
    input.commit(got.bytes);
    const auto parse = http::parse_request_head(input.view(), limits, *head);
    if (parse.state == http::HeadParse::State::incomplete) continue;
    if (parse.state == http::HeadParse::State::bad)
      co_return to_bytes(problem(parse.status, "no HTTP request that is understood here"), true);
    co_return to_bytes(answer_to(*server, *head), head->method != "HEAD");
  }
}

net::Task<void> serve_one(Shared server, std::unique_ptr<net::Stream> stream) {
  // The stream is listed while it lives, for `stop` to reach it.
  struct Listed {
    Server::Impl& server;
    net::Stream* stream;
    ~Listed() { server.open.erase(stream); }
  };
  const bool full = server->open.size() >= server->options.connections_max;
  server->open.insert(stream.get());
  const Listed listed{*server, stream.get()};
  std::string bytes;
  if (full) {
    bytes = to_bytes(problem(503, "too many connections; try again later"), true);
  } else {
    auto answering = receive_and_answer(server, *stream);
    bytes = co_await std::move(answering);
  }
  if (bytes.empty()) co_return;
  auto writing =
      net::write_all(*stream, std::move(bytes), server->scheduler, server->options.answer_time);
  const net::Wake written = co_await std::move(writing);
  if (written == net::Wake::ready) stream->shutdown_write();
}

void rethrow(std::exception_ptr failure) {
  if (failure) std::rethrow_exception(failure);
}

net::Task<void> accept_all(asio::io_context& context, Shared server) {
  while (!server->stopping) {
    auto accepting = server->listener.accept(server->scheduler);
    auto stream = co_await std::move(accepting);
    if (server->stopping) co_return;
    if (!stream) {
      auto pausing = server->scheduler.sleep_until(server->scheduler.now() + accept_pause);
      co_await std::move(pausing);
      continue;
    }
    // Even those that are told to come later are bounded.
    if (server->open.size() >= server->options.connections_max * 2) continue;
    auto serving = serve_one(server, std::move(*stream));
    asio::co_spawn(context, std::move(serving), rethrow);
  }
}

}  // namespace

Result<std::string> parse_token(std::string_view text) {
  const auto white = " \t\r\n";
  const auto first = std::min(text.find_first_not_of(white), text.size());
  text.remove_prefix(first);
  text = text.substr(0, text.find_last_not_of(white) + 1);
  if (text.size() < token_bytes_min || text.size() > token_bytes_max) {
    return std::unexpected(
        bad_input(fmt::format("the agent's token must have {} to {} characters, this one has {}; "
                              "make one with `openssl rand -hex 32`",
                              token_bytes_min, token_bytes_max, text.size())));
  }
  const auto visible = [](char c) { return c > ' ' && c < 0x7f; };
  if (!std::ranges::all_of(text, visible))
    return std::unexpected(bad_input("the agent's token may hold only visible ASCII characters"));
  return std::string(text);
}

bool same_token(std::string_view a, std::string_view b) {
  const auto hash = [](std::string_view text) {
    std::array<unsigned char, SHA256_DIGEST_LENGTH> out{};
    SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), out.data());
    return out;
  };
  const auto left = hash(a);
  const auto right = hash(b);
  return CRYPTO_memcmp(left.data(), right.data(), left.size()) == 0;
}

Result<std::unique_ptr<Server>> Server::open(asio::io_context& context, net::Scheduler& scheduler,
                                             ServerOptions options,
                                             std::function<std::string()> report) {
  if (options.token.empty() && !net::is_loopback(options.at)) {
    return std::unexpected(
        bad_input(fmt::format("listening at {} needs a token: give --token-file FILE or set "
                              "SOLLOL_AGENT_TOKEN; or listen at 127.0.0.1",
                              to_string(options.at))));
  }
  // Listeners share their port: a second agent would silently take half of the questions.
  if (const auto unused = net::check_unused(options.at); !unused)
    return std::unexpected(unused.error());
  auto listener = net::TcpListener::open(context, options.at);
  if (!listener) return std::unexpected(listener.error());
  auto impl = std::make_shared<Impl>(scheduler, std::move(options), std::move(report),
                                     std::move(*listener));
  auto accepting = accept_all(context, impl);
  asio::co_spawn(context, std::move(accepting), rethrow);
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

Server::~Server() { stop(); }

Address Server::address() const { return impl_->listener.address(); }

void Server::stop() {
  if (std::exchange(impl_->stopping, true)) return;
  impl_->listener.close();
  for (auto* stream : impl_->open) stream->cancel();
}

}  // namespace sollol::agent

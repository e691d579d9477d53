#include "cli/client.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <optional>

#include "base/environment.h"
#include "discovery/environment_nodes.h"
#include "discovery/node_spec.h"
#include "net/http_call.h"
#include "net/tcp.h"
#include "net/tls.h"

namespace sollol::cli {

namespace asio = net::asio;

namespace {

constexpr std::size_t reply_max = 64u << 20;

/// The key as a header line; empty without one.
std::string key_field() {
  const std::string key = gateway_key();
  return key.empty() ? std::string() : "Authorization: Bearer " + key + "\r\n";
}

/// One exchange on an io_context of its own.
class Exchange {
 public:
  explicit Exchange(const ClientRequest& request, Duration timeout,
                    const std::function<void(std::string_view)>& on_piece)
      : request_(request), timeout_(timeout), on_piece_(on_piece) {}

  Result<ClientReply> run() {
    asio::co_spawn(context_, exchange(), [](std::exception_ptr failure) {
      if (failure) std::rethrow_exception(failure);
    });
    context_.run();
    return std::move(*result_);
  }

 private:
  net::Task<void> exchange() {
    auto working = work();
    auto done = co_await std::move(working);
    result_.emplace(std::move(done));
    context_.stop();
  }

  /// TCP, and TLS on it for https. Whom to trust besides the system's store: SOLLOL_TLS_CA.
  net::Task<Result<std::unique_ptr<net::Stream>>> open(const discovery::NodeSpec& gateway,
                                                       std::vector<Address> addresses,
                                                       TimePoint deadline) {
    auto connecting = net::connect_any(connector_, scheduler_, std::move(addresses), deadline);
    auto stream = co_await std::move(connecting);
    if (!stream || gateway.scheme != "https") co_return stream;
    const ProcessEnvironment environment;
    auto trust =
        net::TlsContext::client(environment.get("SOLLOL_TLS_CA").value_or(""), "SOLLOL_TLS_CA");
    if (!trust) co_return std::unexpected(trust.error());
    auto securing =
        net::tls_connect(std::move(*stream), std::move(*trust), context_, gateway.host, deadline);
    co_return co_await std::move(securing);
  }

  net::Task<Result<ClientReply>> work() {
    const std::size_t authority = request_.url.find("://") + 3;
    const std::size_t slash = std::min(request_.url.find('/', authority), request_.url.size());
    const auto node =
        discovery::parse_node_url(request_.url.substr(0, slash), discovery::MissingPort::web);
    if (!node) co_return std::unexpected(node.error());
    const TimePoint deadline = scheduler_.now() + timeout_;
    auto resolving = net::resolve(context_, node->host, node->port);
    const auto addresses = co_await std::move(resolving);
    if (!addresses) co_return std::unexpected(addresses.error());
    auto connecting = open(*node, *addresses, deadline);
    auto stream = co_await std::move(connecting);
    if (!stream) co_return std::unexpected(stream.error());
    net::HttpCall call(**stream, scratch_);
    const std::string target = slash < request_.url.size() ? request_.url.substr(slash) : "/";
    const std::string head = fmt::format(
        "{} {} HTTP/1.1\r\nHost: {}:{}\r\nConnection: close\r\nContent-Type: application/json\r\n"
        "{}Content-Length: {}\r\n\r\n",
        request_.method, target, node->host, node->port,
        request_.key == ClientRequest::Key::shown ? key_field() : std::string(),
        request_.body.size());
    auto sending = call.send(head, request_.body, deadline);
    const Result<void> sent = co_await std::move(sending);
    if (!sent) co_return std::unexpected(sent.error());
    const TimePoint limit = on_piece_ ? net::no_deadline : deadline;
    auto receiving = call.receive_head(request_.method, limit);
    const auto received = co_await std::move(receiving);
    if (!received) co_return std::unexpected(received.error());
    ClientReply reply{.status = (*received)->status,
                      .body = {},
                      .node = std::string((*received)->fields.find("x-sollol-node")),
                      .date = std::string((*received)->fields.find("date")),
                      .from_gateway = !(*received)->fields.find(http::FieldId::sollol).empty()};
    if (!on_piece_ || reply.status >= 400) {
      auto reading = call.receive_body(reply_max, limit);
      auto body = co_await std::move(reading);
      if (!body) co_return std::unexpected(body.error());
      reply.body = std::move(*body);
      co_return reply;
    }
    while (call.body().state() == http::BodyWatcher::State::reading) {
      auto waiting = call.receive(limit);
      const auto piece = co_await std::move(waiting);
      if (!piece) co_return std::unexpected(piece.error());
      call.body().feed(*piece, on_piece_);
    }
    if (!call.body().done()) {
      co_return std::unexpected(
          Error{ErrorKind::bad_reply, Origin::node, Retry::later, "the answer broke off"});
    }
    co_return reply;
  }

  const ClientRequest& request_;
  Duration timeout_;
  const std::function<void(std::string_view)>& on_piece_;
  asio::io_context context_{1};
  net::AsioScheduler scheduler_{context_};
  net::TcpConnector connector_{context_, scheduler_};
  net::HttpScratch scratch_;
  std::optional<Result<ClientReply>> result_;
};

}  // namespace

Result<ClientReply> fetch(const ClientRequest& request, Duration timeout,
                          const std::function<void(std::string_view)>& on_piece) {
  return Exchange(request, timeout, on_piece).run();
}

std::string gateway_key() {
  const ProcessEnvironment environment;
  std::string key = environment.get("SOLLOL_API_KEY").value_or("");
  if (key.empty()) {
    // One of Ollama's cloud is nobody else's business.
    key = environment.get("OLLAMA_API_KEY").value_or("");
    if (!key.starts_with("sk-sollol-")) return {};
  }
  return key.find_first_of("\r\n") == std::string::npos ? key : std::string();
}

std::string gateway_url(const std::string& flag) {
  if (!flag.empty()) {
    const auto node = discovery::parse_node_url(flag);
    return node ? node->url : flag;
  }
  const ProcessEnvironment environment;
  if (const auto set = environment.get("SOLLOL_GATEWAY"); set && !set->empty())
    return gateway_url(*set);
  if (const auto host = environment.get("OLLAMA_HOST"); host && !host->empty()) {
    if (const auto node = discovery::parse_ollama_host(*host)) return node->url;
  }
  return "http://127.0.0.1:11434";
}

}  // namespace sollol::cli

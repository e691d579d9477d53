// The library's pool: a whole gateway that only this process can reach.
#include "sollol/pool.h"

#include <fmt/format.h>
#include <pthread.h>

#include <csignal>

#include "discovery/node_spec.h"
#include "gateway/call_path.h"
#include "gateway/gateway.h"
#include "gateway/node_registry_impl.h"
#include "gateway/node_request.h"
#include "net/listening.h"
#include "net/tcp.h"

namespace sollol {

namespace {

// Callers of this process are not strangers to each other: all that they ask waits its turn.
constexpr std::uint32_t waiting_max = 1 << 20;
constexpr Duration wait_max = std::chrono::hours(24);
constexpr unsigned workers_max = 64;

std::unexpected<Failure> fail(const Error& error) {
  return std::unexpected(Failure{error.detail, error.origin == Origin::node});
}

/// No signal comes to the threads that are started while this lives: signals are the program's.
class SignalsBlocked {
 public:
  SignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before_);
  }
  ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  sigset_t before_;
};

Result<gateway::Options> to_options(const PoolOptions& wanted) {
  gateway::Options options;
  const auto policy = routing::parse_policy(wanted.policy);
  if (!policy) return std::unexpected(policy.error());
  options.policy = *policy;
  if (wanted.workers < 1 || wanted.workers > workers_max)
    return std::unexpected(bad_input(fmt::format("workers: write 1 to {}", workers_max)));
  options.workers = wanted.workers;
  options.queue = {
      .waiting_max = waiting_max, .waiting_per_client_max = waiting_max, .wait_max = wait_max};
  options.stream.heartbeat = {};  // nothing between a caller and its pool gives up on silence
  options.access_log = gateway::AccessLog::off;
  for (const NewNode& node : wanted.nodes) {
    auto request = gateway::make_node_request({.url = node.url,
                                               .name = node.name,
                                               .host = node.host,
                                               .device = node.device,
                                               .priority = node.priority,
                                               .slots = node.slots});
    if (!request) return std::unexpected(request.error());
    options.nodes.push_back(std::move(request->info));
  }
  return options;
}

}  // namespace

// ---- a gateway in this process

struct Pool::Impl {
  /// Connections to the gateway inside.
  struct Inside final : CallPath {
    explicit Inside(gateway::Options options) : gateway(std::move(options)) {}
    const std::string& fields() const override {
      static const std::string host = "Host: localhost\r\n";
      return host;
    }
    Result<net::ClientSocket> connect_fresh() override {
      const std::scoped_lock lock(mutex);
      if (closed) {
        return std::unexpected(
            Error{ErrorKind::cancelled, Origin::client, Retry::never, "the pool is closed"});
      }
      auto ends = net::ClientSocket::make_pair();
      if (!ends) return std::unexpected(ends.error());
      gateway.serve(std::move(ends->second));
      return std::move(ends->first);
    }
    void close() {
      {
        const std::scoped_lock lock(mutex);
        closed = true;
      }
      gateway.stop();
    }
    gateway::Gateway gateway;
    std::mutex mutex;
    bool closed = false;
  };

  std::shared_ptr<Inside> inside;
  std::unique_ptr<NodeRegistry> nodes;
};

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Pool::Pool(Pool&&) noexcept = default;
Pool& Pool::operator=(Pool&&) noexcept = default;

Pool::~Pool() {
  if (impl_) impl_->inside->close();  // a call that is still held has the rest
}

std::expected<Pool, Failure> Pool::open(const PoolOptions& wanted) {
  auto options = to_options(wanted);
  if (!options) return fail(options.error());
  net::raise_descriptor_limit();
  const SignalsBlocked blocked;
  auto impl = std::make_unique<Impl>();
  impl->inside = std::make_shared<Impl::Inside>(std::move(*options));
  if (const auto started = impl->inside->gateway.start_inside(); !started)
    return fail(started.error());
  impl->nodes.reset(new NodeRegistry(std::make_unique<NodeRegistry::Impl>(
      impl->inside->gateway.control(), impl->inside->gateway.views(), nullptr)));
  return Pool(std::move(impl));
}

std::expected<Call, Failure> Pool::call(CallRequest request) {
  return begin_call(impl_->inside, std::move(request));
}

NodeRegistry& Pool::nodes() { return *impl_->nodes; }

// ---- a gateway elsewhere

struct GatewayClient::Impl {
  struct Elsewhere final : CallPath {
    const std::string& fields() const override { return head_fields; }
    Result<net::ClientSocket> connect_fresh() override {
      return net::ClientSocket::begin_connect(at);
    }
    Address at;
    std::string head_fields;
  };
  std::shared_ptr<Elsewhere> elsewhere;
};

namespace {

/// The first of the host's addresses that accepts a connection.
Result<Address> reachable_address(const discovery::NodeSpec& spec, Duration timeout) {
  net::asio::io_context context(1);
  net::AsioScheduler scheduler(context);
  net::TcpConnector connector(context, scheduler);
  Result<Address> found;
  const auto look = [](net::asio::io_context& in, net::TcpConnector& through, net::Scheduler& clock,
                       discovery::NodeSpec at, Duration limit,
                       Result<Address>& result) -> net::Task<void> {
    auto resolving = net::resolve(in, at.host, at.port);
    const auto addresses = co_await std::move(resolving);
    if (!addresses) {
      result = std::unexpected(addresses.error());
      co_return;
    }
    for (const Address& address : *addresses) {
      auto connecting = through.connect(address, clock.now() + limit);
      const auto stream = co_await std::move(connecting);
      if (stream) {
        result = address;
        co_return;
      }
      result = std::unexpected(stream.error());
    }
  };
  net::asio::co_spawn(context, look(context, connector, scheduler, spec, timeout, found),
                      [&context](std::exception_ptr) { context.stop(); });
  context.run();
  return found;
}

}  // namespace

GatewayClient::GatewayClient(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
GatewayClient::GatewayClient(GatewayClient&&) noexcept = default;
GatewayClient& GatewayClient::operator=(GatewayClient&&) noexcept = default;
GatewayClient::~GatewayClient() = default;

std::expected<GatewayClient, Failure> GatewayClient::open(const std::string& url, std::string key,
                                                          double timeout_s) {
  const auto spec = discovery::parse_node_url(url);
  if (!spec) return std::unexpected(Failure{"gateway: " + spec.error().detail});
  if (spec->scheme != "http" || !spec->path_prefix.empty())
    return std::unexpected(
        Failure{"gateway: write http://HOST:PORT; put https and paths behind a "
                "proxy on this machine"});
  if (key.find_first_of("\r\n") != std::string::npos)
    return std::unexpected(Failure{"key: no line end may stand in an API key"});
  const auto at = reachable_address(*spec, from_seconds(timeout_s));
  if (!at) {
    return std::unexpected(
        Failure{fmt::format("no gateway answers at {}: {}; start it with `sollol up`", spec->url,
                            at.error().detail),
                true});
  }
  auto impl = std::make_unique<Impl>();
  impl->elsewhere = std::make_shared<Impl::Elsewhere>();
  impl->elsewhere->at = *at;
  impl->elsewhere->head_fields = "Host: " + to_string(Address{spec->host, spec->port}) + "\r\n";
  if (!key.empty()) impl->elsewhere->head_fields += "Authorization: Bearer " + key + "\r\n";
  return GatewayClient(std::move(impl));
}

std::expected<Call, Failure> GatewayClient::call(CallRequest request) {
  return begin_call(impl_->elsewhere, std::move(request));
}

}  // namespace sollol

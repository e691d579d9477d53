#include "sim/node_server.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "sim/access.h"
#include "sim/address.h"
#include "sim/inference.h"

namespace sollol::sim {
namespace asio = boost::asio;
using asio::ip::tcp;

namespace {

constexpr auto accept_pause = std::chrono::milliseconds{20};

struct Match {
  const Route* route = nullptr;
  std::string parameter;
  bool path_known = false;
};

/// The route of a request; a path that is known with other methods only is a 405.
Match find_route(std::string_view method, std::string_view path) {
  Match match;
  for (const auto routes : {native_routes(), management_routes(), openai_routes(),
                            responses_routes(), anthropic_routes()}) {
    for (const auto& route : routes) {
      std::string_view parameter;
      if (route.path.ends_with("/:")) {
        const auto prefix = route.path.substr(0, route.path.size() - 1);
        if (!path.starts_with(prefix)) continue;
        parameter = path.substr(prefix.size());
        if (parameter.empty() || parameter.contains('/')) continue;
      } else if (path != route.path) {
        continue;
      }
      match.path_known = true;
      if (method == route.method) return {&route, std::string(parameter), true};
    }
  }
  return match;
}

/// Counts an inference request from here to the end of the scope.
class InFlight {
 public:
  explicit InFlight(const Call& call) : recorder_(call.node.recorder), live_(call.live) {
    recorder_.update(
        [](NodeCounters& c) { c.max_in_flight = std::max(c.max_in_flight, ++c.in_flight); });
  }
  ~InFlight() {
    recorder_.update([this](NodeCounters& c) {
      --c.in_flight;
      ++(done_ ? c.completed : c.client_gone);
      c.model = live_->model().totals();
    });
  }
  InFlight(const InFlight&) = delete;
  InFlight& operator=(const InFlight&) = delete;
  void done() { done_ = true; }

 private:
  Recorder& recorder_;
  std::shared_ptr<LiveModel> live_;
  bool done_ = false;
};

/// When a node's models were put there: the same moment for all nodes of one store, in whatever
/// process they are.
WallTime filled_at(const std::string& store) {
  if (store.empty()) return std::chrono::system_clock::now();
  constexpr auto some_day = std::chrono::sys_days{std::chrono::year{2026} / 1 / 1};
  constexpr std::uint64_t nanoseconds_of_a_day = 86'400'000'000'000;
  return some_day +
         std::chrono::nanoseconds{std::hash<std::string>{}(store) % nanoseconds_of_a_day};
}

}  // namespace

NodeServer::NodeServer(asio::io_context& io, NodeSpec spec, Shared shared,
                       std::function<void()> changed)
    : io_(io),
      spec_(std::move(spec)),
      shared_(shared),
      recorder_(std::move(changed)),
      faults_(spec_.faults, shared.seed),
      node_{spec_, shared.clock, recorder_, shared.catalogue, {}, {}, make_live()},
      endpoint_(endpoint_of(spec_.address)),
      acceptor_(io) {
  const auto now = filled_at(spec_.store);
  auto age = std::chrono::hours{24};  // the first of the list is the newest
  for (const auto& model : spec_.models) {
    node_.store.put(model, now - age);
    age += std::chrono::hours{24};
  }
  open();
  endpoint_ = acceptor_.local_endpoint();
  url_ = url_of(endpoint_);
  if (faults_.refuses()) close();
}

std::shared_ptr<LiveModel> NodeServer::make_live() {
  return std::make_shared<LiveModel>(io_, shared_.clock, spec_, shared_.device, shared_.host);
}

void NodeServer::open() {
  acceptor_.open(endpoint_.protocol());
  acceptor_.set_option(tcp::acceptor::reuse_address(true));
  acceptor_.bind(endpoint_);
  acceptor_.listen();
}

void NodeServer::close() {
  boost::system::error_code ignored;
  acceptor_.close(ignored);
  accepting_ = false;
  for (const auto& connection : connections_) connection->close();
}

/// The loop ends when the acceptor closes.
void NodeServer::start() {
  if (faults_.refuses()) return;
  if (!acceptor_.is_open()) open();
  if (!std::exchange(accepting_, true))
    asio::co_spawn(io_, accept_loop(++generation_), asio::detached);
}

void NodeServer::kill() {
  killed_ = true;
  close();
  node_.live->stop();
  node_.live = make_live();
}

void NodeServer::restart() {
  killed_ = false;
  start();
}

void NodeServer::set_faults(std::vector<FaultSpec> faults) {
  faults_.set(std::move(faults));
  if (faults_.refuses()) {
    close();
  } else if (!killed_) {
    restart();
  }
}

asio::awaitable<void> NodeServer::accept_loop(std::uint64_t generation) {
  while (generation == generation_ && acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(asio::as_tuple(asio::use_awaitable));
    // A connection that came just before the acceptor was closed goes with it.
    if (error == asio::error::operation_aborted || generation != generation_ || !accepting_) break;
    if (error) {  // no file descriptors left, most likely: some may come back
      asio::steady_timer pause(io_, accept_pause);
      co_await pause.async_wait(asio::as_tuple(asio::use_awaitable));
      continue;
    }
    recorder_.update([](NodeCounters& c) { ++c.accepted, ++c.open; });
    auto exchange = std::make_shared<Exchange>(std::move(socket));
    connections_.insert(exchange);
    asio::co_spawn(io_, serve(exchange), [this, exchange](const std::exception_ptr&) {
      exchange->close();
      connections_.erase(exchange);
      recorder_.update([](NodeCounters& c) { --c.open; });
    });
  }
}

asio::awaitable<void> NodeServer::serve(std::shared_ptr<Exchange> exchange) {
  try {
    const auto fault = faults_.draw_connection();
    if (fault.kind != FaultKind::none) recorder_.update([](NodeCounters& c) { ++c.faults; });
    if (fault.kind == FaultKind::reset) co_return exchange->reset();
    if (fault.kind == FaultKind::starting) {
      const bool asked = co_await exchange->read_head();
      if (!asked) co_return;
      co_await exchange->read_body();
      exchange->watch();
      while (true) co_await exchange->wait();
    }
    bool more = true;
    while (more) {
      const bool got = co_await exchange->read_head();
      if (!got) break;
      co_await handle(exchange);
      more = co_await exchange->finish();
    }
  } catch (const ClientGone&) {
  }
}

asio::awaitable<void> NodeServer::handle(std::shared_ptr<Exchange> exchange) {
  const auto method = exchange->method();
  const auto match = find_route(method, exchange->path());
  const bool upload = match.route != nullptr && match.route->kind == Route::Kind::upload;
  if (!upload) co_await exchange->read_body();
  const auto known = match.route != nullptr ? match.route->path : "unknown";
  recorder_.update([&](NodeCounters& c) { ++c.requests[fmt::format("{} {}", method, known)]; });
  recorder_.saw(
      {std::string(method), std::string(exchange->path()), exchange->head(), exchange->body()});
  if (refused_host(exchange->header("Host"), endpoint_.address().is_loopback()))
    co_return co_await exchange->reply(403, "", {});
  const auto origin = check_origin(exchange->header("Origin"), exchange->header("Host"));
  if (origin == OriginCheck::refused) co_return co_await exchange->reply(403, "", {});
  if (origin == OriginCheck::allowed) {
    exchange->add_header("Access-Control-Allow-Origin", exchange->header("Origin"));
    if (method == "OPTIONS") co_return co_await exchange->reply(204, "", {});
  }
  if (match.route == nullptr) {
    std::string text = match.path_known ? "405 method not allowed" : "404 page not found";
    co_return co_await exchange->reply(match.path_known ? 405 : 404, "text/plain", std::move(text));
  }
  Call call{*exchange,         node_,           node_.live,         {},
            match.route->form, match.parameter, shared_.clock.now()};
  if (!upload) exchange->watch();
  co_await answer(call, *match.route);
}

asio::awaitable<void> NodeServer::answer(Call call, const Route& route) {
  const bool inference = route.kind == Route::Kind::inference;
  call.fault = faults_.draw(inference ? FaultScope::inference : FaultScope::all);
  if (route.path == "/api/ps" && call.fault.kind == FaultKind::none) call.fault = faults_.draw_ps();
  if (call.fault.kind != FaultKind::none) recorder_.update([](NodeCounters& c) { ++c.faults; });
  std::optional<InFlight> in_flight;
  if (inference) in_flight.emplace(call);
  if (spec_.network_delay > Duration::zero()) {
    co_await call.exchange.sleep_until(shared_.clock.real(call.entered + spec_.network_delay));
  }
  const auto done = co_await act(call, route);
  if (!done) {
    auto body = error_body(call.form, done.error().status, done.error().text);
    co_await call.exchange.reply(done.error().status, json_type, std::move(body));
  }
  if (in_flight) in_flight->done();
}

/// Runs the route, or what a fault puts in its place.
Handled NodeServer::act(Call call, const Route& route) {
  auto& exchange = call.exchange;
  const auto& fault = call.fault;
  switch (fault.kind) {
    case FaultKind::reset_after_head:
      exchange.reset();
      throw ClientGone{};
    case FaultKind::stall:
      while (true) co_await exchange.wait();
    case FaultKind::error:
      co_return refuse(fault.status, fault.text.empty() ? std::string(runner_died) : fault.text);
    case FaultKind::busy:
      co_return refuse(503, std::string(queue_full));
    case FaultKind::garbage: {
      std::string bytes = "\x16\x03\x01 this is no HTTP\r\n\r\n";
      co_await exchange.send_raw(std::move(bytes));
      co_return ApiResult<void>{};
    }
    case FaultKind::empty: {
      std::string nothing;
      co_return co_await reply_text(call, std::move(nothing));
    }
    case FaultKind::content_type:
      exchange.set_type_override("text/html");
      break;
    case FaultKind::half_close:
      exchange.set_flaw(Exchange::Flaw::half_then_fin);
      break;
    case FaultKind::cut_in_chunk:
      exchange.set_flaw(Exchange::Flaw::half_then_reset);
      break;
    case FaultKind::bad_chunk:
      exchange.set_flaw(Exchange::Flaw::bad_chunk);
      break;
    case FaultKind::long_length:
      exchange.set_flaw(Exchange::Flaw::long_length);
      break;
    case FaultKind::short_length:
      exchange.set_flaw(Exchange::Flaw::short_length);
      break;
    case FaultKind::foreign: {
      std::string page = "<html><head><title>404 Not Found</title></head></html>\n";
      co_await exchange.reply(404, "text/html", std::move(page));
      co_return ApiResult<void>{};
    }
    case FaultKind::slow_ps:
      co_await exchange.sleep_until(shared_.clock.real(call.entered + fault.delay));
      break;
    default:
      break;
  }
  co_return co_await route.handle(call);
}

}  // namespace sollol::sim

#include "sim/control_server.h"

#include <fmt/format.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/json.hpp>
#include <stdexcept>
#include <thread>

#include "sim/address.h"
#include "sim/exchange.h"
#include "sim/faults.h"
#include "sim/go_json.h"

namespace sollol::sim {
namespace asio = boost::asio;
namespace json = boost::json;
using asio::ip::tcp;

namespace {

constexpr std::string_view nodes_path = "/nodes";
constexpr std::string_view type = "application/json";

struct Answer {
  int status = 200;
  std::string body = "{}";
};

Answer error_answer(int status, std::string_view text) {
  return {status, to_json(json::object{{"error", text}})};
}

Result<FaultSpec> read_fault(const json::value& value) {
  if (const auto* text = value.if_string()) return parse_fault({text->data(), text->size()});
  const auto* object = value.if_object();
  const auto* name = object != nullptr ? object->if_contains("fault") : nullptr;
  if (name == nullptr || !name->is_string())
    return std::unexpected(bad_input("a fault is a text, or an object with \"fault\""));
  auto spec = parse_fault({name->get_string().data(), name->get_string().size()});
  if (!spec) return spec;
  boost::system::error_code bad;
  if (const auto* probability = object->if_contains("probability"))
    spec->probability = probability->to_number<double>(bad);
  if (const auto* count = object->if_contains("count"))
    spec->count = count->to_number<std::uint64_t>(bad);
  if (const auto* scope = object->if_contains("scope"))
    spec->scope = *scope == json::value("all") ? FaultScope::all : FaultScope::inference;
  if (bad) return std::unexpected(bad_input("a fault's probability and count are numbers"));
  return spec;
}

Answer list_nodes(const Fleet& fleet) {
  std::string body = R"({"nodes":[)";
  for (const auto& name : fleet.names()) {
    if (!body.ends_with('[')) body += ',';
    body += counters_json(name, fleet.url(name), fleet.counters(name));
  }
  return {200, body + "]}"};
}

Answer change_node(Fleet& fleet, const Exchange& exchange, std::string_view name,
                   std::string_view action) {
  const auto method = exchange.method();
  if (method == "POST" && action == "kill") {
    fleet.kill(name);
  } else if (method == "POST" && action == "restart") {
    fleet.restart(name);
  } else if (method == "PUT" && action == "faults") {
    auto faults = read_faults(exchange.body());
    if (!faults) return error_answer(400, faults.error().detail);
    fleet.set_faults(name, std::move(*faults));
  } else {
    return error_answer(404, "no such route; see docs/sim.md");
  }
  return {};
}

Answer act(Fleet& fleet, const Exchange& exchange) {
  const auto path = exchange.path();
  if (path == nodes_path && exchange.method() == "GET") return list_nodes(fleet);
  const auto slash = path.rfind('/');
  if (!path.starts_with("/nodes/") || slash <= nodes_path.size())
    return error_answer(404, "no such route; see docs/sim.md");
  const auto name = path.substr(nodes_path.size() + 1, slash - nodes_path.size() - 1);
  try {
    return change_node(fleet, exchange, name, path.substr(slash + 1));
  } catch (const std::out_of_range& error) {
    return error_answer(404, error.what());
  } catch (const std::exception& error) {  // an address that was taken meanwhile
    return error_answer(409, error.what());
  }
}

}  // namespace

struct ControlServer::Impl {
  Impl(Fleet& controlled, const std::string& address) : fleet(controlled), acceptor(io) {
    const auto endpoint = endpoint_of(address);
    acceptor.open(endpoint.protocol());
    acceptor.set_option(tcp::acceptor::reuse_address(true));
    acceptor.bind(endpoint);
    acceptor.listen();
    url = url_of(acceptor.local_endpoint());
    asio::co_spawn(io, accept_loop(), asio::detached);
    thread = std::thread([this] { io.run(); });
  }

  asio::awaitable<void> accept_loop() {
    while (acceptor.is_open()) {
      auto [error, socket] = co_await acceptor.async_accept(asio::as_tuple(asio::use_awaitable));
      if (error) break;
      auto exchange = std::make_shared<Exchange>(std::move(socket));
      asio::co_spawn(io, serve(exchange), asio::detached);
    }
  }

  asio::awaitable<void> serve(std::shared_ptr<Exchange> exchange) {
    try {
      bool more = true;
      while (more) {
        more = co_await exchange->read_head();
        if (!more) break;
        co_await exchange->read_body();
        auto answer = act(fleet, *exchange);
        co_await exchange->reply(answer.status, type, std::move(answer.body));
        more = co_await exchange->finish();
      }
    } catch (const ClientGone&) {
    }
  }

  Fleet& fleet;
  asio::io_context io{1};
  tcp::acceptor acceptor;
  std::string url;
  std::thread thread;
};

ControlServer::ControlServer(Fleet& fleet, const std::string& address) {
  try {
    impl_ = std::make_unique<Impl>(fleet, address);
  } catch (const std::exception& error) {
    throw std::runtime_error(fmt::format("cannot listen at {}: {}", address, error.what()));
  }
}

ControlServer::~ControlServer() {
  impl_->io.stop();
  impl_->thread.join();
}

const std::string& ControlServer::url() const { return impl_->url; }

Result<std::vector<FaultSpec>> read_faults(std::string_view text) {
  const auto value = parse_json(text);
  if (!value) return std::unexpected(value.error());
  const auto* list = value->if_array();
  if (list == nullptr) return std::unexpected(bad_input("faults are a JSON list"));
  std::vector<FaultSpec> faults;
  for (const auto& element : *list) {
    auto fault = read_fault(element);
    if (!fault) return std::unexpected(fault.error());
    faults.push_back(std::move(*fault));
  }
  return faults;
}

std::string counters_json(std::string_view name, std::string_view url,
                          const NodeCounters& counters) {
  json::object requests;
  for (const auto& [route, count] : counters.requests) requests[route] = count;
  return to_json({{"name", name},
                  {"url", url},
                  {"requests", std::move(requests)},
                  {"accepted", counters.accepted},
                  {"open", counters.open},
                  {"in_flight", counters.in_flight},
                  {"max_in_flight", counters.max_in_flight},
                  {"completed", counters.completed},
                  {"client_gone", counters.client_gone},
                  {"tokens", counters.tokens},
                  {"faults", counters.faults},
                  {"loads", counters.model.loads}});
}

}  // namespace sollol::sim

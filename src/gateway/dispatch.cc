#include "gateway/dispatch.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/cors.h"
#include "gateway/access.h"
#include "gateway/admin.h"
#include "gateway/blobs.h"
#include "gateway/fanout.h"
#include "gateway/inference.h"
#include "gateway/local.h"
#include "gateway/worker.h"

namespace sollol::gateway {

using api::Operation;
using api::RouteClass;

namespace {

/// Cross-origin rules are the gateway's: nodes see no Origin (reference §1). True: go on.
net::Task<bool> pass_origin(Connection& client) {
  Request& request = client.request();
  if (api::is_same_origin(request.origin, request.authority)) {
    request.origin.clear();
    co_return request.method != "OPTIONS";
  }
  const auto& extra = client.options().cors_origins;
  if (!api::origin_allowed(request.origin, extra)) {
    request.origin.clear();
    auto refusing = client.answer(403, {}, {});
    co_await std::move(refusing);
    co_return false;
  }
  if (request.method != "OPTIONS") co_return true;
  auto answering = client.answer(
      204, {}, {},
      fmt::format("Access-Control-Allow-Methods: {}\r\nAccess-Control-Allow-Headers: {}\r\n"
                  "Access-Control-Max-Age: 43200\r\n",
                  api::cors_allowed_methods, api::cors_allowed_headers));
  co_await std::move(answering);
  co_return false;
}

/// Refuses by where the request claims to be sent to and to come from, whatever it asks.
std::optional<Refusal> refuse_sender(const Request& request, const Options& options) {
  const bool on_loopback = options.listen.ip.starts_with("127.") || options.listen.ip == "::1";
  if (on_loopback && !host_accepted(request.authority, options)) return Refusal{{403, {}, {}}};
  return refuse_other_sites(request, options);
}

/// A node that leads back here is a gateway that has this one among its nodes.
api::Reply going_round(Connection& client) {
  const Request& request = client.request();
  spdlog::warn(
      "request {}: came back to this gateway by way of {}: one of its nodes is a gateway "
      "that has it as a node",
      request.id, request.client);
  client.request().outcome.problem = "a routing loop";
  return api::error_reply(request.route.dialect, 508,
                          "the request has come round to a gateway that it had passed: a node of "
                          "it is a gateway; `sollol nodes` there shows which",
                          request.id);
}

net::Task<void> serve_route(Connection& client) {
  switch (client.request().route.route_class) {
    case RouteClass::inference:
      return serve_inference(client);
    case RouteClass::aggregate:
      return serve_aggregate(client);
    case RouteClass::local:
      return serve_local(client);
    case RouteClass::cloud:
      return serve_any_node(client);
    case RouteClass::node_state:
      switch (client.request().route.operation) {
        case Operation::blob_upload:
          return serve_blob_upload(client);
        case Operation::blob_check:
          return serve_blob_check(client);
        default:
          return serve_fanout(client);
      }
    case RouteClass::unknown_path:
      return client.answer(api::plain_404());
    case RouteClass::wrong_method:
      return client.answer(api::plain_405());
  }
  return client.answer(api::plain_404());
}

}  // namespace

net::Task<void> dispatch(Connection& client) {
  Request& request = client.request();
  if (!is_own_route(request.path()))
    request.route = api::match_route(request.method, request.path());
  const Options& options = client.options();
  if (auto refused = refuse_sender(request, options)) {
    request.origin.clear();
    auto refusing = client.answer(std::move(refused->reply));
    co_await std::move(refusing);
    co_return;
  }
  if (request.via.contains(client.worker().shared().id)) {
    auto refusing = client.answer(going_round(client));
    co_await std::move(refusing);
    co_return;
  }
  if (!request.origin.empty()) {
    auto checking = pass_origin(client);
    const bool passed = co_await std::move(checking);
    if (!passed) co_return;
  }
  if (auto refused = check_key(client.worker(), request)) {
    auto refusing = client.answer(std::move(refused->reply), std::move(refused->fields));
    co_await std::move(refusing);
    co_return;
  }
  if (is_own_route(request.path())) {
    auto serving = serve_own_route(client);
    co_await std::move(serving);
    co_return;
  }
  auto serving = serve_route(client);
  co_await std::move(serving);
}

}  // namespace sollol::gateway

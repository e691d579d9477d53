#include "gateway/access.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "api/cors.h"
#include "api/glob.h"
#include "gateway/admin.h"
#include "gateway/worker.h"
#include "net/address.h"

namespace sollol::gateway {

using api::Operation;
using api::RouteClass;

namespace {

/// What a route asks of a key.
enum class Need : std::uint8_t { nothing, key, manage, admin };

Need need_of(const Request& request) {
  // Whoever may use the gateway may tell that he does.
  if (request.path() == "/sollol/v1/applications" && request.method == "POST") return Need::key;
  if (is_own_route(request.path())) return Need::admin;
  switch (request.route.route_class) {
    case RouteClass::inference:
    case RouteClass::aggregate:
      return Need::key;
    case RouteClass::node_state:
      return Need::manage;
    case RouteClass::local:
      return request.route.operation == Operation::recommendations ? Need::key : Need::nothing;
    case RouteClass::cloud:
      break;
    case RouteClass::unknown_path:
    case RouteClass::wrong_method:
      return Need::nothing;
  }
  const Operation operation = request.route.operation;
  const bool of_account = operation == Operation::me || operation == Operation::signout ||
                          operation == Operation::delete_key;
  return of_account ? Need::manage : Need::key;
}

/// Whether a request makes a node work, and so counts against the key's limits.
bool counts(const Request& request) {
  switch (request.route.route_class) {
    case RouteClass::inference:
    case RouteClass::node_state:
    case RouteClass::cloud:
      return true;
    default:
      return request.route.operation == Operation::show;
  }
}

Refusal refusal(const Request& request, int status, std::string_view message,
                std::string fields = {}) {
  return {api::error_reply(request.route.dialect, status, message, request.id), std::move(fields)};
}

Refusal no_key(const Request& request) {
  if (request.credential.empty()) {
    return refusal(request, 401,
                   "an API key is needed: send it as `Authorization: Bearer KEY` or `x-api-key: "
                   "KEY`",
                   "WWW-Authenticate: Bearer realm=\"sollol\"\r\n");
  }
  return refusal(request, 401, "this API key is not known here",
                 "WWW-Authenticate: Bearer realm=\"sollol\", error=\"invalid_token\"\r\n");
}

std::optional<Refusal> refuse_need(const Request& request, const KeyRecord& key) {
  switch (need_of(request)) {
    case Need::admin:
      if (key.admin) return std::nullopt;
      return refusal(request, 403, "this needs an admin key (`sollol keys add NAME --admin`)");
    case Need::manage:
      if (key.may_manage()) return std::nullopt;
      return refusal(request, 403,
                     "this key may use models and not change them (`sollol keys add NAME "
                     "--manage`)");
    default:
      return std::nullopt;
  }
}

std::optional<Refusal> refuse_limits(Worker& worker, Request& request,
                                     const std::shared_ptr<Key>& key) {
  if (!counts(request)) return std::nullopt;
  auto begun = KeyUse::begin(key);
  if (!begun) {
    return refusal(request, 429,
                   fmt::format("this key has {} requests under way, as many as it may",
                               key->record.concurrency),
                   "Retry-After: 1\r\n");
  }
  if (const auto wait = key->rate.take(worker.scheduler().now())) {
    return refusal(
        request, 429,
        fmt::format("this key may make {} requests a minute", key->record.rate_per_minute),
        fmt::format("Retry-After: {:.0f}\r\n", std::ceil(to_seconds(*wait))));
  }
  request.key_use = std::move(*begun);
  return std::nullopt;
}

std::string_view host_of(std::string_view authority) {
  if (authority.starts_with('[')) return authority.substr(1, authority.find(']') - 1);
  const std::size_t colon = authority.rfind(':');
  std::string_view host = authority.substr(0, colon);
  if (host.ends_with('.')) host.remove_suffix(1);
  return host;
}

bool ends_ignoring_case(std::string_view text, std::string_view ending) {
  return text.size() > ending.size() &&
         http::equals_ignoring_case(text.substr(text.size() - ending.size()), ending);
}

/// The signs that a browser leaves on what a page made it send.
bool from_other_site(const Request& request) {
  return request.fetch_site == "cross-site" || request.fetch_site == "same-site";
}

bool configured_origin(const Request& request, const Options& options) {
  return std::ranges::any_of(options.cors_origins, [&](const std::string& entry) {
    return api::glob_matches(entry, request.origin);
  });
}

}  // namespace

bool host_accepted(std::string_view authority, const Options& options) {
  const std::string_view host = host_of(authority);
  if (host.empty() || host == options.listen.ip || http::equals_ignoring_case(host, "localhost"))
    return true;
  static const std::vector<net::Network> own = [] {
    std::vector<net::Network> made;
    for (const char* text : {"127.0.0.0/8", "::1", "0.0.0.0", "::", "10.0.0.0/8", "172.16.0.0/12",
                             "192.168.0.0/16", "fc00::/7"})
      made.push_back(net::Network::parse(text).value());
    return made;
  }();
  if (std::ranges::any_of(own, [host](const net::Network& net) { return net.contains(host); }))
    return true;
  for (const char* ending : {".localhost", ".local", ".internal"}) {
    if (ends_ignoring_case(host, ending)) return true;
  }
  static const std::string machine = net::own_host_name();
  if (http::equals_ignoring_case(host, machine)) return true;
  return std::ranges::any_of(options.access.hosts, [host](const std::string& entry) {
    return api::glob_matches(entry, host);
  });
}

bool from_this_machine(const Request& request) {
  static const net::Network v4 = net::Network::parse("127.0.0.0/8").value();
  const bool loopback = request.client == "::1" || v4.contains(request.client);
  return loopback && request.forwarded_for.empty();
}

std::optional<Refusal> refuse_other_sites(const Request& request, const Options& options) {
  const Refusal refused{{403, {}, {}}};
  const bool own = is_own_route(request.path());
  if (!own && request.route.route_class != RouteClass::node_state) return std::nullopt;
  if (request.origin.empty()) {
    if (from_other_site(request)) return refused;
    return std::nullopt;
  }
  if (!own) return std::nullopt;  // Ollama's own rule for origins follows
  const bool same = api::is_same_origin(request.origin, request.authority) &&
                    host_accepted(request.authority, options);
  if (same || configured_origin(request, options)) return std::nullopt;
  return refused;
}

std::optional<Refusal> check_key(Worker& worker, Request& request) {
  const std::shared_ptr<const KeyRing>& ring = worker.keys();
  if (!ring) {
    // Nobody else's business than the node's, unless it is a key of a gateway.
    if (!request.credential.starts_with(token_prefix))
      request.pass_fields += request.credential_fields;
    return std::nullopt;
  }
  if (need_of(request) == Need::nothing) return std::nullopt;
  std::shared_ptr<Key> key = worker.key_cache().find(ring, request.credential);
  if (!key) {
    worker.metrics().refused_keys.add();
    return no_key(request);
  }
  const KeyRecord& record = key->record;
  request.outcome.key = record.name;
  request.client_key = std::hash<std::string_view>{}(record.id);
  request.urgency = std::max(request.urgency, record.urgency);
  if (auto refused = refuse_need(request, record)) return refused;
  if (auto refused = refuse_limits(worker, request, key)) return refused;
  request.key = std::move(key);
  return std::nullopt;
}

std::optional<api::Reply> refuse_model(const Request& request, std::string_view model_key) {
  if (!request.key || request.key->record.models.empty()) return std::nullopt;
  if (!model_key.empty() && may_use(request.key->record, model_key)) return std::nullopt;
  return api::error_reply(
      request.route.dialect, 403,
      model_key.empty() ? std::string("this key may use some models only, and the request "
                                      "does not say plainly which it wants")
                        : fmt::format("this key may not use model '{}'", request.outcome.model),
      request.id);
}

}  // namespace sollol::gateway

#include <fmt/format.h>

#include "discovery/import_yaml.h"
#include "discovery/text.h"

namespace sollol::discovery {
namespace {

constexpr std::string_view no_counterpart = "SOLLOL has no such setting";
constexpr std::int64_t olla_default_priority = 100;

/// `host` and `port` of Olla's server section become one listen address.
void import_server(ImportDraft& draft, const YAML::Node& server) {
  if (!is_map(server)) return;
  const auto host = scalar(server["host"]);
  const auto port = whole_number(server["port"]);
  if (host || port) {
    const auto address = !host || *host == "localhost" ? "127.0.0.1"
                         : host->empty()               ? "0.0.0.0"
                                                       : *host;
    const bool v6 = address.find(':') != std::string::npos && !address.starts_with('[');
    draft.set("listen", fmt::format("{}{}{}:{}", v6 ? "[" : "", address, v6 ? "]" : "",
                                    port.value_or(40114)));
  }
  if (const auto idle = seconds(server["idle_timeout"]); idle && *idle > 0)
    draft.set("limits.idle_timeout_s", *idle);
  if (const auto logging = scalar(server["request_logging"])) {
    draft.set("log.access", to_lower(*logging) == "true" ? "on" : "off");
  }
  const auto limits = server["request_limits"];
  if (is_map(limits)) {
    if (const auto bytes = whole_number(limits["max_header_size"]); bytes && *bytes > 0) {
      draft.set("limits.head_bytes", *bytes);
    }
    leave_out_others(draft, limits, "server.request_limits", {"max_header_size"},
                     "bodies are streamed through, whatever their size");
  }
  leave_out_others(draft, server, "server",
                   {"host", "port", "idle_timeout", "request_logging", "request_limits"},
                   no_counterpart);
}

void import_proxy(ImportDraft& draft, const YAML::Node& proxy) {
  if (!is_map(proxy)) return;
  if (const auto balancer = scalar(proxy["load_balancer"])) {
    if (*balancer == "priority")
      draft.set("policy", "priority");
    else if (*balancer == "round-robin" || *balancer == "round_robin")
      draft.set("policy", "round_robin");
    else if (balancer->starts_with("least"))
      draft.set("policy", "least_connections");
    else
      draft.leave_out(proxy["load_balancer"], "proxy.load_balancer",
                      "unknown to SOLLOL; its default policy stays");
  }
  if (const auto connect = seconds(proxy["connection_timeout"]); connect && *connect > 0) {
    draft.set("upstream.connect_timeout_s", *connect);
  }
  if (const auto response = seconds(proxy["response_timeout"]))
    draft.set("upstream.response_timeout_s", *response);
  leave_out_others(draft, proxy, "proxy",
                   {"load_balancer", "connection_timeout", "response_timeout"}, no_counterpart);
}

/// One endpoint; Olla prefers higher numbers, and only when it balances by priority.
void import_endpoint(ImportDraft& draft, const YAML::Node& endpoint, std::string_view key,
                     bool by_priority) {
  const auto url = is_map(endpoint) ? scalar(endpoint["url"]) : std::nullopt;
  if (!url) return draft.leave_out(endpoint, key, "it has no url");
  const auto type = scalar(endpoint["type"]).value_or("auto");
  if (type != "ollama" && type != "auto") {
    return draft.leave_out(
        endpoint, key,
        fmt::format("{} is of type {}; SOLLOL's nodes speak Ollama's API", *url, type));
  }
  auto node = parse_node_url(*url, MissingPort::web);
  if (!node) return draft.leave_out(endpoint, key, node.error().detail);
  if (const auto name = scalar(endpoint["name"])) {
    const auto valid = parse_node_name(*name);
    if (valid)
      node->name = *valid;
    else
      draft.leave_out(endpoint["name"], fmt::format("{}.name", key), valid.error().detail);
  }
  const auto priority = whole_number(endpoint["priority"]).value_or(olla_default_priority);
  draft.add(endpoint, key, *std::move(node), by_priority ? -priority : 0);
  if (!by_priority && endpoint["priority"]) {
    draft.leave_out(endpoint["priority"], fmt::format("{}.priority", key),
                    "Olla looks at it only when load_balancer is priority; SOLLOL always would");
  }
  leave_out_others(draft, endpoint, key, {"url", "name", "type", "priority"},
                   "SOLLOL knows where to ask an Ollama node and how often");
}

}  // namespace

Imported import_olla(const YAML::Node& root) {
  ImportDraft draft("olla");
  const YAML::Node proxy = root["proxy"];
  import_server(draft, root["server"]);
  import_proxy(draft, proxy);
  const auto balancer = is_map(proxy) ? scalar(proxy["load_balancer"]) : std::nullopt;
  const YAML::Node discovery = root["discovery"];
  if (is_map(discovery)) {
    const YAML::Node statics = discovery["static"];
    const YAML::Node endpoints = is_map(statics) ? statics["endpoints"] : YAML::Node();
    for (std::size_t i = 0; is_list(endpoints) && i < endpoints.size(); ++i) {
      import_endpoint(draft, endpoints[i], fmt::format("endpoints[{}]", i),
                      balancer.value_or("priority") == "priority");
    }
    leave_out_others(draft, discovery, "discovery", {"type", "static"},
                     "SOLLOL learns models by itself");
  }
  const YAML::Node logging = root["logging"];
  if (is_map(logging)) {
    const auto level = to_lower(scalar(logging["level"]).value_or(""));
    const bool known = level == "debug" || level == "info" || level == "warn" || level == "error";
    if (known)
      draft.set("log.level", level);
    else if (logging["level"])
      draft.leave_out(logging["level"], "logging.level", "unknown to SOLLOL; info stays");
    leave_out_others(draft, logging, "logging", {"level"}, no_counterpart);
  }
  leave_out_others(draft, root, "", {"server", "proxy", "discovery", "logging"}, no_counterpart);
  return std::move(draft).finish();
}

}  // namespace sollol::discovery

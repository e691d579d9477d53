#include "discovery/node_spec.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/url/ipv6_address.hpp>
#include <charconv>
#include <optional>

#include "discovery/text.h"
#include "net/wake.h"

namespace sollol::discovery {
namespace {

struct HostPort {
  std::string_view host;
  std::optional<std::string_view> port;
};

std::unexpected<Error> refuse(std::string_view node, std::string_view why) {
  return std::unexpected(bad_input(fmt::format("node \"{}\": {}", node, why)));
}

/// "[v6]:port", "v6", "host:port" or "host", unchecked.
std::optional<HostPort> split_authority(std::string_view authority) {
  if (authority.starts_with('[')) {
    const auto close = authority.find(']');
    if (close == std::string_view::npos) return std::nullopt;
    const auto host = authority.substr(1, close - 1);
    const auto rest = authority.substr(close + 1);
    if (rest.empty()) return HostPort{host, std::nullopt};
    if (rest.front() != ':') return std::nullopt;
    return HostPort{host, rest.substr(1)};
  }
  const auto colon = authority.find(':');
  if (colon == std::string_view::npos) return HostPort{authority, std::nullopt};
  if (authority.find(':', colon + 1) != std::string_view::npos)
    return HostPort{authority, std::nullopt};
  return HostPort{authority.substr(0, colon), authority.substr(colon + 1)};
}

/// The host as a client uses it, or nothing when it can be no host.
std::optional<std::string> canonical_host(std::string_view host) {
  if (host.find(':') != std::string_view::npos) {
    const auto v6 = boost::urls::parse_ipv6_address(host);
    if (!v6) return std::nullopt;
    return v6->is_unspecified() ? "::1" : std::string(v6->to_string());
  }
  const auto allowed = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
  };
  auto lower = to_lower(host);
  if (lower.ends_with('.')) lower.pop_back();
  const bool empty_label = lower.starts_with('.') || lower.ends_with('.') || lower.contains("..");
  if (lower.empty() || lower.size() > 253 || empty_label || !std::ranges::all_of(lower, allowed))
    return std::nullopt;
  return lower == "0.0.0.0" ? "127.0.0.1" : lower;
}

std::string bracketed(const std::string& host) {
  return host.find(':') == std::string::npos ? host : "[" + host + "]";
}

/// The prefix without slashes at its end, and without the path of an API that people paste along.
std::string trim_prefix(std::string_view path) {
  while (path.ends_with('/')) path.remove_suffix(1);
  if (path == "/v1" || path == "/api") path = {};
  return std::string(path);
}

Result<std::uint32_t> parse_count(std::string_view node, std::string_view field,
                                  std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure == std::errc{} && end == text.data() + text.size()) return value;
  return refuse(node, fmt::format("{} must be a whole number from 0, got \"{}\"", field, text));
}

/// Applies one `key=value` of a --node flag.
Result<void> apply_option(NodeSpec& node, std::string_view option, std::string_view flag) {
  const auto equals = option.find('=');
  const auto key = trim(option.substr(0, equals));
  const auto value =
      equals == std::string_view::npos ? std::string_view{} : trim(option.substr(equals + 1));
  if (key == "name") {
    auto name = parse_node_name(value);
    if (!name) return refuse(flag, name.error().detail);
    node.name = *std::move(name);
  } else if (key == "priority") {
    const auto priority = parse_count(flag, key, value);
    if (!priority) return std::unexpected(priority.error());
    node.priority = *priority;
  } else if (key == "slots") {
    const auto slots = parse_count(flag, key, value);
    if (!slots) return std::unexpected(slots.error());
    if (*slots > 0) node.slots = *slots;
  } else if (key == "host" || key == "device") {
    auto label = parse_node_label(value, key);
    if (!label) return refuse(flag, label.error().detail);
    (key == "host" ? node.physical_host : node.device) = *std::move(label);
  } else if (key == "mac") {
    auto mac = net::parse_mac(value);
    if (!mac) return refuse(flag, "mac: " + mac.error().detail);
    node.mac = *std::move(mac);
  } else if (key == "wake") {
    if (value != "true" && value != "false")
      return refuse(flag, fmt::format("wake must be true or false, got \"{}\"", value));
    node.wake = value == "true";
  } else {
    return refuse(flag, fmt::format("unknown option \"{}\"; write URL,name=NAME,priority=N,slots=N,"
                                    "host=MACHINE,device=DEVICE,mac=MAC,wake=true",
                                    key));
  }
  return {};
}

}  // namespace

Result<NodeSpec> make_node(NodeAddress address) {
  auto host = canonical_host(address.host);
  if (!host) {
    return std::unexpected(bad_input(fmt::format(
        "\"{}\" is not a host; write a name, an IPv4 address or [an IPv6 address]", address.host)));
  }
  const auto in_path = [](unsigned char c) { return c > ' ' && c < 0x7f && c != '?' && c != '#'; };
  if (!std::ranges::all_of(address.path_prefix, in_path)) {
    return std::unexpected(
        bad_input("its path holds a query, a fragment or a character that no path has; drop it"));
  }
  NodeSpec node;
  node.scheme = std::move(address.scheme);
  node.host = *std::move(host);
  node.port = address.port;
  node.path_prefix = trim_prefix(address.path_prefix);
  node.url =
      fmt::format("{}://{}:{}{}", node.scheme, bracketed(node.host), node.port, node.path_prefix);
  node.name =
      node.port == default_port ? node.host : fmt::format("{}:{}", bracketed(node.host), node.port);
  node.name += node.path_prefix;
  return node;
}

Result<NodeSpec> parse_node_url(std::string_view text, MissingPort missing) {
  const auto whole = trim(text);
  if (whole.empty())
    return std::unexpected(bad_input("a node's URL is empty; write http://host:11434"));
  NodeAddress address;
  auto rest = whole;
  if (const auto mark = rest.find("://"); mark != std::string_view::npos) {
    address.scheme = to_lower(rest.substr(0, mark));
    rest.remove_prefix(mark + 3);
    if (address.scheme == "https")
      address.port = 443;
    else if (address.scheme != "http")
      return refuse(whole, "unknown scheme; write http:// or https://");
    else if (missing == MissingPort::web)
      address.port = 80;
  }
  const auto path = std::min(rest.find_first_of("/?#"), rest.size());
  address.path_prefix = rest.substr(path);
  const auto authority = rest.substr(0, path);
  if (authority.find('@') != std::string_view::npos) {
    return refuse(whole,
                  "user and password in a node's URL are not supported; drop the part before @");
  }
  const auto parts = split_authority(authority);
  if (!parts) return refuse(whole, "an IPv6 address is written [::1]:11434");
  if (parts->port) {
    const auto port = parse_port(*parts->port);
    if (!port)
      return refuse(whole, fmt::format("port \"{}\" is not from 1 to 65535", *parts->port));
    address.port = *port;
  }
  address.host = parts->host;
  auto node = make_node(std::move(address));
  if (!node) return refuse(whole, node.error().detail);
  return node;
}

Result<NodeSpec> parse_node_flag(std::string_view text) {
  const auto comma = text.find(',');
  auto node = parse_node_url(text.substr(0, comma));
  if (!node) return node;
  node->origin = "flag";
  if (comma == std::string_view::npos) return node;
  for (const auto option : split(text.substr(comma + 1), ',')) {
    const auto applied = apply_option(*node, option, text);
    if (!applied) return std::unexpected(applied.error());
  }
  if (const auto wakes = check_wake(*node); !wakes) return refuse(text, wakes.error().detail);
  return node;
}

Result<void> check_wake(const NodeSpec& node) {
  if (!node.wake || !node.mac.empty()) return {};
  return std::unexpected(
      bad_input("wake: needs the address of the machine's card; give mac, like aa:bb:cc:dd:ee:ff"));
}

Result<std::string> parse_node_name(std::string_view text) {
  if (trim(text).empty())
    return std::unexpected(bad_input("name is empty; leave it out to use the host"));
  return parse_node_label(text, "name");
}

Result<std::string> parse_node_label(std::string_view text, std::string_view field) {
  const auto label = trim(text);
  const auto fail = [field](std::string_view why) {
    return std::unexpected(bad_input(fmt::format("{} {}", field, why)));
  };
  if (label.empty()) return fail("is empty; leave it out when it is not known");
  if (label.size() > 128) return fail("is longer than 128 bytes; shorten it");
  const auto forbidden = [](unsigned char c) { return c < ' ' || c == 0x7f || c == ','; };
  if (std::ranges::any_of(label, forbidden))
    return fail("holds a comma or a control character; leave them out");
  boost::json::error_code error;
  static_cast<void>(boost::json::parse(boost::json::serialize(boost::json::string(label)), error));
  if (error) return fail("is not valid UTF-8");
  return std::string(label);
}

}  // namespace sollol::discovery

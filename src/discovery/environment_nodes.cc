#include "discovery/environment_nodes.h"

#include <fmt/format.h>

#include <algorithm>

#include "discovery/text.h"

namespace sollol::discovery {
namespace {

/// What a shell or an .env file leaves around a value.
std::string_view unquote(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n\"'");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n\"'") - first + 1);
}

/// Host and port as Go's net.SplitHostPort has them: a colon outside brackets, and only one,
/// divides.
struct Split {
  std::string_view host;
  std::string_view port;
};
std::optional<Split> split_host_port(std::string_view text) {
  const auto colon = text.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  const auto host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']'))
    return Split{host.substr(1, host.size() - 2), text.substr(colon + 1)};
  if (host.find_first_of(":[]") != std::string_view::npos) return std::nullopt;
  return Split{host, text.substr(colon + 1)};
}

std::string_view without_brackets(std::string_view text) {
  if (text.starts_with('[')) text.remove_prefix(1);
  if (text.ends_with(']')) text.remove_suffix(1);
  return text;
}

AutoDiscover read_auto_discover(const Environment& environment,
                                std::vector<std::string>& warnings) {
  const auto value = to_lower(unquote(environment.get("SOLLOL_AUTO_DISCOVER").value_or("")));
  const auto is = [&](std::initializer_list<std::string_view> words) {
    return std::ranges::count(words, value) > 0;
  };
  if (is({"false", "0", "no", "off"})) return AutoDiscover::off;
  if (!is({"", "true", "1", "yes", "on"})) {
    warnings.push_back(
        fmt::format("SOLLOL_AUTO_DISCOVER is \"{}\"; write true or false (taken as true)", value));
  }
  return AutoDiscover::on;
}

}  // namespace

EnvironmentNodes nodes_from_environment(const Environment& environment) {
  EnvironmentNodes found;
  const auto keep_or_warn = [&](Result<NodeSpec> node,
                                std::string_view variable) -> std::optional<NodeSpec> {
    if (!node) {
      found.warnings.push_back(fmt::format("{}: {}; ignored", variable, node.error().detail));
      return std::nullopt;
    }
    node->origin = variable;
    return *std::move(node);
  };
  const auto host = environment.get("OLLAMA_HOST");
  if (host && !unquote(*host).empty()) {
    found.ollama_host = keep_or_warn(parse_ollama_host(*host), "OLLAMA_HOST");
  }
  const auto urls = environment.get("OLLAMA_BASE_URLS");
  for (const auto part : split(unquote(urls ? *urls : std::string_view{}), ';')) {
    if (trim(part).empty()) continue;
    auto node = keep_or_warn(parse_node_url(part, MissingPort::web), "OLLAMA_BASE_URLS");
    if (node) found.base_urls.push_back(*std::move(node));
  }
  found.auto_discover = read_auto_discover(environment, found.warnings);
  return found;
}

Result<NodeSpec> parse_ollama_host(std::string_view value) {
  auto rest = unquote(value);
  NodeAddress address;
  if (rest == "ollama.com") rest = "https://ollama.com:443";
  if (const auto mark = rest.find("://"); mark != std::string_view::npos) {
    address.scheme = to_lower(rest.substr(0, mark));
    rest.remove_prefix(mark + 3);
    if (address.scheme != "http" && address.scheme != "https") {
      return std::unexpected(
          bad_input(fmt::format("unknown scheme in \"{}\"; write http:// or https://", value)));
    }
    address.port = address.scheme == "https" ? 443 : 80;
  }
  const auto slash = std::min(rest.find('/'), rest.size());
  address.path_prefix = rest.substr(slash);
  rest = rest.substr(0, slash);
  address.host = without_brackets(rest);
  if (const auto parts = split_host_port(rest)) {
    address.host = parts->host;
    address.port = parse_port(parts->port).value_or(address.port);
  }
  if (address.host.empty()) address.host = "127.0.0.1";
  return make_node(std::move(address));
}

}  // namespace sollol::discovery

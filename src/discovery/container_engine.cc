#include "discovery/container_engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "net/http_call.h"
#include "net/network.h"
#include "net/unix_socket.h"

namespace sollol::discovery {

namespace json = boost::json;

namespace {

constexpr std::size_t name_max = 128;

std::string_view text_in(const json::object& object, std::string_view field) {
  const json::value* value = object.if_contains(field);
  const json::string* text = value == nullptr ? nullptr : value->if_string();
  return text == nullptr ? std::string_view{} : std::string_view(*text);
}

/// A port number, or 0.
std::uint16_t port_in(const json::object& object, std::string_view field) {
  const json::value* value = object.if_contains(field);
  if (value == nullptr || !value->is_number()) return 0;
  json::error_code bad;
  const auto port = value->to_number<std::uint16_t>(bad);
  return bad ? std::uint16_t{0} : port;
}

/// A name that can stand in a log and a table.
std::string plain(std::string_view text) {
  if (text.starts_with('/')) text.remove_prefix(1);  // Docker's names begin with one
  std::string name(text.substr(0, name_max));
  std::ranges::replace_if(name, [](unsigned char c) { return c <= ' ' || c > '~'; }, '?');
  return name;
}

void read_interfaces(const json::object& entry, std::size_t most, Container& into) {
  const auto* settings = entry.if_contains("NetworkSettings");
  const auto* all = settings != nullptr && settings->is_object()
                        ? settings->get_object().if_contains("Networks")
                        : nullptr;
  if (all == nullptr || !all->is_object()) return;
  for (const auto& item : all->get_object()) {
    const json::object* network = item.value().if_object();
    if (network == nullptr) continue;
    for (const std::string_view field : {"IPAddress", "GlobalIPv6Address"}) {
      const std::string_view ip = text_in(*network, field);
      if (net::is_ip(ip) && into.interfaces.size() < most)
        into.interfaces.push_back({std::string(ip), plain(text_in(*network, "MacAddress"))});
    }
  }
}

void read_ports(const json::object& entry, std::size_t most, Container& into) {
  const auto* ports = entry.if_contains("Ports");
  if (ports == nullptr || !ports->is_array()) return;
  for (const json::value& item : ports->get_array()) {
    const json::object* port = item.if_object();
    if (port == nullptr || text_in(*port, "Type") != "tcp") continue;
    const std::string_view told = text_in(*port, "IP");
    Container::Published published{
        .inside = port_in(*port, "PrivatePort"),
        .at = {told.empty() ? "0.0.0.0" : std::string(told), port_in(*port, "PublicPort")}};
    if (published.inside == 0 || published.at.port == 0 || !net::is_ip(published.at.ip)) continue;
    if (into.published.size() < most) into.published.push_back(std::move(published));
  }
}

bool is_loopback(const std::string& ip) { return ip == "::1" || ip.starts_with("127."); }

/// Whether a network of one of our interfaces leads to the address.
bool leads_to(const net::Links& links, const std::string& ip) {
  return std::ranges::any_of(links.addresses, [&](const net::OwnAddress& own) {
    const net::Interface* on = links.interface(own.interface);
    return on != nullptr && on->up && on->kind != net::Interface::Kind::point_to_point &&
           on->kind != net::Interface::Kind::loopback &&
           net::Network::parse(own.network).value().contains(ip);
  });
}

/// The addresses of this machine at which a port that is published at `ip` is open.
std::vector<std::string> own_addresses(const net::Links& links, const std::string& ip,
                                       const ScanOptions& options) {
  const bool everywhere = ip == "0.0.0.0" || ip == "::";
  std::vector<std::string> own;
  const auto offer = [&](const std::string& one) {
    const bool usable = is_loopback(one) ? !options.exclude_localhost : net::is_private(one);
    const bool v4 = !one.contains(':');
    if (usable && v4 && std::ranges::find(own, one) == own.end()) own.push_back(one);
  };
  if (!everywhere) {
    if (links.is_own(ip)) offer(ip);
    return own;
  }
  for (const net::OwnAddress& one : links.addresses) {
    const net::Interface* on = links.interface(one.interface);
    // The bridge's own address is a way for its containers, not for others.
    if (on != nullptr && on->kind == net::Interface::Kind::network && on->up) offer(one.ip);
  }
  offer("127.0.0.1");
  return own;
}

}  // namespace

std::vector<std::string> engine_sockets(const Environment& environment) {
  constexpr std::string_view scheme = "unix://";
  std::vector<std::string> paths;
  const auto add = [&](std::string path) {
    if (std::ranges::find(paths, path) == paths.end()) paths.push_back(std::move(path));
  };
  const std::string named = environment.get("DOCKER_HOST").value_or("");
  if (named.starts_with(scheme)) add(named.substr(scheme.size()));
  add("/var/run/docker.sock");
  const std::string runtime = environment.get("XDG_RUNTIME_DIR").value_or("");
  if (runtime.starts_with('/')) {
    add(runtime + "/docker.sock");
    add(runtime + "/podman/podman.sock");
  }
  add("/run/podman/podman.sock");
  return paths;
}

Result<std::vector<Container>> parse_containers(std::string_view text, const EngineLimits& limits) {
  json::error_code bad;
  const json::value root = json::parse(text, bad);
  if (bad || !root.is_array()) {
    return std::unexpected(
        Error{ErrorKind::bad_reply, Origin::node, Retry::later, "its answer is no list"});
  }
  std::vector<Container> containers;
  for (const json::value& item : root.get_array()) {
    const json::object* entry = item.if_object();
    if (entry == nullptr) continue;
    const std::string_view state = text_in(*entry, "State");
    if (!state.empty() && state != "running") continue;
    if (containers.size() == limits.containers_max) break;
    Container container{
        .id = plain(text_in(*entry, "Id")), .name = {}, .interfaces = {}, .published = {}};
    if (const auto* names = entry->if_contains("Names"); names != nullptr && names->is_array() &&
                                                         !names->get_array().empty() &&
                                                         names->get_array()[0].is_string())
      container.name = plain(names->get_array()[0].get_string());
    if (container.name.empty()) container.name = container.id.substr(0, 12);
    read_interfaces(*entry, limits.addresses_max, container);
    read_ports(*entry, limits.addresses_max, container);
    containers.push_back(std::move(container));
  }
  return containers;
}

net::Task<Result<std::vector<Container>>> list_containers(net::asio::io_context& context,
                                                          net::Scheduler& scheduler,
                                                          std::string socket, TimePoint deadline,
                                                          EngineLimits limits) {
  Result<std::unique_ptr<net::Stream>> stream = net::connect_unix(context, scheduler, socket);
  if (!stream) co_return std::unexpected(stream.error());
  net::HttpScratch scratch;
  net::SimpleRequest request{.target = "/containers/json",
                             .host_field = "localhost",
                             .extra_fields = "Connection: close\r\n",
                             .reply_max = limits.reply_max};
  auto calling = net::call_once(**stream, scratch, std::move(request), deadline);
  const Result<net::SimpleReply> answer = co_await std::move(calling);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->reply.status != 200) {
    co_return std::unexpected(Error{ErrorKind::bad_reply, Origin::node, Retry::later,
                                    fmt::format("it answered {}", answer->reply.status)});
  }
  co_return parse_containers(answer->reply.body, limits);
}

std::vector<ContainerWay> container_ways(const std::vector<Container>& containers,
                                         const net::Links& links, const ScanOptions& options,
                                         const EngineLimits& limits) {
  std::vector<ContainerWay> ways;
  const auto add = [&](ContainerWay way) {
    if (ways.size() < limits.candidates_max) ways.push_back(std::move(way));
  };
  for (const Container& container : containers) {
    for (const std::uint16_t port : options.ports) {
      const std::string key = fmt::format("{}:{}", container.id, port);
      for (const Container::Interface& at : container.interfaces) {
        // Not to be reached unless a network of ours is its network: elsewhere the same address
        // may be somebody else's.
        if (!net::is_private(at.ip) || links.is_own(at.ip) || !leads_to(links, at.ip)) continue;
        add({.address = {at.ip, port}, .name = container.name, .key = key, .mac = at.mac});
      }
      for (const Container::Published& published : container.published) {
        if (published.inside != port) continue;
        for (const std::string& ip : own_addresses(links, published.at.ip, options)) {
          add({.address = {ip, published.at.port},
               .name = container.name,
               .key = key,
               .mac = {},
               .published = true});
        }
      }
    }
  }
  return ways;
}

}  // namespace sollol::discovery

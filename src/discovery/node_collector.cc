#include "discovery/node_collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "net/network.h"

namespace sollol::discovery {

namespace {

std::set<std::pair<std::string, std::string>> store_of(const DiscoveredNode& node) {
  std::set<std::pair<std::string, std::string>> store;
  for (const api::ModelEntry& model : node.models) store.emplace(model.digest, model.modified_at);
  return store;
}

std::set<std::pair<std::string, std::string>> memory_of(const DiscoveredNode& node) {
  std::set<std::pair<std::string, std::string>> memory;
  for (const api::LoadedModel& model : *node.loaded) memory.emplace(model.digest, model.expires_at);
  return memory;
}

/// Whether nothing that they say of themselves tells them apart.
bool may_be_one(const DiscoveredNode& a, const DiscoveredNode& b) {
  if (a.version != b.version) return false;
  if (store_of(a) != store_of(b)) return false;
  return !a.loaded || !b.loaded || memory_of(a) == memory_of(b);
}

void add_sources(DiscoveredNode& known, const DiscoveredNode& fresh) {
  for (const Source source : fresh.sources) {
    if (std::ranges::find(known.sources, source) == known.sources.end())
      known.sources.push_back(source);
  }
}

bool is_loopback(const std::string& ip) { return ip == "::1" || ip.starts_with("127."); }

}  // namespace

NodeCollector::NodeCollector(net::Links links, std::vector<Address> listeners)
    : links_(std::move(links)), listeners_(std::move(listeners)) {}

bool NodeCollector::lacks_mac(const std::string& ip) const {
  return !links_.is_own(ip) && links_.mac_of(ip).empty() && network_of(ip) != ip;
}

void NodeCollector::set_neighbours(std::vector<net::Neighbour> neighbours) {
  links_.neighbours = std::move(neighbours);
}

std::pair<NodeCollector::Outcome, std::size_t> NodeCollector::add(Found found) {
  DiscoveredNode fresh = describe(std::move(found));
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    DiscoveredNode& known = nodes_[i];
    const bool repeated = known.address == fresh.address ||
                          std::ranges::find(known.others, fresh.address) != known.others.end();
    if (repeated) {
      add_sources(known, fresh);
      return {Outcome::known, i};
    }
    if (join(known, fresh)) return {Outcome::known, i};
  }
  nodes_.push_back(std::move(fresh));
  return {Outcome::another, nodes_.size() - 1};
}

/// Makes one node of two when they are one; whether they are.
bool NodeCollector::join(DiscoveredNode& known, DiscoveredNode& fresh) const {
  const std::string reason = reason_same(known, fresh);
  if (reason.empty()) return false;
  if (rank(fresh) < rank(known)) {
    std::swap(known.address, fresh.address);
    std::swap(known.mac, fresh.mac);
    std::swap(known.round_trip, fresh.round_trip);
    std::swap(known.container_network, fresh.container_network);
  }
  known.on_this_machine = known.on_this_machine || fresh.on_this_machine;
  if (known.container.empty()) {
    known.container = fresh.container;
    known.container_key = fresh.container_key;
  }
  add_sources(known, fresh);
  known.others.push_back(fresh.address);
  std::ranges::move(fresh.others, std::back_inserter(known.others));
  known.same.push_back(
      fmt::format("{} is {}: {}", to_string(fresh.address), to_string(known.address), reason));
  return true;
}

void NodeCollector::set_containers(std::vector<ContainerWay> ways) {
  std::ranges::move(ways, std::back_inserter(containers_));
  for (DiscoveredNode& node : nodes_) label(node);
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    for (std::size_t j = i + 1; j < nodes_.size();) {
      const bool one = !nodes_[i].container_key.empty() &&
                       nodes_[i].container_key == nodes_[j].container_key &&
                       join(nodes_[i], nodes_[j]);
      if (one)
        nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(j));
      else
        ++j;
    }
  }
}

/// The container that the node is in, where an engine tells. An address at which a neighbour has
/// another MAC address than the container is somebody else's.
void NodeCollector::label(DiscoveredNode& node) const {
  const auto way = std::ranges::find(containers_, node.address, &ContainerWay::address);
  if (way == containers_.end()) return;
  if (!way->mac.empty() && !node.mac.empty() && way->mac != node.mac) return;
  node.container = way->name;
  node.container_key = way->key;
  node.on_this_machine = true;
}

DiscoveredNode NodeCollector::describe(Found found) const {
  std::string mac(links_.mac_of(found.address.ip));
  DiscoveredNode node{.address = std::move(found.address),
                      .others = {},
                      .same = {},
                      .version = std::move(found.version),
                      .models = std::move(found.models),
                      .loaded = std::move(found.loaded),
                      .container_network = {},
                      .mac = std::move(mac),
                      .sources = {found.source},
                      .round_trip = found.round_trip};
  const std::string& ip = node.address.ip;
  if (!links_.is_own(ip)) node.container_network = links_.container_network(ip);
  node.on_this_machine = links_.is_own(ip) || !node.container_network.empty();
  label(node);
  return node;
}

/// Why both lead to one node; empty when they do not, as far as can be told.
std::string NodeCollector::reason_same(const DiscoveredNode& a, const DiscoveredNode& b) const {
  if (!may_be_one(a, b)) return {};
  if (!a.container_key.empty() && a.container_key == b.container_key)
    return fmt::format("both lead to the container {}, as its engine tells", a.container);
  if (a.address.port != b.address.port) return {};
  const bool own = links_.is_own(a.address.ip) && links_.is_own(b.address.ip);
  if (own && listens_everywhere(a.address.port))
    return fmt::format("port {} is open on all addresses of this machine", a.address.port);
  const bool known_here =
      std::ranges::any_of(listeners_, [&](const Address& at) { return at.port == a.address.port; });
  if (own && known_here) return {};  // each address has a server of its own
  const bool same_mac = !a.mac.empty() && a.mac == b.mac;
  if (a.models.empty()) {
    return same_mac ? fmt::format("same port and MAC address {}", a.mac) : std::string();
  }
  if (same_mac) return fmt::format("same models, port and MAC address {}", a.mac);
  if (network_of(a.address.ip) == network_of(b.address.ip)) return {};
  return "same models, changed in the same nanosecond, and same port, in another network";
}

/// What of several ways is taken: an address that others can use too, then a container's, then
/// loopback.
unsigned NodeCollector::rank(const DiscoveredNode& node) const {
  if (is_loopback(node.address.ip)) return 2;
  return node.container_network.empty() ? 0 : 1;
}

bool NodeCollector::listens_everywhere(std::uint16_t port) const {
  return std::ranges::any_of(listeners_, [port](const Address& at) {
    return at.port == port && (at.ip == "0.0.0.0" || at.ip == "::");
  });
}

/// The network of ours that an address is in; loopback is one, and everything beyond a router.
std::string NodeCollector::network_of(const std::string& ip) const {
  if (is_loopback(ip)) return "loopback";
  for (const net::OwnAddress& own : links_.addresses) {
    if (net::Network::parse(own.network).value().contains(ip)) return own.network;
  }
  // Beyond a router, each address for itself: which of them share a network is not visible here.
  return ip;
}

}  // namespace sollol::discovery

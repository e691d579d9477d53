#include "locality/grouping.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

#include "locality/devices.h"
#include "locality/joiner.h"
#include "locality/signs.h"

namespace sollol::locality {
namespace {

using Kind = EvidenceKind;

/// In which order signs join, and what keeps nodes apart against them. Boot ids stand only against
/// what comes along with a disk image: a report from before a restart may differ for a moment.
struct Step {
  Kind kind;
  std::vector<Kind> apart;
};
const std::vector<Step>& steps() {
  static const std::vector<Step> all = {
      {Kind::operator_host, {}},
      {Kind::machine_id, {Kind::operator_host, Kind::boot_id}},
      {Kind::boot_id, {Kind::operator_host, Kind::machine_id}},
      {Kind::gpu_uuid, {Kind::operator_host, Kind::machine_id}},
      {Kind::address, {Kind::operator_host, Kind::machine_id}},
      {Kind::this_machine, {Kind::operator_host, Kind::machine_id}},
      {Kind::mac, {Kind::operator_host, Kind::machine_id}},
      {Kind::container_network, {Kind::operator_host, Kind::machine_id}},
      {Kind::model_store, {Kind::operator_host, Kind::machine_id, Kind::boot_id}},
      {Kind::contention, {Kind::operator_host, Kind::machine_id}},
  };
  return all;
}

bool measured_together(const Contention& finding) {
  return finding.relation == Relation::same_host || finding.relation == Relation::same_device;
}

/// Equal stores of two nodes that were also measured to slow each other.
std::vector<Sign> corroborated(const std::vector<Sign>& stores, const Measured& measured,
                               const Rules& rules) {
  std::vector<Sign> out;
  for (const auto& store : stores) {
    const std::set<std::size_t> owners(store.nodes.begin(), store.nodes.end());
    for (const auto& [pair, finding] : measured) {
      if (!measured_together(finding) || finding.confidence < rules.corroborates) continue;
      if (!owners.contains(pair.first) || !owners.contains(pair.second)) continue;
      out.push_back({.kind = Kind::model_store,
                     .nodes = {pair.first, pair.second},
                     .text = "one model store, and each was measured to slow the other",
                     .confidence = finding.confidence});
    }
  }
  return out;
}

std::vector<Sign> measured_signs(const Measured& measured, const Rules& rules) {
  std::vector<Sign> out;
  for (const auto& [pair, finding] : measured) {
    if (!measured_together(finding) || finding.confidence < rules.proves) continue;
    out.push_back({.kind = Kind::contention,
                   .nodes = {pair.first, pair.second},
                   .text = "measured: each slows when the other works",
                   .confidence = finding.confidence});
  }
  return out;
}

/// What proves nothing by itself is kept all the same.
void note_hints(const std::vector<Sign>& signs, const Joiner& joiner, std::vector<Evidence>& log) {
  for (const auto& sign : signs) {
    const auto first = sign.nodes.front();
    for (const auto node : sign.nodes) {
      if (node == first) continue;
      const auto standing =
          joiner.root(node) == joiner.root(first) ? Standing::agrees : Standing::hint;
      log.push_back(
          {.kind = sign.kind, .a = first, .b = node, .standing = standing, .text = sign.text});
    }
  }
}

Joiner join_hosts(Nodes nodes, const Measured& measured, const Rules& rules,
                  std::vector<Evidence>& log) {
  std::vector<Labels> labels;
  for (const auto kind : {Kind::operator_host, Kind::machine_id, Kind::boot_id}) {
    labels.push_back(labels_of(kind, Scope::host, nodes));
  }
  Joiner joiner(nodes.size(), std::move(labels), log);
  const auto stores = signs_of(Kind::model_store, nodes);
  for (const auto& step : steps()) {
    const auto signs = step.kind == Kind::model_store  ? corroborated(stores, measured, rules)
                       : step.kind == Kind::contention ? measured_signs(measured, rules)
                                                       : signs_of(step.kind, nodes);
    joiner.join(signs, step.apart);
  }
  note_hints(stores, joiner, log);
  note_hints(signs_of(Kind::hostname, nodes), joiner, log);
  return joiner;
}

std::string least_address(Nodes nodes, const Host& host) {
  std::string least;
  const auto before = [](const std::string& a, const std::string& b) {
    return std::pair(a.size(), a) < std::pair(b.size(), b);  // 10.0.0.9 before 10.0.0.10
  };
  for (const auto node : host.nodes) {
    for (const auto& address : nodes[node].addresses) {
      if (least.empty() || before(address, least)) least = address;
    }
  }
  return least.empty() ? nodes[host.nodes.front()].name : least;
}

/// Whether a loopback address of ours can be the end of a tunnel to another machine: one is.
enum class OwnAddresses : std::uint8_t { certain, doubted };

/// The operator's name, "this machine", the agent's hostname or the least address.
std::string host_name(Nodes nodes, const Host& host, OwnAddresses own) {
  std::string hostname;
  bool here = false;
  for (const auto i : host.nodes) {
    const auto& node = nodes[i];
    if (!node.operator_host.empty()) return node.operator_host;
    here = here || node.on_this_machine || !node.container_network.empty();
    if (hostname.empty() && node.agent) hostname = node.agent->hostname;
  }
  if (own == OwnAddresses::doubted && !hostname.empty()) return hostname;
  return here ? "this machine" : !hostname.empty() ? hostname : least_address(nodes, host);
}

void name_hosts(Nodes nodes, std::vector<Host>& hosts, OwnAddresses own) {
  std::map<std::string, int> uses;
  for (auto& host : hosts) {
    host.id = host_name(nodes, host, own);
    ++uses[host.id];
  }
  // Equal names are told apart by address, and where even that is equal, by a node.
  std::map<std::string, int> longer_uses;
  for (auto& host : hosts) {
    if (uses[host.id] > 1) host.id = fmt::format("{} ({})", host.id, least_address(nodes, host));
    ++longer_uses[host.id];
  }
  for (auto& host : hosts) {
    if (longer_uses[host.id] > 1) host.id += " with " + nodes[host.nodes.front()].name;
  }
}

std::vector<Host> hosts_of(Nodes nodes, const Joiner& joiner, std::span<const Evidence> log) {
  std::map<std::size_t, Host> by_root;  // the least of its nodes: an order of its own
  for (std::size_t i = 0; i < nodes.size(); ++i) by_root[joiner.root(i)].nodes.push_back(i);
  std::vector<Host> hosts;
  hosts.reserve(by_root.size());
  for (auto& [root, host] : by_root) hosts.push_back(std::move(host));
  const bool doubted = std::ranges::any_of(log, [](const Evidence& each) {
    return each.kind == Kind::this_machine && each.standing == Standing::overruled;
  });
  name_hosts(nodes, hosts, doubted ? OwnAddresses::doubted : OwnAddresses::certain);
  return hosts;
}

/// Those of all hosts, less those that measurement ties to one of another host.
std::vector<std::size_t> independent_nodes(const std::vector<Host>& hosts, const Measured& measured,
                                           const Rules& rules) {
  std::map<std::size_t, std::vector<std::size_t>> tied;
  for (const auto& [pair, finding] : measured) {
    if (finding.relation != Relation::same_device || finding.confidence < rules.proves) continue;
    tied[pair.first].push_back(pair.second);
    tied[pair.second].push_back(pair.first);
  }
  std::vector<std::size_t> all;
  for (const auto& host : hosts) {
    all.insert(all.end(), host.independent.begin(), host.independent.end());
  }
  std::ranges::sort(all);
  std::set<std::size_t> taken;
  for (const auto node : all) {
    const auto& others = tied[node];
    if (std::ranges::none_of(others, [&](auto other) { return taken.contains(other); })) {
      taken.insert(node);
    }
  }
  return {taken.begin(), taken.end()};
}

/// From the order that the work was done in to the caller's.
void translate(Grouping& grouping, const std::vector<std::size_t>& order) {
  const auto map = [&](std::vector<std::size_t>& nodes) {
    for (auto& node : nodes) node = order[node];
  };
  for (auto& host : grouping.hosts) {
    map(host.nodes);
    map(host.independent);
    for (auto& device : host.devices) map(device.nodes);
  }
  map(grouping.independent);
  for (auto& evidence : grouping.evidence) {
    evidence.a = order[evidence.a];
    evidence.b = order[evidence.b];
  }
}

}  // namespace

Grouping group(std::span<const NodeFacts> nodes, std::span<const Contention> contention,
               const Rules& rules) {
  std::vector<NodeFacts> sorted;  // lists too, so that equal facts are equal
  for (auto node : nodes) {
    std::ranges::sort(node.addresses);
    std::ranges::sort(node.neighbours);
    std::ranges::sort(node.hostnames);
    std::ranges::sort(node.store);
    if (node.agent) std::ranges::sort(node.agent->gpu_uuids);
    sorted.push_back(std::move(node));
  }
  std::vector<std::size_t> order(nodes.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) {
    return std::tie(sorted[a], a) < std::tie(sorted[b], b);
  });
  std::vector<NodeFacts> ordered;
  ordered.reserve(order.size());
  for (const auto i : order) ordered.push_back(sorted[i]);

  Grouping out;
  const auto measured = measured_pairs(ordered, contention);
  const auto joiner = join_hosts(ordered, measured, rules, out.evidence);
  out.hosts = hosts_of(ordered, joiner, out.evidence);
  find_devices(out.hosts, ordered, measured, rules, out.evidence);
  out.independent = independent_nodes(out.hosts, measured, rules);
  translate(out, order);

  out.names.reserve(nodes.size());
  for (const auto& node : nodes) out.names.push_back(node.name);
  out.places.resize(nodes.size());
  for (std::size_t h = 0; h < out.hosts.size(); ++h) {
    for (std::size_t d = 0; d < out.hosts[h].devices.size(); ++d) {
      for (const auto node : out.hosts[h].devices[d].nodes) out.places[node] = {h, d};
    }
  }
  return out;
}

}  // namespace sollol::locality

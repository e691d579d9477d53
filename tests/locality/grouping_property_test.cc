#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include "locality/partitions.h"

namespace sollol::locality {
namespace {

using Names = std::vector<std::string>;

std::string some(const char* prefix, int values) {
  const auto i = *rc::gen::inRange(0, values + 1);
  return i == 0 ? std::string{} : prefix + std::to_string(i);
}

/// Facts that may contradict each other in every way, drawn from few values so that they do.
NodeFacts any_node(std::string name) {
  NodeFacts node{.name = std::move(name), .port = 11434};
  for (int i = *rc::gen::inRange(0, 3); i > 0; --i)
    node.addresses.push_back("10.0.0." + std::to_string(*rc::gen::inRange(1, 6)));
  node.on_this_machine = *rc::gen::inRange(0, 6) == 0;
  node.operator_host = *rc::gen::inRange(0, 3) == 0 ? some("h", 3) : "";
  node.operator_device = *rc::gen::inRange(0, 3) == 0 ? some("d", 2) : "";
  if (*rc::gen::inRange(0, 3) == 0) {
    node.agent = AgentFacts{.machine_id = some("m", 3), .boot_id = some("k", 4), .hostname = "pc"};
    for (int i = *rc::gen::inRange(0, 3); i > 0; --i)
      node.agent->gpu_uuids.push_back("GPU-" + std::to_string(*rc::gen::inRange(1, 4)));
  }
  if (*rc::gen::arbitrary<bool>())
    node.neighbours = {{some("02:00:00:00:00:0", 3), *rc::gen::inRange(0, 4) == 0}};
  if (*rc::gen::inRange(0, 6) == 0) node.container_network = "docker0";
  if (*rc::gen::arbitrary<bool>()) node.store = {{"d", *rc::gen::inRange(1, 3)}};
  if (*rc::gen::arbitrary<bool>()) node.hostnames = {"pc"};
  return node;
}

std::vector<NodeFacts> any_nodes() {
  std::vector<NodeFacts> nodes;
  for (int i = *rc::gen::inRange(0, 8); i > 0; --i)
    nodes.push_back(any_node("n" + std::to_string(i)));
  return nodes;
}

std::vector<Contention> any_contention(const std::vector<NodeFacts>& nodes) {
  std::vector<Contention> out;
  for (int i = nodes.empty() ? 0 : *rc::gen::inRange(0, 4); i > 0; --i) {
    const auto pick = [&] { return nodes[*rc::gen::inRange<std::size_t>(0, nodes.size())].name; };
    out.push_back({pick(), pick(), static_cast<Relation>(*rc::gen::inRange(0, 4)),
                   *rc::gen::element(0.5, 0.85, 0.99)});
  }
  return out;
}

template <class T>
std::vector<T> shuffled(std::vector<T> values) {
  for (std::size_t i = values.size(); i > 1; --i)
    std::swap(values[i - 1], values[*rc::gen::inRange<std::size_t>(0, i)]);
  return values;
}

/// All that a grouping says, without the order of the facts.
std::multiset<std::string> said(const Grouping& grouping) {
  std::multiset<std::string> out;
  for (const auto& e : grouping.evidence) {
    auto text = grouping.names[e.a] + " " + grouping.names[e.b] + " " + e.text + " " +
                std::string(name(e.standing));
    if (e.overruled_by) text += " by " + grouping.evidence.at(*e.overruled_by).text;
    out.insert(text);
  }
  return out;
}

bool joined(const Grouping& grouping, std::size_t a, std::size_t b) {
  return grouping.places[a].host == grouping.places[b].host;
}

RC_GTEST_PROP(AnyGrouping, DoesNotDependOnTheOrderOfAnything, ()) {
  const auto nodes = any_nodes();
  const auto contention = any_contention(nodes);
  auto others = shuffled(nodes);
  for (auto& node : others) {
    node.addresses = shuffled(node.addresses);
    if (node.agent) node.agent->gpu_uuids = shuffled(node.agent->gpu_uuids);
  }
  const auto one = group(nodes, contention);
  const auto two = group(others, shuffled(contention));
  RC_ASSERT(hosts_of(one) == hosts_of(two));
  RC_ASSERT(devices_of(one) == devices_of(two));
  RC_ASSERT(ids_of(one) == ids_of(two));
  RC_ASSERT(names_of(one, one.independent) == names_of(two, two.independent));
  RC_ASSERT(said(one) == said(two));
}

RC_GTEST_PROP(AnyGrouping, PlacesEveryNodeOnce, ()) {
  const auto nodes = any_nodes();
  const auto got = group(nodes, any_contention(nodes));
  std::vector<int> seen(nodes.size());
  for (std::size_t h = 0; h < got.hosts.size(); ++h) {
    std::size_t of_devices = 0;
    for (const auto& device : got.hosts[h].devices) of_devices += device.nodes.size();
    RC_ASSERT(of_devices == got.hosts[h].nodes.size());
    RC_ASSERT(!got.hosts[h].independent.empty());
    for (const auto node : got.hosts[h].nodes) {
      ++seen[node];
      RC_ASSERT(got.places[node].host == h);
    }
  }
  RC_ASSERT(std::ranges::all_of(seen, [](int n) { return n == 1; }));
  RC_ASSERT(ids_of(got).size() == got.hosts.size());
  RC_ASSERT(nodes.empty() == got.independent.empty());
}

RC_GTEST_PROP(AnyGrouping, NeverJoinsWhatStrongerEvidenceKeepsApart, ()) {
  const auto nodes = any_nodes();
  const auto got = group(nodes, any_contention(nodes));
  for (std::size_t a = 0; a < nodes.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      const auto &x = nodes[a], &y = nodes[b];
      if (!joined(got, a, b) || x.operator_host.empty() || y.operator_host.empty()) continue;
      RC_ASSERT(x.operator_host == y.operator_host);
    }
  }
  // Machine ids are mixed in a host only where the operator said so.
  for (const auto& host : got.hosts) {
    std::set<std::string> ids, words;
    for (const auto i : host.nodes) {
      words.insert(nodes[i].operator_host);
      if (nodes[i].agent && !nodes[i].agent->machine_id.empty())
        ids.insert(nodes[i].agent->machine_id);
    }
    words.erase("");
    RC_ASSERT(ids.size() < 2 || words.size() == 1);
  }
}

RC_GTEST_PROP(AnyGrouping, IsNotSplitByOneNodeMoreUnlessThatOverrulesASign, ()) {
  const auto nodes = any_nodes();
  const auto contention = any_contention(nodes);
  auto more = nodes;
  more.push_back(any_node("new"));
  const auto before = group(nodes, contention);
  const auto after = group(more, contention);
  const auto known = said(before);
  const auto news = said(after);
  const bool overruled = std::ranges::any_of(news, [&](const std::string& piece) {
    return piece.contains(" overruled by ") && !known.contains(piece);
  });
  RC_CLASSIFY(overruled);
  for (std::size_t a = 0; a < nodes.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      if (joined(before, a, b) && !joined(after, a, b)) RC_ASSERT(overruled);
    }
  }
}

/// One node as it would be seen in a network that is as it is: machines with their addresses,
/// interfaces and agents; a router before some; one NFS store for some; equal names; cloned disks.
struct World {
  struct Machine {
    bool routed = false, nfs = false, agent = false, labelled = false, clone = false, own = false;
    std::string id;
  };
  std::vector<Machine> machines;
  std::vector<NodeFacts> nodes;
  std::map<std::string, std::size_t> machine_of;
};

NodeFacts true_node(const World& world, std::size_t m, std::string name) {
  const auto& machine = world.machines[m];
  NodeFacts node{.name = std::move(name)};
  const int interface = *rc::gen::inRange(1, 3);
  node.addresses = {"10." + machine.id + ".0." + std::to_string(interface)};
  if (*rc::gen::inRange(0, 3) == 0) node.addresses.push_back("10." + machine.id + ".0.9");
  node.on_this_machine = machine.own;
  if (machine.routed)
    node.neighbours = {{"02:00:00:00:ff:ff", true}};
  else if (!machine.own)
    node.neighbours = {{"02:00:00:00:0" + machine.id + ":0" + std::to_string(interface), false}};
  if (machine.agent && *rc::gen::arbitrary<bool>())
    node.agent = AgentFacts{.machine_id = machine.clone ? "clone" : "m" + machine.id,
                            .boot_id = "k" + machine.id,
                            .hostname = "ollama"};
  if (machine.labelled && *rc::gen::arbitrary<bool>()) node.operator_host = "host " + machine.id;
  node.store = {{"sha256:a", machine.nfs ? 123 : 1000 + static_cast<int>(m)}};
  node.hostnames = {"ollama"};
  return node;
}

World any_world() {
  World world;
  const int machines = *rc::gen::inRange(1, 5);
  for (int m = 0; m < machines; ++m) {
    const auto coin = [] { return *rc::gen::arbitrary<bool>(); };
    world.machines.push_back(
        {coin(), coin(), coin(), coin(), coin(), m == 0 && coin(), std::to_string(m + 1)});
  }
  for (int i = *rc::gen::inRange(1, 9); i > 0; --i) {
    const auto m = *rc::gen::inRange<std::size_t>(0, world.machines.size());
    const auto name = "n" + std::to_string(i);
    world.nodes.push_back(true_node(world, m, name));
    world.machine_of[name] = m;
  }
  return world;
}

RC_GTEST_PROP(ATruthfulNetwork, NeverHasTwoMachinesTakenForOne, ()) {
  const auto world = any_world();
  const auto got = group(world.nodes, {});
  for (const auto& host : hosts_of(got)) {
    std::set<std::size_t> machines;
    for (const auto& node : host) machines.insert(world.machine_of.at(node));
    RC_ASSERT(machines.size() == 1u);
  }
}

RC_GTEST_PROP(ATruthfulNetwork, IsNeverSplitByOneNodeMore, ()) {
  const auto world = any_world();
  const auto m = *rc::gen::inRange<std::size_t>(0, world.machines.size());
  auto more = world.nodes;
  more.push_back(true_node(world, m, "new"));
  const auto before = group(world.nodes, {});
  const auto after = group(more, {});
  for (std::size_t a = 0; a < world.nodes.size(); ++a) {
    for (std::size_t b = 0; b < a; ++b) RC_ASSERT(!joined(before, a, b) || joined(after, a, b));
  }
}

}  // namespace
}  // namespace sollol::locality

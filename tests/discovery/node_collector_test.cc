#include "discovery/node_collector.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

namespace sollol::discovery {
namespace {

using net::Interface;
using net::Links;

/// Two networks, a container bridge, and loopback.
Links two_networks() {
  Links links;
  links.interfaces = {
      {.index = 1, .name = "lo", .kind = Interface::Kind::loopback, .mac = {}, .up = true},
      {.index = 2, .name = "eth0", .kind = Interface::Kind::network, .mac = {}, .up = true},
      {.index = 3, .name = "eth1", .kind = Interface::Kind::network, .mac = {}, .up = true},
      {.index = 4, .name = "docker0", .kind = Interface::Kind::bridge, .mac = {}, .up = true}};
  links.addresses = {{"127.0.0.1", 8, 1, "127.0.0.0/8"},
                     {"10.1.0.1", 24, 2, "10.1.0.0/24"},
                     {"10.2.0.1", 24, 3, "10.2.0.0/24"},
                     {"172.17.0.1", 16, 4, "172.17.0.0/16"}};
  links.neighbours = {{"10.1.0.8", "02:00:00:00:00:08", 2, false},
                      {"10.1.0.9", "02:00:00:00:00:08", 2, false},
                      {"10.1.0.10", "02:00:00:00:00:10", 2, false}};
  return links;
}

Found node_at(std::string ip, std::string changed = "2026-01-01T00:00:00.123456789Z",
              std::uint16_t port = 11434) {
  Found found{.address = {std::move(ip), port}, .what = Found::What::node, .version = "0.33.0"};
  if (!changed.empty()) {
    api::ModelEntry model;
    model.name = model.key = "m";
    model.digest = "d";
    model.modified_at = std::move(changed);
    found.models.push_back(std::move(model));
  }
  found.loaded.emplace();
  return found;
}

Found with_loaded(Found found, std::string until) {
  api::LoadedModel model;
  model.digest = "d";
  model.expires_at = std::move(until);
  found.loaded->push_back(std::move(model));
  return found;
}

/// How many nodes these are, in whatever order they are found.
std::size_t count(std::vector<Found> found, const std::vector<Address>& listeners = {}) {
  std::set<std::size_t> counts;
  std::vector<std::size_t> order(found.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  do {
    NodeCollector collector(two_networks(), listeners);
    for (const std::size_t i : order) collector.add(found[i]);
    counts.insert(collector.nodes().size());
  } while (std::ranges::next_permutation(order).found);
  EXPECT_EQ(counts.size(), 1u) << "the order must not matter";
  return *counts.begin();
}

TEST(NodeCollector, LocalhostAndOwnAddressesAreOneNodeWherePortIsOpenOnAll) {
  const std::vector<Found> own{node_at("127.0.0.1"), node_at("10.1.0.1"), node_at("10.2.0.1")};
  EXPECT_EQ(count(own, {{"0.0.0.0", 11434}}), 1u);
  EXPECT_EQ(count(own, {{"::", 11434}}), 1u);
  EXPECT_EQ(count(own, {{"127.0.0.1", 11434}, {"10.1.0.1", 11434}, {"10.2.0.1", 11434}}), 3u);
}

TEST(NodeCollector, TheRealAddressIsKept) {
  NodeCollector collector(two_networks(), {{"0.0.0.0", 11434}});
  EXPECT_EQ(collector.add(node_at("127.0.0.1")).first, NodeCollector::Outcome::another);
  EXPECT_EQ(collector.add(node_at("10.1.0.1")).first, NodeCollector::Outcome::known);
  const DiscoveredNode& node = collector.nodes().at(0);
  EXPECT_EQ(node.address.ip, "10.1.0.1");
  EXPECT_EQ(node.others, std::vector<Address>({{"127.0.0.1", 11434}}));
  EXPECT_TRUE(node.on_this_machine);
  ASSERT_EQ(node.same.size(), 1u);
  EXPECT_TRUE(node.same[0].contains("127.0.0.1:11434 is 10.1.0.1:11434"));
}

TEST(NodeCollector, TwoPortsAreTwoNodesWhateverStoreTheyShare) {
  const std::string changed = "2026-01-01T00:00:00.1Z";
  EXPECT_EQ(count({node_at("10.1.0.8", changed), node_at("10.1.0.8", changed, 11435)}), 2u);
}

TEST(NodeCollector, AServerWithTwoInterfacesIsOneNode) {
  EXPECT_EQ(count({node_at("10.1.0.30"), node_at("10.2.0.30")}), 1u);
}

TEST(NodeCollector, TwoMachinesThatShareAStoreAreTwo) {
  EXPECT_EQ(count({node_at("10.1.0.8"), node_at("10.1.0.10")}), 2u);
  // In different networks what is loaded tells them apart.
  EXPECT_EQ(
      count({with_loaded(node_at("10.1.0.30"), "2026-01-01T00:05:00.1Z"), node_at("10.2.0.30")}),
      2u);
  EXPECT_EQ(count({with_loaded(node_at("10.1.0.30"), "2026-01-01T00:05:00.1Z"),
                   with_loaded(node_at("10.2.0.30"), "2026-01-01T00:05:00.1Z")}),
            1u);
}

TEST(NodeCollector, EqualModelsOfDifferentStoresSayNothing) {
  EXPECT_EQ(count({node_at("10.1.0.30"), node_at("10.2.0.30", "2026-01-01T00:00:00.123456780Z")}),
            2u);
}

TEST(NodeCollector, TwoAddressesOfOneCardAreOneNode) {
  EXPECT_EQ(count({node_at("10.1.0.8"), node_at("10.1.0.9")}), 1u);
  EXPECT_EQ(count({node_at("10.1.0.8", ""), node_at("10.1.0.9", "")}), 1u) << "also without models";
  EXPECT_EQ(count({node_at("10.1.0.30", ""), node_at("10.2.0.30", "")}), 2u)
      << "without models and MAC nothing says that they are one";
}

TEST(NodeCollector, ContainersAreOfThisMachineAndTheirOwnNodes) {
  NodeCollector collector(two_networks(), {{"0.0.0.0", 11434}});
  collector.add(node_at("172.17.0.2", "2026-01-01T00:00:00.2Z"));
  collector.add(node_at("172.17.0.3", "2026-01-01T00:00:00.2Z"));  // over one volume
  collector.add(node_at("10.1.0.1", "2026-01-01T00:00:00.3Z"));
  ASSERT_EQ(collector.nodes().size(), 3u);
  EXPECT_EQ(collector.nodes()[0].container_network, "docker0");
  EXPECT_TRUE(collector.nodes()[0].on_this_machine);
}

TEST(NodeCollector, APublishedContainerIsOneNodeUnderTheAddressThatOthersCanUse) {
  NodeCollector collector(two_networks(), {{"0.0.0.0", 11434}});
  collector.add(node_at("172.17.0.2"));
  collector.add(node_at("10.1.0.1"));
  ASSERT_EQ(collector.nodes().size(), 1u);
  EXPECT_EQ(collector.nodes()[0].address.ip, "10.1.0.1");
  EXPECT_EQ(collector.nodes()[0].others.at(0).ip, "172.17.0.2");
}

TEST(NodeCollector, FoundAgainIsNothingNew) {
  NodeCollector collector(two_networks(), {});
  collector.add(node_at("10.1.0.30"));
  collector.add(node_at("10.2.0.30"));
  collector.add(node_at("10.2.0.30"));
  collector.add(node_at("10.1.0.30"));
  ASSERT_EQ(collector.nodes().size(), 1u);
  EXPECT_EQ(collector.nodes()[0].others.size(), 1u);
}

}  // namespace
}  // namespace sollol::discovery

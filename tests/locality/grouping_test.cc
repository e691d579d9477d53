#include "locality/grouping.h"

#include <gtest/gtest.h>

#include <functional>

#include "locality/partitions.h"

namespace sollol::locality {
namespace {

NodeFacts with(NodeFacts node, const std::function<void(NodeFacts&)>& change) {
  change(node);
  return node;
}
NodeFacts here(std::string name, std::string address) {
  return with(at(std::move(name), std::move(address)), [](auto& n) { n.on_this_machine = true; });
}
NodeFacts link(std::string name, std::string address, std::string mac, bool router = false) {
  return with(at(std::move(name), std::move(address)),
              [&](auto& n) { n.neighbours = {{mac, router}}; });
}
NodeFacts agent(NodeFacts node, AgentFacts facts) {
  node.agent = std::move(facts);
  return node;
}
NodeFacts placed(NodeFacts node, std::string host, std::string device = {}) {
  node.operator_host = std::move(host);
  node.operator_device = std::move(device);
  return node;
}
NodeFacts stored(NodeFacts node, std::vector<StoreEntry> store) {
  node.store = std::move(store);
  return node;
}
NodeFacts named(NodeFacts node, std::string hostname) {
  node.hostnames = {std::move(hostname)};
  return node;
}

const std::vector<StoreEntry> store{{"sha256:aa", 1'700'000'000'123'456'789},
                                    {"sha256:bb", 1'700'000'100'987'654'321}};
const std::vector<StoreEntry> whole_seconds{{"sha256:aa", 1'700'000'000'000'000'000}};

struct HostCase {
  const char* name;
  std::vector<NodeFacts> nodes;
  std::vector<Contention> contention;
  Partition want;
};
class Hosts : public testing::TestWithParam<HostCase> {};

TEST_P(Hosts, AreThoseThatTheEvidenceTells) {
  const auto got = group(GetParam().nodes, GetParam().contention);
  EXPECT_EQ(hosts_of(got), GetParam().want);
}

INSTANTIATE_TEST_SUITE_P(
    Together, Hosts,
    testing::Values(
        HostCase{"loopback_and_own_address",
                 {here("a", "127.0.0.1"), here("b", "192.168.1.5")},
                 {},
                 {{"a", "b"}}},
        HostCase{"two_ports_on_one_address",
                 {at("a", "10.0.0.5", 11434), at("b", "10.0.0.5", 11435)},
                 {},
                 {{"a", "b"}}},
        HostCase{"one_address_mapped_into_ipv6",
                 {at("a", "10.0.0.5"), at("b", "::ffff:10.0.0.5")},
                 {},
                 {{"a", "b"}}},
        HostCase{"two_addresses_on_one_interface",
                 {link("a", "10.0.0.5", "02:AA:00:00:00:01"),
                  link("b", "10.0.0.6", "02:aa:00:00:00:01")},
                 {},
                 {{"a", "b"}}},
        HostCase{"chained_by_a_node_with_two_addresses",
                 {at("a", "10.0.0.5"),
                  {.name = "b", .addresses = {"10.0.0.5", "10.1.0.5"}},
                  at("c", "10.1.0.5")},
                 {},
                 {{"a", "b", "c"}}},
        HostCase{"containers_on_one_bridge",
                 {with(at("a", "172.17.0.2"), [](auto& n) { n.container_network = "docker0"; }),
                  with(at("b", "172.17.0.3"), [](auto& n) { n.container_network = "docker0"; })},
                 {},
                 {{"a", "b"}}},
        HostCase{"a_container_and_this_machine",
                 {with(at("a", "172.17.0.2"), [](auto& n) { n.container_network = "docker0"; }),
                  here("b", "127.0.0.1")},
                 {},
                 {{"a", "b"}}},
        HostCase{"one_machine_id",
                 {agent(at("a", "10.0.0.5"), {.machine_id = "m1"}),
                  agent(at("b", "10.9.0.5"), {.machine_id = "M1"})},
                 {},
                 {{"a", "b"}}},
        HostCase{"one_running_kernel",
                 {agent(at("a", "10.0.0.5"), {.boot_id = "k1"}),
                  agent(at("b", "10.9.0.5"), {.boot_id = "k1"})},
                 {},
                 {{"a", "b"}}},
        HostCase{"one_gpu",
                 {agent(at("a", "10.0.0.5"), {.gpu_uuids = {"GPU-1"}}),
                  agent(at("b", "10.9.0.5"), {.gpu_uuids = {"GPU-1", "GPU-2"}})},
                 {},
                 {{"a", "b"}}},
        HostCase{"the_operator_says_so",
                 {placed(at("a", "10.0.0.5"), "desk"), placed(at("b", "10.9.0.5"), "desk")},
                 {},
                 {{"a", "b"}}},
        HostCase{"the_operator_against_two_machine_ids",
                 {placed(agent(at("a", "10.0.0.5"), {.machine_id = "m1"}), "desk"),
                  placed(agent(at("b", "10.9.0.5"), {.machine_id = "m2"}), "desk")},
                 {},
                 {{"a", "b"}}},
        HostCase{"one_store_and_slowing_each_other",
                 {stored(at("a", "10.0.0.5"), store), stored(at("b", "10.9.0.5"), store)},
                 {{"a", "b", Relation::same_device, 0.9}},
                 {{"a", "b"}}},
        HostCase{"measured_to_slow_each_other",
                 {at("a", "10.0.0.5"), at("b", "10.9.0.5")},
                 {{"b", "a", Relation::same_host, 0.99}},
                 {{"a", "b"}}},
        HostCase{"measured_apart_on_one_machine",
                 {at("a", "10.0.0.5", 1), at("b", "10.0.0.5", 2)},
                 {{"a", "b", Relation::independent, 0.99}},
                 {{"a", "b"}}}),
    [](const auto& row) { return std::string(row.param.name); });

INSTANTIATE_TEST_SUITE_P(
    Apart, Hosts,
    testing::Values(
        HostCase{"no_evidence", {at("a", "10.0.0.5"), at("b", "10.0.0.6")}, {}, {{"a"}, {"b"}}},
        HostCase{"two_machines_behind_one_router",
                 {link("a", "10.5.0.1", "02:aa:00:00:00:01", true),
                  link("b", "10.5.0.2", "02:aa:00:00:00:01", true)},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"an_undeclared_router_with_agents_behind_it",
                 {agent(link("a", "10.5.0.1", "02:aa:00:00:00:01"), {.machine_id = "m1"}),
                  agent(link("b", "10.5.0.2", "02:aa:00:00:00:01"), {.machine_id = "m2"}),
                  link("c", "10.5.0.3", "02:aa:00:00:00:01")},
                 {},
                 {{"a"}, {"b"}, {"c"}}},
        HostCase{"the_mac_of_a_virtual_router",
                 {link("a", "10.5.0.1", "00:00:5e:00:01:07"),
                  link("b", "10.5.0.2", "00:00:5e:00:01:07")},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"ports_forwarded_to_two_machines_with_agents",
                 {agent(at("a", "10.0.0.1", 11434), {.machine_id = "m1"}),
                  agent(at("b", "10.0.0.1", 11435), {.machine_id = "m2"})},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"a_tunnel_ends_on_loopback",
                 {agent(here("a", "127.0.0.1"), {.machine_id = "m1"}),
                  agent(here("b", "127.0.0.1"), {.machine_id = "m2"})},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"one_nfs_store",
                 {stored(link("a", "10.0.0.5", "02:aa:00:00:00:01"), store),
                  stored(link("b", "10.0.0.6", "02:aa:00:00:00:02"), store)},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"one_nfs_store_and_weak_contention",
                 {stored(at("a", "10.0.0.5"), store), stored(at("b", "10.0.0.6"), store)},
                 {{"a", "b", Relation::same_device, 0.7}},
                 {{"a"}, {"b"}}},
        HostCase{"models_of_one_image",
                 {stored(at("a", "10.0.0.5"), whole_seconds),
                  stored(at("b", "10.0.0.6"), whole_seconds)},
                 {{"a", "b", Relation::same_device, 0.9}},
                 {{"a"}, {"b"}}},
        HostCase{"equal_hostnames",
                 {agent(named(at("a", "10.0.0.5"), "ollama"), {.hostname = "ollama"}),
                  agent(named(at("b", "10.0.0.6"), "Ollama."), {.hostname = "ollama"})},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{
            "cloned_disks",
            {stored(named(agent(at("a", "10.0.0.5"), {.machine_id = "m1", .boot_id = "k1"}), "vm"),
                    store),
             stored(named(agent(at("b", "10.0.0.6"), {.machine_id = "m1", .boot_id = "k2"}), "vm"),
                    store)},
            {{"a", "b", Relation::same_host, 0.9}},
            {{"a"}, {"b"}}},
        HostCase{"the_operator_against_one_machine_id",
                 {placed(agent(at("a", "10.0.0.5"), {.machine_id = "m1"}), "left"),
                  placed(agent(at("b", "10.0.0.5"), {.machine_id = "m1"}), "right")},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{
            "two_machine_ids_against_all_weaker_signs",
            {agent(stored(link("a", "10.0.0.5", "02:aa:00:00:00:01"), store), {.machine_id = "m1"}),
             agent(stored(link("b", "10.0.0.5", "02:aa:00:00:00:01"), store),
                   {.machine_id = "m2"})},
            {{"a", "b", Relation::same_device, 1}},
            {{"a"}, {"b"}}},
        HostCase{"a_chain_between_what_the_operator_keeps_apart",
                 {placed(at("a", "10.0.0.5"), "left"),
                  placed(at("c", "10.1.0.5"), "right"),
                  {.name = "b", .addresses = {"10.0.0.5", "10.1.0.5"}}},
                 {},
                 {{"a"}, {"b"}, {"c"}}},
        HostCase{"link_local_addresses_of_no_interface",
                 {at("a", "fe80::1"), at("b", "fe80::1")},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"placeholders_of_agents",
                 {agent(at("a", "10.0.0.5"), {.machine_id = "000", .gpu_uuids = {"0"}}),
                  agent(at("b", "10.0.0.6"), {.machine_id = "000", .gpu_uuids = {"0"}})},
                 {},
                 {{"a"}, {"b"}}},
        HostCase{"one_device_name_on_two_hosts",
                 {placed(at("a", "10.0.0.5"), "", "gpu0"), placed(at("b", "10.0.0.6"), "", "gpu0")},
                 {},
                 {{"a"}, {"b"}}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Devices, AreOneWithoutEvidence) {
  const std::vector nodes{at("a", "10.0.0.5", 1), at("b", "10.0.0.5", 2)};
  const auto got = group(nodes, {});
  EXPECT_EQ(devices_of(got), (Partition{{"a", "b"}}));
  EXPECT_FALSE(got.hosts[0].devices[0].known);
  EXPECT_EQ(got.independent.size(), 1u);
}

TEST(Devices, AreToldByTheGpusOfAgents) {
  const std::vector nodes{
      agent(at("a", "10.0.0.5", 1), {.machine_id = "m", .gpu_uuids = {"GPU-0"}}),
      agent(at("b", "10.0.0.5", 2), {.machine_id = "m", .gpu_uuids = {"GPU-1"}}),
      agent(at("c", "10.0.0.5", 3), {.machine_id = "m", .gpu_uuids = {"GPU-1"}}),
      at("d", "10.0.0.5", 4)};
  const auto got = group(nodes, {});
  EXPECT_EQ(devices_of(got), (Partition{{"a"}, {"b", "c"}, {"d"}}));
  EXPECT_EQ(got.independent.size(), 2u);
}

TEST(Devices, OfANodeOnTwoGpusDoNotHideThatOthersAreIndependent) {
  const std::vector nodes{agent(at("both", "10.0.0.5", 1), {.gpu_uuids = {"GPU-0", "GPU-1"}}),
                          agent(at("first", "10.0.0.5", 2), {.gpu_uuids = {"GPU-0"}}),
                          agent(at("second", "10.0.0.5", 3), {.gpu_uuids = {"GPU-1"}})};
  const auto got = group(nodes, {});
  EXPECT_EQ(devices_of(got), (Partition{{"both", "first", "second"}}));
  EXPECT_EQ(names_of(got, got.independent), (std::set<std::string>{"first", "second"}));
}

TEST(Devices, OfTheOperatorStandAgainstAgents) {
  const std::vector nodes{
      placed(agent(at("a", "10.0.0.5", 1), {.gpu_uuids = {"GPU-0"}}), "", "top"),
      placed(agent(at("b", "10.0.0.5", 2), {.gpu_uuids = {"GPU-0"}}), "", "bottom")};
  const auto got = group(nodes, {});
  EXPECT_EQ(devices_of(got), (Partition{{"a"}, {"b"}}));
  EXPECT_EQ(got.independent.size(), 2u);
}

TEST(Devices, AreToldByMeasurementThroughThirdNodes) {
  const std::vector nodes{at("a", "10.0.0.5", 1), at("b", "10.0.0.5", 2), at("c", "10.0.0.5", 3)};
  const std::vector<Contention> measured{{"a", "b", Relation::same_device, 0.99},
                                         {"b", "c", Relation::same_host, 0.99}};
  const auto got = group(nodes, measured);
  EXPECT_EQ(devices_of(got), (Partition{{"a", "b"}, {"c"}}));
  EXPECT_EQ(got.independent.size(), 2u);
}

TEST(Devices, MeasuredAsOneCountOnceWhateverWasSaid) {
  const std::vector nodes{placed(at("a", "10.0.0.5"), "h", "gpu0"),
                          placed(at("b", "10.0.0.6"), "h", "gpu1"),
                          placed(at("c", "10.0.0.7"), "other")};
  const auto got = group(nodes, std::vector<Contention>{{"a", "b", Relation::same_device, 0.99},
                                                        {"b", "c", Relation::same_device, 0.99}});
  EXPECT_EQ(devices_of(got), (Partition{{"a"}, {"b"}, {"c"}}));
  EXPECT_EQ(hosts_of(got), (Partition{{"a", "b"}, {"c"}}));
  EXPECT_EQ(names_of(got, got.independent).size(), 2u);  // a and c, b slows both
}

TEST(HostIds, AreReadableAndUnique) {
  EXPECT_EQ(ids_of(group(std::vector{here("a", "127.0.0.1"), at("b", "10.0.0.9"),
                                     placed(at("c", "10.0.0.10"), "rack")},
                         {})),
            (std::set<std::string>{"this machine", "10.0.0.9", "rack"}));
  EXPECT_EQ(ids_of(group(std::vector{agent(at("a", "10.0.0.5"), {.hostname = "gpu"}),
                                     agent(at("b", "10.0.0.6"), {.hostname = "gpu"})},
                         {})),
            (std::set<std::string>{"gpu (10.0.0.5)", "gpu (10.0.0.6)"}));
  EXPECT_EQ(ids_of(group(
                std::vector{agent(here("a", "127.0.0.1"), {.machine_id = "1", .hostname = "me"}),
                            agent(here("b", "127.0.0.1"), {.machine_id = "2", .hostname = "far"})},
                {})),
            (std::set<std::string>{"me", "far"}));
}

TEST(TheEvidence, SaysByWhatASignWasOverruled) {
  const std::vector nodes{agent(at("a", "10.0.0.1", 1), {.machine_id = "m1"}),
                          agent(at("b", "10.0.0.1", 2), {.machine_id = "m2"})};
  const auto got = group(nodes, {});
  ASSERT_EQ(got.evidence.size(), 2u);
  const auto overruled = std::ranges::find(got.evidence, Standing::overruled, &Evidence::standing);
  ASSERT_NE(overruled, got.evidence.end());
  EXPECT_EQ(overruled->kind, EvidenceKind::address);
  ASSERT_TRUE(overruled->overruled_by.has_value());
  const auto& by = got.evidence.at(*overruled->overruled_by);
  EXPECT_EQ(by.kind, EvidenceKind::machine_id);
  EXPECT_EQ(by.standing, Standing::separates);
  EXPECT_EQ(by.text, "their agents tell the machine ids m1 and m2");
}

TEST(TheEvidence, KeepsWhatOnlyHints) {
  const auto got =
      group(std::vector{named(at("a", "10.0.0.5"), "pc"), named(at("b", "10.0.0.6"), "pc")}, {});
  ASSERT_EQ(got.evidence.size(), 1u);
  EXPECT_EQ(got.evidence[0].kind, EvidenceKind::hostname);
  EXPECT_EQ(got.evidence[0].standing, Standing::hint);
}

TEST(TheEvidence, OfAThousandNodesOnOneMachineIsBoundedByTheNodes) {
  std::vector<NodeFacts> nodes;
  for (int i = 0; i < 1000; ++i) nodes.push_back(here(std::to_string(i), "127.0.0.1"));
  const auto got = group(nodes, {});
  EXPECT_EQ(got.hosts.size(), 1u);
  EXPECT_LE(got.evidence.size(), 2u * 999u);
}

}  // namespace
}  // namespace sollol::locality

#include "locality/advice.h"

#include <gtest/gtest.h>

#include "locality/explain.h"
#include "locality/partitions.h"

namespace sollol::locality {
namespace {

NodeFacts on(std::string name, std::string host, std::string device = {}) {
  auto node = at(std::move(name), "10.0.0.1");
  node.addresses.clear();
  node.operator_host = std::move(host);
  node.operator_device = std::move(device);
  return node;
}

struct AdviceCase {
  const char* name;
  std::vector<NodeFacts> nodes;
  std::vector<Contention> contention;
  std::size_t tasks, hosts;
  bool parallel;
  std::size_t width;
  const char* reason;
};
class Advise : public testing::TestWithParam<AdviceCase> {};

TEST_P(Advise, FollowsTheMachinesAndWhatWasMeasured) {
  const auto& row = GetParam();
  const auto grouping = group(row.nodes, row.contention);
  const auto got = advise(grouping, row.tasks);
  EXPECT_EQ(count_unique_physical_hosts(grouping), row.hosts);
  EXPECT_EQ(got.parallel, row.parallel);
  EXPECT_EQ(should_use_parallel_execution(grouping, row.tasks), row.parallel);
  EXPECT_EQ(got.width, row.width);
  EXPECT_EQ(got.reason, row.reason);
}

INSTANTIATE_TEST_SUITE_P(
    Table, Advise,
    testing::Values(
        AdviceCase{"no_node", {}, {}, 5, 0, false, 0, "there is no node"},
        AdviceCase{"no_task", {on("a", "x"), on("b", "y")}, {}, 0, 2, false, 1, "there is no task"},
        AdviceCase{
            "one_task", {on("a", "x"), on("b", "y")}, {}, 1, 2, false, 1, "there is one task"},
        AdviceCase{"one_node", {on("a", "x")}, {}, 9, 1, false, 1, "there is one node"},
        AdviceCase{
            "one_machine",
            {on("a", "x"), on("b", "x")},
            {},
            9,
            1,
            false,
            1,
            "all 2 nodes are on one machine (x) and nothing tells that they have a device each"},
        AdviceCase{"one_device",
                   {on("a", "x", "d"), on("b", "x", "d")},
                   {},
                   9,
                   1,
                   false,
                   1,
                   "all 2 nodes are on one machine (x) and share one device"},
        AdviceCase{"two_machines",
                   {on("a", "x"), on("b", "y"), on("c", "y")},
                   {},
                   9,
                   2,
                   true,
                   2,
                   "9 tasks over 2 machines: 2 at once"},
        AdviceCase{"fewer_tasks_than_machines",
                   {on("a", "x"), on("b", "y"), on("c", "z")},
                   {},
                   2,
                   3,
                   true,
                   2,
                   "2 tasks over 3 machines: 2 at once"},
        AdviceCase{"two_devices",
                   {on("a", "x", "d"), on("b", "x", "e")},
                   {},
                   9,
                   1,
                   true,
                   2,
                   "9 tasks over one machine with 2 independent devices: 2 at once"},
        AdviceCase{"two_devices_measured",
                   {on("a", "x"), on("b", "x")},
                   {{"a", "b", Relation::independent, 0.99}},
                   9,
                   1,
                   true,
                   2,
                   "9 tasks over one machine with 2 independent devices: 2 at once"},
        AdviceCase{
            "two_devices_measured_as_one",
            {on("a", "x", "d"), on("b", "x", "e")},
            {{"a", "b", Relation::same_device, 0.99}},
            9,
            1,
            false,
            1,
            "all 2 nodes are on one machine (x) and nothing tells that they have a device each"},
        AdviceCase{
            "two_machines_measured_as_one",
            {on("a", "x"), on("b", "y")},
            {{"a", "b", Relation::same_device, 0.99}},
            9,
            2,
            false,
            1,
            "the 2 nodes are on 2 machines by other evidence, but were measured to slow each "
            "other as on one device"},
        AdviceCase{"an_unsure_measurement",
                   {on("a", "x"), on("b", "y")},
                   {{"a", "b", Relation::same_device, 0.9}},
                   9,
                   2,
                   true,
                   2,
                   "9 tasks over 2 machines: 2 at once"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Explain, PrintsMachinesNodesEvidenceAndAdvice) {
  const std::vector nodes{on("a", "x", "gpu0"), on("b", "x", "gpu1"), at("c", "10.0.0.7", 1),
                          at("d", "10.0.0.7", 2)};
  const auto grouping = group(nodes, {});
  EXPECT_EQ(explain(grouping, advise(grouping, 8)),
            "2 machines, 4 nodes\n"
            "\n"
            "x: 2 nodes, 2 of them independent\n"
            "  device gpu0: a\n"
            "  device gpu1: b\n"
            "\n"
            "10.0.0.7: 2 nodes\n"
            "  device unknown: c, d\n"
            "\n"
            "evidence\n"
            "  a, b: the configuration puts both on host x (operator_host, joins)\n"
            "  c, d: both are at 10.0.0.7 (address, joins)\n"
            "\n"
            "parallel: 8 tasks over 2 machines with 3 independent devices: 3 at once\n");
}

TEST(Explain, SaysWhatOverruledASign) {
  std::vector nodes{at("a", "10.0.0.1", 1), at("b", "10.0.0.1", 2)};
  nodes[0].operator_host = "left";
  nodes[1].operator_host = "right";
  const auto grouping = group(nodes, {});
  EXPECT_NE(explain(grouping, advise(grouping, 2))
                .find("a, b: both are at 10.0.0.1 (address, overruled by operator_host of a, b)"),
            std::string::npos);
}

}  // namespace
}  // namespace sollol::locality

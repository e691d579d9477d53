#include "discovery/scan_plan.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>
#include <set>

namespace sollol::discovery {
namespace {

using net::Interface;
using net::Links;

/// A machine with one interface of each kind, addressed by the test.
struct Machine {
  Links links;
  unsigned add(std::string name, Interface::Kind kind, const std::string& ip, unsigned bits,
               const std::string& network, bool up = true) {
    const auto index = static_cast<unsigned>(links.interfaces.size() + 1);
    links.interfaces.push_back(
        {.index = index, .name = std::move(name), .kind = kind, .mac = {}, .up = up});
    links.addresses.push_back({ip, bits, index, network});
    return index;
  }
  Machine() { add("lo", Interface::Kind::loopback, "127.0.0.1", 8, "127.0.0.0/8"); }
  ScanPlan plan(const ScanOptions& options = {}) const { return plan_scan(links, options).value(); }
};

std::vector<std::string> addresses(const ScanPlan& plan) {
  std::vector<std::string> all;
  PlanCursor cursor(plan);
  while (auto next = cursor.next()) all.push_back(*next);
  return all;
}

std::string reason_for(const ScanPlan& plan, std::string_view network) {
  for (const SkippedRange& skipped : plan.skipped)
    if (skipped.network.starts_with(network)) return skipped.reason;
  return {};
}

TEST(ScanPlan, TriesThisMachineItsNeighboursAndThenItsNetwork) {
  Machine machine;
  const unsigned eth =
      machine.add("eth0", Interface::Kind::network, "192.168.1.5", 24, "192.168.1.0/24");
  machine.links.neighbours = {{"192.168.1.77", "02:00:00:00:00:77", eth, false}};
  const auto all = addresses(machine.plan());
  ASSERT_EQ(all.size(), 255u);  // 254 hosts and 127.0.0.1
  EXPECT_EQ(std::set<std::string>(all.begin(), all.begin() + 3),
            (std::set<std::string>{"127.0.0.1", "192.168.1.5", "192.168.1.77"}));
  EXPECT_EQ(std::set<std::string>(all.begin(), all.end()).size(), all.size());
  EXPECT_TRUE(std::ranges::find(all, "192.168.1.0") == all.end());
  EXPECT_TRUE(std::ranges::find(all, "192.168.1.255") == all.end());
}

TEST(ScanPlan, SkipsWhatIsNobodysNeighbourhoodAndSaysWhy) {
  Machine machine;
  machine.add("wg0", Interface::Kind::point_to_point, "10.8.0.2", 24, "10.8.0.0/24");
  machine.add("eth0", Interface::Kind::network, "203.0.113.5", 24, "203.0.113.0/24");
  machine.add("eth1", Interface::Kind::network, "10.0.0.5", 8, "10.0.0.0/8");
  machine.add("eth2", Interface::Kind::network, "192.168.9.5", 24, "192.168.9.0/24", false);
  const ScanPlan plan = machine.plan();
  EXPECT_TRUE(plan.ranges.empty());
  EXPECT_TRUE(reason_for(plan, "10.8.0.0/24").contains("tunnel"));
  EXPECT_TRUE(reason_for(plan, "203.0.113.0/24").contains("public"));
  EXPECT_TRUE(reason_for(plan, "10.0.0.0/8").contains("16777214 addresses"));
  EXPECT_TRUE(reason_for(plan, "192.168.9.0/24").contains("down"));
  EXPECT_TRUE(reason_for(plan, "127.0.0.0/8").empty());
  EXPECT_FALSE(plan.contains("203.0.113.5")) << "not even our own public address";
}

TEST(ScanPlan, NeighboursOfAWideNetworkAreTriedNevertheless) {
  Machine machine;
  const unsigned eth = machine.add("eth0", Interface::Kind::network, "10.0.0.5", 8, "10.0.0.0/8");
  machine.links.neighbours = {{"10.1.2.3", "02:00:00:00:00:03", eth, false},
                              {"198.51.100.7", "02:00:00:00:00:07", eth, false}};
  const ScanPlan plan = machine.plan();
  EXPECT_TRUE(plan.contains("10.1.2.3"));
  EXPECT_FALSE(plan.contains("198.51.100.7")) << "public";
}

TEST(ScanPlan, TheWidestNetworkThatIsScannedUnasked) {
  Machine machine;
  machine.add("eth0", Interface::Kind::network, "10.0.16.5", 20, "10.0.16.0/20");
  machine.add("eth1", Interface::Kind::network, "10.1.0.5", 19, "10.1.0.0/19");
  const ScanPlan plan = machine.plan();
  ASSERT_EQ(plan.ranges.size(), 1u);
  EXPECT_EQ(plan.ranges[0].last - plan.ranges[0].first + 1, 4094u);
  EXPECT_FALSE(reason_for(plan, "10.1.0.0/19").empty());
}

TEST(ScanPlan, ContainersAreLookedForWhereTheyAreNumberedFrom) {
  Machine machine;
  machine.add("docker0", Interface::Kind::bridge, "172.17.0.1", 16, "172.17.0.0/16");
  machine.add("veth1", Interface::Kind::inner, "169.254.1.1", 16, "169.254.0.0/16");
  const ScanPlan plan = machine.plan();
  ASSERT_EQ(plan.ranges.size(), 1u);
  EXPECT_EQ(plan.ranges[0].network, "172.17.0.0/24");
  EXPECT_EQ(plan.ranges[0].source, "docker0");
}

TEST(ScanPlan, ANetworkWithTwoInterfacesIsScannedOnce) {
  Machine machine;
  machine.add("eth0", Interface::Kind::network, "192.168.1.5", 24, "192.168.1.0/24");
  machine.add("wlan0", Interface::Kind::network, "192.168.1.6", 24, "192.168.1.0/24");
  EXPECT_EQ(machine.plan().ranges.size(), 1u);
}

TEST(ScanPlan, NamedSubnetsAloneAreTried) {
  Machine machine;
  const unsigned eth =
      machine.add("eth0", Interface::Kind::network, "192.168.1.5", 24, "192.168.1.0/24");
  machine.links.neighbours = {{"192.168.1.77", "02:00:00:00:00:77", eth, false}};
  ScanOptions options;
  options.subnets = {"127.0.9.0/30", "10.3.0.7"};
  EXPECT_EQ(addresses(machine.plan(options)),
            (std::vector<std::string>{"127.0.9.1", "127.0.9.2", "10.3.0.7"}));
}

struct BadSubnet {
  const char* text;
  const char* says;
};
class BadSubnets : public testing::TestWithParam<BadSubnet> {};

TEST_P(BadSubnets, AreRefusedWithTheMend) {
  ScanOptions options;
  options.subnets = {GetParam().text};
  const auto plan = plan_scan(Machine().links, options);
  ASSERT_FALSE(plan);
  EXPECT_EQ(plan.error().kind, ErrorKind::bad_input);
  EXPECT_TRUE(plan.error().detail.contains(GetParam().says)) << plan.error().detail;
  EXPECT_TRUE(plan.error().detail.contains(GetParam().text));
}

INSTANTIATE_TEST_SUITE_P(All, BadSubnets,
                         testing::Values(BadSubnet{"8.8.8.0/24", "public"},
                                         BadSubnet{"192.168.1.0/15", "private network"},
                                         BadSubnet{"10.0.0.0/8", "more than 1048576 addresses"},
                                         BadSubnet{"hello", "write it as"},
                                         BadSubnet{"fd00::/64", "no IPv4 network"},
                                         BadSubnet{"10.0.0.0/33", "write it as"},
                                         BadSubnet{"", "write it as"}));

TEST(ScanPlan, KnowsWhereTheKernelLooksForNeighboursAndHowManyItHasRoomFor) {
  Machine machine;
  const unsigned eth = machine.add("eth0", Interface::Kind::network, "10.1.0.5", 20, "10.1.0.0/20");
  machine.add("wg0", Interface::Kind::point_to_point, "10.8.0.2", 24, "10.8.0.0/24");
  const ScanPlan empty = machine.plan();
  EXPECT_TRUE(empty.on_link("10.1.15.7"));
  EXPECT_FALSE(empty.on_link("10.8.0.9"));
  EXPECT_FALSE(empty.on_link("127.0.0.1"));
  EXPECT_FALSE(empty.on_link("10.9.0.1"));
  EXPECT_EQ(empty.neighbours_max, neighbours_at_once_max);
  for (unsigned i = 1; i <= 2000; ++i) {
    machine.links.neighbours.push_back(
        {"10.1." + std::to_string(i / 250) + "." + std::to_string(i % 250 + 1), "02::", eth,
         false});
    if (i == 300) {
      EXPECT_EQ(machine.plan().neighbours_max, neighbours_at_once_max - 300);
    }
  }
  EXPECT_EQ(machine.plan().neighbours_max, neighbours_at_once_min);
}

TEST(ScanPlan, EachAddressIsTriedOnceHoweverRangesOverlap) {
  ASSERT_TRUE(rc::check([] {
    ScanOptions options;
    const auto count = *rc::gen::inRange(1, 5);
    for (int i = 0; i < count; ++i) {
      options.subnets.push_back("10.0." + std::to_string(*rc::gen::inRange(0, 3)) + "." +
                                std::to_string(*rc::gen::inRange(0, 256)) + "/" +
                                std::to_string(*rc::gen::inRange(22, 33)));
    }
    const auto plan = plan_scan(Machine().links, options);
    RC_ASSERT(plan.has_value());
    const auto all = addresses(*plan);
    RC_ASSERT(std::set<std::string>(all.begin(), all.end()).size() == all.size());
    for (const std::string& address : all) RC_ASSERT(plan->contains(address));
  }));
}

}  // namespace
}  // namespace sollol::discovery

#include "cluster/place.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "cluster/cluster.h"
#include "cluster/learn.h"

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint t0{1000h};
constexpr std::uint32_t any_number = 1000;

/// "a" has two models; "b" is on its device, "c" on another of its machine.
struct Machine : testing::Test {
  Cluster cluster{HealthOptions{}};

  Machine() {
    std::map<NodeId, NodePlace> places;
    for (const std::string name : {"a", "b", "c"}) {
      NodeInfo info;
      info.name = info.host = name;
      info.url = "http://" + name;
      const NodeId id = cluster.add(info).value();
      cluster.set_models(id, {{"m", "m", "d1", 1'000'000'000}, {"n", "n", "d2", 1'000'000'000}});
      places.emplace(id, NodePlace{"desk", name == "c" ? "gpu1" : "gpu0"});
    }
    cluster.set_places(places);
  }
  const Node& node(std::size_t index) { return cluster.snapshot()->nodes[index]; }
  ReplicaLive* replica(std::size_t node, const char* key = "m") {
    return cluster.snapshot()->find_model(key)->replicas.at(node).live.get();
  }
};

TEST_F(Machine, TellsWhoRanBesideARequestAndHowLong) {
  const auto own = enter(node(0), replica(0), any_number, {}, t0);
  const auto batch = enter(node(0), replica(0), any_number, {}, t0 + 1s);
  const auto other = enter(node(0), replica(0, "n"), any_number, {}, t0 + 2s);
  const auto device = enter(node(1), replica(1), any_number, {}, t0 + 3s);
  const auto elsewhere = enter(node(2), replica(2), any_number, {}, t0 + 4s);
  ASSERT_TRUE(own && batch && other && device && elsewhere);
  EXPECT_EQ(own->company.neighbours(), 0);
  EXPECT_EQ(elsewhere->company.device, 0);
  EXPECT_EQ(elsewhere->company.machine, 4);
  leave(node(0), replica(0), *batch, t0 + 6s);
  leave(node(2), replica(2), *elsewhere, t0 + 8s);
  const Company company = leave(node(0), replica(0), *own, t0 + 10s);
  EXPECT_DOUBLE_EQ(company.streams, 1.5);
  EXPECT_DOUBLE_EQ(company.others, 0.8);
  EXPECT_DOUBLE_EQ(company.device, 0.7);
  EXPECT_DOUBLE_EQ(company.machine, 0.4);
  EXPECT_DOUBLE_EQ(company.neighbours(), 1.5);
}

TEST_F(Machine, WhoLeavesAtOnceIsToldWhatItFound) {
  const auto other = enter(node(1), replica(1), any_number, {}, t0);
  const auto own = enter(node(0), replica(0), any_number, {}, t0);
  ASSERT_TRUE(other && own);
  const Company company = leave(node(0), replica(0), *own, t0);
  EXPECT_EQ(company.streams, 1);
  EXPECT_EQ(company.device, 1);
}

/// What is learnt of a node is what it does alone, and what a neighbour costs it.
TEST_F(Machine, RatesAreLearntAsOfANodeAlone) {
  const auto answer = [&](double neighbours, double slowdown, TimePoint now) {
    const Company beside{.device = neighbours};
    learn(*node(0).live, *replica(0),
          {.took = from_seconds(12 * slowdown),
           .told = true,
           .prompt_tokens = 1000,
           .output_tokens = 100,
           .prompt_eval = from_seconds(2 * slowdown),
           .eval = from_seconds(10 * slowdown),
           .at_dispatch = beside,
           .meanwhile = beside},
          now);
  };
  for (int i = 0; i < 40; ++i) answer(i % 2, i % 2 == 0 ? 1 : 1.5, t0 + i * 1min);
  const ReplicaLive& learnt = *replica(0);
  EXPECT_NEAR(learnt.decode_tokens_per_s, 10, 0.1);
  EXPECT_NEAR(learnt.prefill_tokens_per_s, 500, 25);
  EXPECT_NEAR(learnt.device_share, 0.5, 0.05);
  EXPECT_NEAR(learnt.service_s, 12, 0.6);
}

}  // namespace
}  // namespace sollol::cluster

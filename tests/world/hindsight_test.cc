#include "world/hindsight.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace sollol::world {
namespace {

/// One model on two nodes, of which the second is four times as fast.
Fleet slow_and_fast() {
  Fleet fleet{.models = {{.name = "m:latest"}}};
  for (const double speed : {1.0, 4.0}) {
    fleet.nodes.push_back({.name = speed == 1 ? "slow" : "fast",
                           .models = {{.model = 0,
                                       .prefill_tokens_per_s = 1000 * speed,
                                       .decode_tokens_per_s = 25 * speed}},
                           .parallel_slowdown = 0});
  }
  return fleet;
}

Served served(double at_s, std::string node, std::uint32_t tokens) {
  return {.at_s = at_s,
          .model = "m:latest",
          .node = std::move(node),
          .client = "a",
          .prompt_tokens = 100,
          .output_tokens = tokens,
          .took_s = 1};
}

TEST(Regret, IsWhatTheBetterNodeWouldHaveSaved) {
  // Alone: 0.1 s + 4 s at the slow node, a quarter of that at the fast one.
  const std::vector<Served> all{served(0, "slow", 100), served(100, "fast", 100)};
  const auto found = regrets(all, slow_and_fast());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].chosen, 0u);
  EXPECT_EQ(found[0].best, 1u);
  EXPECT_NEAR(found[0].took_s, 4.1, 0.01);
  EXPECT_NEAR(found[0].regret_s(), 4.1 * 3 / 4, 0.01);
  EXPECT_EQ(found[1].best, 1u);
  EXPECT_EQ(found[1].regret_s(), 0);
}

TEST(Regret, CountsTheWorkThatWasThere) {
  // The fast node is busy for 40 s: whoever came a moment later did well to take the slow one.
  const std::vector<Served> all{served(0, "fast", 4000), served(0.5, "slow", 100)};
  const auto found = regrets(all, slow_and_fast());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].best, 0u);
  EXPECT_EQ(found[1].regret_s(), 0);
}

TEST(Regret, ALoadThatHappenedHappensAgain) {
  Served cold = served(0, "fast", 100);
  cold.load_s = 9;
  Fleet fleet = slow_and_fast();
  fleet.nodes[1].models[0].load_time = std::chrono::seconds(9);
  const std::vector<Served> all{served(0, "slow", 1), cold};
  const auto found = regrets(all, fleet);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[1].best, 0u) << "where the model was loaded";
  EXPECT_GT(found[1].regret_s(), 5);
}

TEST(Regret, IsNeverNegativeAndLeavesOutWhatIsGone) {
  SeededRandom random(3);
  std::vector<Served> all;
  for (int i = 0; i < 40; ++i) {
    all.push_back(served(i * 0.7, random.bits() % 2 == 0 ? "slow" : "fast",
                         1 + static_cast<std::uint32_t>(random.bits() % 200)));
  }
  all.push_back(served(60, "gone", 5));
  all.push_back(served(61, "fast", 5));
  all.back().model = "other:latest";
  const auto found = regrets(all, slow_and_fast());
  EXPECT_EQ(found.size(), 40u);
  for (const Regret& regret : found) {
    EXPECT_GE(regret.regret_s(), 0);
    EXPECT_EQ(regret.regret_s() == 0, regret.best == regret.chosen);
  }
  EXPECT_TRUE(regrets({}, slow_and_fast()).empty());
}

TEST(FleetSeen, HasTheSpeedsThatTheLogShows) {
  std::vector<Served> all;
  for (int i = 0; i < 40; ++i) {
    Served one = served(i * 10, i % 2 == 0 ? "slow" : "fast", 100);
    const double speed = i % 2 == 0 ? 1 : 4;
    one.decode_s = 4 / speed;
    one.prefill_s = 0.1 / speed;
    one.took_s = one.decode_s + one.prefill_s;
    if (i < 2) one.load_s = 3, one.took_s += 3;
    all.push_back(one);
  }
  const Fleet fleet = fleet_seen(all);
  ASSERT_EQ(fleet.nodes.size(), 2u);
  EXPECT_EQ(fleet.nodes[0].name, "fast");
  EXPECT_NEAR(fleet.nodes[0].models[0].decode_tokens_per_s, 100, 1);
  EXPECT_NEAR(fleet.nodes[1].models[0].decode_tokens_per_s, 25, 0.25);
  EXPECT_NEAR(fleet.nodes[1].models[0].prefill_tokens_per_s, 1000, 10);
  EXPECT_NEAR(to_seconds(fleet.nodes[1].models[0].load_time), 3, 0.01);
  EXPECT_EQ(fleet.nodes[1].slots, 1u);
}

TEST(FleetSeen, CountsNoPlaceTwiceWhereOneFollowsTheOther) {
  std::vector<Served> all;
  for (int i = 0; i < 10; ++i) {
    Served one = served(i, "slow", 100);
    one.decode_s = 1;
    one.took_s = 1.004;  // the gateway sees each end late, when the next has begun
    all.push_back(one);
  }
  EXPECT_EQ(fleet_seen(all).nodes[0].slots, 1u);
  // One that came first and was served last.
  Served patient = served(-1, "slow", 100);
  patient.decode_s = 1;
  patient.took_s = 12;
  all.insert(all.begin(), patient);
  EXPECT_EQ(fleet_seen(all).nodes[0].slots, 1u);
  for (Served& one : all) one.took_s += 0.5, one.decode_s += 0.5;
  EXPECT_EQ(fleet_seen(all).nodes[0].slots, 2u);
}

TEST(Replay, OfWhatTheSimulatorServedIsWhatItWas) {
  // A log of the simulator's own: requests as they were, with the times that it gave them.
  const Fleet fleet = slow_and_fast();
  SeededRandom random(5);
  std::vector<Served> all;
  for (int i = 0; i < 300; ++i)
    all.push_back(served(i * 1.5, "", 1 + static_cast<std::uint32_t>(random.bits() % 120)));
  Scenario scenario{.fleet = fleet, .workload = *workload_again(all, fleet), .noise = 0};
  const Report once = run(scenario, {});
  for (std::size_t i = 0; i < all.size(); ++i) all[i].took_s = once.took_s[i];
  const Report was = as_it_was(all);
  EXPECT_NEAR(was.completion_s.mean, once.completion_s.mean, 1e-4);
  EXPECT_NEAR(was.makespan_s, once.makespan_s, 1e-3);
  EXPECT_EQ(was.answered, once.answered);
}

TEST(Replay, AsksForWhatWasAskedFor) {
  Served one = served(0, "slow", 20);
  one.num_predict = 50;
  one.streamed = false;
  one.urgency = cluster::Urgency::batch;
  const auto again = workload_again(std::vector{one, served(1, "slow", 0)}, slow_and_fast());
  ASSERT_TRUE(again);
  EXPECT_EQ(again->requests[0].num_predict, 50u);
  EXPECT_FALSE(again->requests[0].streamed);
  EXPECT_EQ(again->requests[0].urgency, cluster::Urgency::batch);
  EXPECT_EQ(again->requests[1].num_predict, 0u);
  EXPECT_FALSE(again->requests[1].streamed) << "an embedding";
}

TEST(Replay, NamesAModelThatNoNodeHas) {
  Served one = served(0, "slow", 1);
  one.model = "other:latest";
  const auto none = workload_again(std::vector{one}, slow_and_fast());
  ASSERT_FALSE(none);
  EXPECT_TRUE(none.error().detail.contains("'other:latest'")) << none.error().detail;
}

}  // namespace
}  // namespace sollol::world

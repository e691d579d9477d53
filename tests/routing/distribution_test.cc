#include <gtest/gtest.h>

#include <map>
#include <queue>
#include <vector>

#include "base/random.h"
#include "routing/candidates.h"

namespace sollol::routing {
namespace {

constexpr std::uint64_t seed = 20;

/// How often each node is chosen in `rounds` independent choices.
std::map<std::uint32_t, int> draws(Policy policy, const std::vector<Candidate>& candidates,
                                   int rounds) {
  SeededRandom random(seed);
  std::map<std::uint32_t, int> counts;
  std::optional<NodeId> after;
  for (int i = 0; i < rounds; ++i) {
    after = choose(policy, candidates, chat, TimePoint{}, random.bits(), after)->node;
    ++counts[after->value()];
  }
  return counts;
}

TEST(Distribution, RandomIsUniform) {
  const auto counts = draws(Policy::random, {node(0), node(1), node(2), node(3), node(4)}, 50000);
  for (std::uint32_t id = 0; id < 5; ++id) EXPECT_NEAR(counts.at(id), 10000, 500);  // within 5 %
}

TEST(Distribution, RandomStaysUniformBesideANodeOnTrial) {
  std::vector<Candidate> candidates;
  for (std::uint32_t id = 0; id < 8; ++id) candidates.push_back(node(id));
  candidates.push_back(node(8));
  candidates.back().availability = cluster::Availability::trial;
  const auto counts = draws(Policy::random, candidates, 64000);
  EXPECT_NEAR(counts.at(8), 8000, 400);  // one in eight, within 5 %
  for (std::uint32_t id = 0; id < 8; ++id) EXPECT_NEAR(counts.at(id), 7000, 350);
}

TEST(Distribution, PowerOfTwoIsUniformAmongEqualsAndNeverPicksTheWorst) {
  auto counts = draws(Policy::power_of_two, {node(0), node(1), node(2), node(3)}, 40000);
  for (std::uint32_t id = 0; id < 4; ++id) EXPECT_NEAR(counts.at(id), 10000, 500);
  std::vector<Candidate> uneven{node(0), node(1), node(2)};
  for (Candidate& c : uneven) c.limit = 10, c.in_flight = c.node.value();
  counts = draws(Policy::power_of_two, uneven, 30000);
  EXPECT_NEAR(counts.at(0), 20000, 600);  // the best of three is in two pairs of three
  EXPECT_NEAR(counts.at(1), 10000, 600);
  EXPECT_FALSE(counts.contains(2));
}

TEST(Distribution, RoundRobinAndPriorityAreExact) {
  EXPECT_EQ(draws(Policy::round_robin, {node(0), node(1)}, 1000),
            (std::map<std::uint32_t, int>{{0, 500}, {1, 500}}));
  EXPECT_EQ(draws(Policy::priority, {node(0), node(1)}, 1000),
            (std::map<std::uint32_t, int>{{0, 1000}}));
}

/// Closed loop: as many requests as all places together, each node takes time by its speed, which
/// is learnt.
std::map<std::uint32_t, int> loop(Policy policy, const std::vector<double>& speeds,
                                  std::size_t clients, int requests) {
  struct Running {
    double ends;
    std::size_t node;
    bool operator>(const Running& other) const { return ends > other.ends; }
  };
  SeededRandom random(seed);
  std::vector<Candidate> candidates;
  for (std::uint32_t id = 0; id < speeds.size(); ++id) candidates.push_back(node(id));
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running;
  std::map<std::uint32_t, int> counts;
  std::optional<NodeId> after;
  double now = 0;
  for (int sent = 0; sent < requests;) {
    while (running.size() < clients) {
      const auto choice = choose(policy, candidates, chat, TimePoint{}, random.bits(), after);
      if (!choice) break;
      Candidate& chosen = candidates[choice->index];
      chosen.node_in_flight = ++chosen.in_flight;
      after = chosen.node;
      ++counts[chosen.node.value()];
      ++sent;
      running.push({now + chat.expected_tokens / speeds[choice->index], choice->index});
    }
    const Running done = running.top();
    running.pop();
    now = done.ends;
    Candidate& finished = candidates[done.node];
    finished.node_in_flight = --finished.in_flight;
    finished.decode_tokens_per_s = speeds[done.node];
    finished.prefill_tokens_per_s = 1e9;
  }
  return counts;
}

TEST(ClosedLoop, UnderFullLoadEachNodeWorksInProportionToItsSpeed) {
  const auto counts = loop(Policy::expected_completion, {100, 50, 25}, 3, 7000);
  EXPECT_NEAR(counts.at(0), 4000, 100);
  EXPECT_NEAR(counts.at(1), 2000, 100);
  EXPECT_NEAR(counts.at(2), 1000, 100);
}

TEST(ClosedLoop, EveryNodeIsTriedEarlyAndTheFastestThenServesALoneUser) {
  const auto counts = loop(Policy::expected_completion, {25, 100, 50}, 1, 100);
  EXPECT_EQ(counts.at(0), 1);
  EXPECT_EQ(counts.at(1), 98);
  EXPECT_EQ(counts.at(2), 1);
}

}  // namespace
}  // namespace sollol::routing

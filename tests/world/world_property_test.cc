// Thousands of small worlds with faults: what must hold does, whatever the policy.
#include <gtest/gtest.h>

#include <algorithm>

#include "world/chance.h"
#include "world/world.h"

namespace sollol::world {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr std::uint64_t seeds = 3000;

NodeSpec any_node(Chance& chance, std::size_t models, bool has_all) {
  NodeSpec node;
  for (std::uint32_t model = 0; model < models; ++model) {
    if (!has_all && chance.share() < 0.4) continue;
    const double decode = chance.log_normal(60, 0.7);
    node.models.push_back({.model = model,
                           .prefill_tokens_per_s = 20 * decode,
                           .decode_tokens_per_s = decode,
                           .load_time = from_seconds(chance.exponential(3))});
  }
  node.tier = chance.below(3);
  node.slots = 1 + chance.below(4);
  node.slots_told = chance.share() < 0.5 ? 0 : 1 + chance.below(5);
  node.max_loaded = 1 + chance.below(2);
  node.memory_bytes = chance.share() < 0.5 ? 0 : 8'000'000'000;
  if (chance.share() < 0.3) node.network_delay = milliseconds(chance.below(50));
  if (chance.share() < 0.3) node.keep_alive = seconds(1 + chance.below(20));
  if (chance.share() < 0.4) {
    node.host = "host";
    if (chance.share() < 0.5) node.device = "gpu";
  }
  return node;
}

Scenario any_world(std::uint64_t seed, bool faults) {
  Chance chance(seed);
  Scenario out;
  for (std::uint32_t i = 1 + chance.below(3); i > 0; --i)
    out.fleet.models.push_back({.name = "model" + std::to_string(i)});
  for (std::uint32_t i = 1 + chance.below(5); i > 0; --i)
    out.fleet.nodes.push_back(any_node(chance, out.fleet.models.size(), out.fleet.nodes.empty()));
  Mix mix{.requests = 60, .clients = 4, .told = 0.5, .turns = 3, .urgencies = true};
  if (chance.share() < 0.3) mix.num_ctx = {0, 4096, 8192};
  out.workload.requests = draw_requests(out.fleet, mix, seed);
  draw_times(out.workload.requests, static_cast<Arrivals>(chance.below(3)),
             0.2 + chance.share() * 4, seed);
  if (chance.share() < 0.2) out.workload.users = 1 + chance.below(20);
  if (chance.share() < 0.2) out.queue = {.waiting_max = 20, .waiting_per_client_max = 8};
  for (NodeSpec& node : out.fleet.nodes) {
    for (Duration at{}; faults && chance.share() < 0.5;) {
      at += from_seconds(chance.exponential(20));
      node.outages.push_back({at, at + from_seconds(chance.exponential(15))});
      at = node.outages.back().until + seconds(1);
    }
  }
  return out;
}

class AnyWorld : public testing::TestWithParam<routing::Policy> {};

TEST_P(AnyWorld, EndsEveryRequestOnceAndSendsNothingWhereItMustNot) {
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Report report = run(any_world(seed, true), {.policy = GetParam(), .seed = seed});
    ASSERT_EQ(report.broken, std::vector<std::string>{}) << "seed " << seed;
    ASSERT_EQ(report.answered + report.refused + report.timed_out + report.failed, report.offered)
        << "seed " << seed;
    ASSERT_EQ(report.in_flight_at_end, 0u) << "seed " << seed;
  }
}

/// With models placed before they are asked for.
TEST_P(AnyWorld, PlannedLoadsLoseNothingAndNeverComeTwoAtANode) {
  for (std::uint64_t seed = 1; seed <= seeds / 3; ++seed) {
    const Report report = run(any_world(seed, true), {.policy = GetParam(),
                                                      .seed = seed,
                                                      .residency = ModelPlacement::automatic,
                                                      .residency_interval = seconds(1)});
    ASSERT_EQ(report.broken, std::vector<std::string>{}) << "seed " << seed;
    ASSERT_EQ(report.answered + report.refused + report.timed_out + report.failed, report.offered)
        << "seed " << seed;
    ASSERT_EQ(report.in_flight_at_end, 0u) << "seed " << seed;
  }
}

TEST_P(AnyWorld, AnswersEverythingAndStarvesNobodyWhileNodesAreWell) {
  for (std::uint64_t seed = 1; seed <= seeds / 3; ++seed) {
    Scenario world = any_world(seed, false);
    world.queue = {};
    const Report report =
        run(world, {.policy = GetParam(), .seed = seed, .wait_max = std::chrono::hours(24)});
    ASSERT_EQ(report.answered, report.offered) << "seed " << seed;
    // Two classes may both be overdue, and who waits for a better place lets others by: longest who
    // waits for the node that has the model loaded with its own context.
    const bool contexts = std::ranges::any_of(world.workload.requests,
                                              [](const Request& one) { return one.num_ctx > 0; });
    ASSERT_LE(report.passed_over_most, (contexts ? 3 : 2) * cluster::WaitQueue::overtaken_max)
        << "seed " << seed;
    ASSERT_GE(report.makespan_s, report.lower_bound_s * (1 - 1e-9)) << "seed " << seed;
  }
}

/// Short answers and embeddings, on nodes that die and are slowed down.
Scenario straggling_world(std::uint64_t seed) {
  Chance chance(seed);
  Scenario out = any_world(seed, true);
  const Mix mix{.requests = 200, .clients = 4, .output_median = 20, .urgencies = true};
  out.workload.requests = draw_requests(out.fleet, mix, seed);
  draw_times(out.workload.requests, Arrivals::poisson, 0.5 + chance.share() * 4, seed);
  for (Request& request : out.workload.requests) {
    if (chance.share() < 0.3) request.output_tokens = 0;
    request.streamed = request.output_tokens > 0 && chance.share() < 0.2;
  }
  for (NodeSpec& node : out.fleet.nodes) {
    node.tier = 0;
    for (Duration at{}; at < out.workload.requests.back().at; at = node.slow.back().until) {
      at += from_seconds(chance.exponential(15));
      node.slow.push_back({at, at + from_seconds(chance.exponential(3)), 1.0 + chance.below(30)});
    }
  }
  return out;
}

TEST(AnyHedging, KeepsToItsBudgetAndAnswersEveryRequestOnce) {
  std::uint64_t hedges = 0, won = 0, withheld = 0;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    const Report report =
        run(straggling_world(seed),
            {.policy = routing::policies()[seed % routing::policies().size()],
             .seed = seed,
             .hedge = {.enabled = true, .budget_percent = static_cast<std::uint32_t>(seed % 4)}});
    ASSERT_EQ(report.broken, std::vector<std::string>{}) << "seed " << seed;
    ASSERT_EQ(report.answered + report.refused + report.timed_out + report.failed, report.offered)
        << "seed " << seed;
    ASSERT_EQ(report.in_flight_at_end, 0u) << "seed " << seed;
    hedges += report.hedges;
    won += report.hedges_won;
    withheld += report.hedges_withheld;
  }
  EXPECT_GT(hedges, seeds);  // else little was tried
  EXPECT_GT(won, seeds / 3);
  EXPECT_GT(withheld, seeds / 10);
}

INSTANTIATE_TEST_SUITE_P(Policies, AnyWorld,
                         testing::ValuesIn(routing::policies().begin(), routing::policies().end()),
                         [](const auto& info) { return std::string(routing::name(info.param)); });

}  // namespace
}  // namespace sollol::world

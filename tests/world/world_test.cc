#include "world/world.h"

#include <gtest/gtest.h>

#include "world/scenarios.h"

namespace sollol::world {
namespace {

using namespace std::chrono_literals;
using routing::Policy;

ReplicaSpec replica(std::uint32_t model = 0, double decode = 100) {
  return {.model = model,
          .prefill_tokens_per_s = 10 * decode,
          .decode_tokens_per_s = decode,
          .load_time = 2s};
}

/// A hundred tokens read and ninety written: a second at 100 tokens a second.
Request request(Duration at) { return {.at = at, .prompt_tokens = 100, .output_tokens = 90}; }

Scenario scenario(std::vector<NodeSpec> nodes, std::vector<Request> requests) {
  return {.fleet = {.models = {{.name = "m"}}, .nodes = std::move(nodes)},
          .workload = {.requests = std::move(requests)},
          .noise = 0};
}

TEST(World, LoadsThenAnswers) {
  const Report report = run(scenario({{.models = {replica()}}}, {request(0s)}), {});
  EXPECT_EQ(report.answered, 1u);
  EXPECT_EQ(report.cold_loads, 1u);
  EXPECT_NEAR(report.ttft_s.p50, 2.11, 1e-6);  // 2 s of load, 0.1 s of prefill, one token
  EXPECT_NEAR(report.completion_s.p50, 3, 1e-6);
}

TEST(World, LoadsOnceForAllWhoWait) {
  std::vector<Request> requests(5, request(0s));
  const Report report =
      run(scenario({{.models = {replica()}, .slots = 8, .slots_told = 8}}, requests), {});
  EXPECT_EQ(report.answered, 5u);
  EXPECT_EQ(report.cold_loads, 1u);
}

TEST(World, QueuesWhatHasNoPlaceAndRefusesWhatHasNoPlaceInTheQueue) {
  Scenario crowded =
      scenario({{.models = {replica()}, .slots_told = 1}}, std::vector<Request>(10, request(0s)));
  crowded.queue.waiting_max = 4;
  const Report report = run(crowded, {});
  EXPECT_EQ(report.answered, 5u);
  EXPECT_EQ(report.refused, 5u);
  EXPECT_NEAR(report.makespan_s, 7, 1e-6);
}

TEST(World, GivesUpWhoWaitsTooLong) {
  const auto crowded =
      scenario({{.models = {replica()}, .slots_told = 1}}, std::vector<Request>(10, request(0s)));
  const Report report = run(crowded, {.wait_max = 4500ms});
  EXPECT_EQ(report.answered, 3u);  // the first takes 3 s with its load
  EXPECT_EQ(report.timed_out, 7u);
}

TEST(World, LearnsHowManySlotsThereAre) {
  std::vector<Request> requests;
  for (int i = 0; i < 400; ++i) requests.push_back(request(0s));
  Scenario four = scenario({{.models = {replica()}, .slots = 4, .parallel_slowdown = 0}}, requests);
  four.workload.users = 40;
  const Report report = run(four, {});
  EXPECT_EQ(report.answered, 400u);
  EXPECT_LT(report.makespan_s, 1.1 * 400 / 4);
}

TEST(World, RetriesElsewhereWhatADeadNodeHadNotBegun) {
  auto dying = scenario({{.models = {replica()}, .outages = {{1s, 100s}}}, {.models = {replica()}}},
                        {request(0s)});
  const Report report = run(dying, {.policy = Policy::priority});
  EXPECT_EQ(report.answered, 1u);
  EXPECT_EQ(report.retries, 1u);
  EXPECT_EQ(report.resumed, 0u);
}

TEST(World, GoesOnElsewhereWithAnAnswerThatBrokeOff) {
  auto dying =
      scenario({{.models = {replica()}, .outages = {{2500ms, 100s}}}, {.models = {replica()}}},
               {request(0s)});
  const Report report = run(dying, {.policy = Policy::priority});
  EXPECT_EQ(report.answered, 1u);
  EXPECT_EQ(report.retries, 0u);
  EXPECT_EQ(report.resumed, 1u);
  // What the first had said is read by the other, not written again: 2.5 s, a load, 140 tokens read
  // and 50 written.
  EXPECT_NEAR(report.completion_s.p50, 2.5 + 2 + 0.14 + 0.5, 0.02);
}

TEST(World, ConversationsFindTheirCache) {
  Request second = request(10s);
  second.session = 1;
  second.prompt_tokens = 300;
  second.said_before = 190;
  Request first = request(0s);
  first.session = 1;
  const Report report = run(scenario({{.models = {replica()}}}, {first, second}), {});
  EXPECT_NEAR(report.completion_s.mean, (3 + (0.11 + 0.9)) / 2, 1e-6);
}

TEST(World, ReloadsForOtherContexts) {
  std::vector<Request> requests;
  for (int i = 0; i < 6; ++i) {
    requests.push_back(request(i * 10s));
    requests.back().num_ctx = i % 2 == 0 ? 4096 : 8192;
  }
  const Report report = run(scenario({{.models = {replica()}}}, requests), {});
  EXPECT_EQ(report.answered, 6u);
  EXPECT_EQ(report.cold_loads, 6u);
}

TEST(World, ClientsWithTwoContextsKeepToANodeEach) {
  const auto contexts = make_scenario("contexts", {.requests = 5000});
  ASSERT_TRUE(contexts);
  const Report report = run(*contexts, {});
  EXPECT_LT(report.cold_loads, 100u);
  EXPECT_GT(run(*contexts, {.policy = Policy::least_connections}).cold_loads, 2000u);
}

TEST(World, ForgetsModelsAfterTheirKeepAlive) {
  const auto idle = scenario({{.models = {replica()}, .keep_alive = 60s}},
                             {request(0s), request(30s), request(200s)});
  EXPECT_EQ(run(idle, {}).cold_loads, 2u);
}

TEST(World, TakesLongerWhileAnotherProgramHasTheMachine) {
  const auto slow = scenario({{.models = {replica()}, .slow = {{10500ms, 11500ms, 10}}}},
                             {request(0s), request(10s), request(20s)});
  // The second has done half when the spell begins, and a tenth of the rest of it by its end.
  EXPECT_NEAR(run(slow, {}).completion_s.p99, 3, 1e-6);
  EXPECT_NEAR(run(slow, {}).completion_s.mean, (3 + (1 + 0.9) + 1) / 3, 1e-6);
}

/// Two nodes that have the model, of which the first stands still as good as for a while, when
/// enough is known of both.
Scenario straggling() {
  std::vector<Request> requests;
  for (int i = 0; i < 41; ++i) {
    requests.push_back(request(i * 5s));
    requests.back().output_tokens = 20;
    requests.back().streamed = false;
  }
  return scenario({{.models = {replica()}, .slow = {{199s, 300s, 1e6}}}, {.models = {replica()}}},
                  requests);
}

TEST(World, AsksASecondNodeWhereTheFirstIsLate) {
  const world::Options hedging{.policy = Policy::round_robin, .hedge = {.enabled = true}};
  const Report report = run(straggling(), hedging);
  EXPECT_EQ(report.answered, 41u);
  EXPECT_EQ(report.hedges, 1u);
  EXPECT_EQ(report.hedges_won, 1u);
  EXPECT_LT(report.took_s.back(), 1);
  EXPECT_EQ(report.in_flight_at_end, 0u);
  EXPECT_EQ(report.broken, std::vector<std::string>{});
  EXPECT_GT(run(straggling(), {.policy = Policy::round_robin}).took_s.back(), 90);
}

TEST(World, HedgesOnlyWhatMayBeHedged) {
  using Change = void (*)(Request&);
  for (const Change change :
       {Change([](Request& one) { one.streamed = true; }),
        Change([](Request& one) { one.pinned = 0; }),
        Change([](Request& one) { one.urgency = cluster::Urgency::batch; })}) {
    Scenario other = straggling();
    change(other.workload.requests.back());
    const Report report = run(other, {.policy = Policy::round_robin, .hedge = {.enabled = true}});
    EXPECT_EQ(report.answered, 41u);
    EXPECT_EQ(report.hedges, 0u);
    EXPECT_GT(report.took_s.back(), 90);
  }
}

TEST(World, LeavesARequestToTheOtherTryWhereOneDies) {
  for (const std::size_t dies : {0, 1}) {
    Scenario dying = straggling();
    dying.fleet.nodes[1].slow = {{200s, 300s, 10}};  // slow enough for the first to be out already
    dying.fleet.nodes[dies].outages = {{202500ms, 400s}};
    const Report report = run(dying, {.policy = Policy::round_robin, .hedge = {.enabled = true}});
    EXPECT_EQ(report.answered, 41u);
    EXPECT_EQ(report.hedges, 1u);
    EXPECT_EQ(report.retries, 0u) << dies;
    EXPECT_EQ(report.broken, std::vector<std::string>{});
  }
}

TEST(World, StragglersAreFewerWithHedging) {
  const auto stragglers = make_scenario("stragglers", {.requests = 20'000, .load = 0.3});
  ASSERT_TRUE(stragglers);
  const Report plain = run(*stragglers, {});
  const Report hedged = run(*stragglers, {.hedge = {.enabled = true}});
  EXPECT_LT(hedged.completion_s.p99, plain.completion_s.p99);
}

TEST(World, PlaysEqualScenariosAlike) {
  const auto mixed = make_scenario("deaths", {.requests = 2000});
  ASSERT_TRUE(mixed);
  const std::uint64_t hash = run(*mixed, {.seed = 7}).trace_hash;
  EXPECT_EQ(run(*mixed, {.seed = 7}).trace_hash, hash);
  EXPECT_NE(run(*mixed, {.seed = 8}).trace_hash, hash);
}

class EveryScenario : public testing::TestWithParam<ScenarioInfo> {};

TEST_P(EveryScenario, KeepsWhatMustHoldUnderEveryPolicy) {
  const auto scenario = make_scenario(GetParam().name, {.requests = 1500});
  ASSERT_TRUE(scenario);
  for (const Policy policy : routing::policies()) {
    SCOPED_TRACE(testing::Message() << "replay: sollol bench policies --requests 1500 --scenario "
                                    << GetParam().name << " --policies " << routing::name(policy));
    const Report report = run(*scenario, {.policy = policy});
    EXPECT_EQ(report.broken, std::vector<std::string>{});
    EXPECT_EQ(report.offered, 1500u);
    EXPECT_GE(report.makespan_s, report.lower_bound_s * (1 - 1e-9));
  }
}
INSTANTIATE_TEST_SUITE_P(All, EveryScenario,
                         testing::ValuesIn(scenarios().begin(), scenarios().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Scenarios, AreNamedWhenOneIsUnknown) {
  const auto none = make_scenario("huge", {});
  ASSERT_FALSE(none);
  EXPECT_NE(none.error().detail.find("mixed, "), std::string::npos) << none.error().detail;
}

}  // namespace
}  // namespace sollol::world

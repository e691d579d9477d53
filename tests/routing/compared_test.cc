#include "routing/compared.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cluster/live.h"
#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint now{1h};

Candidate of_latency(double seconds, std::uint32_t in_flight, Duration age = {}) {
  Candidate c = node(0);
  c.peak_service_s = seconds;
  c.peak_at = now - age;
  c.in_flight = c.node_in_flight = in_flight;
  return c;
}

TEST(PeakEwma, CountsLatencyForEachRequestInFlight) {
  EXPECT_DOUBLE_EQ(peak_latency_load(of_latency(2, 0), now), 2);
  EXPECT_DOUBLE_EQ(peak_latency_load(of_latency(2, 3), now), 8);
  EXPECT_NEAR(peak_latency_load(of_latency(2, 0, cluster::peak_decay), now), 2 / std::exp(1), 1e-9);
}

TEST(PeakEwma, TriesAnUnknownNodeOnceBeforeItKnowsMore) {
  EXPECT_LT(peak_latency_load(of_latency(0, 0), now), peak_latency_load(of_latency(0.1, 0), now));
  EXPECT_GT(peak_latency_load(of_latency(0, 1), now), peak_latency_load(of_latency(100, 9), now));
}

TEST(PeakEwma, FollowsSlowerRequestsAtOnceAndFasterOnesByAge) {
  cluster::ReplicaLive replica(1);
  cluster::note_peak(replica, 1, now);
  cluster::note_peak(replica, 5, now + 1s);
  EXPECT_DOUBLE_EQ(replica.peak_service_s, 5);
  cluster::note_peak(replica, 1, now + 1s);  // no time has passed: nothing is forgotten
  EXPECT_DOUBLE_EQ(replica.peak_service_s, 5);
  cluster::note_peak(replica, 1, now + 1s + cluster::peak_decay);
  EXPECT_NEAR(replica.peak_service_s, 5 / std::exp(1) + 1 - 1 / std::exp(1), 1e-9);
}

TEST(LMetric, MultipliesNewTokensByTheBatch) {
  Candidate c = node(0);
  EXPECT_DOUBLE_EQ(new_tokens_by_batch(c, {.prompt_tokens = 300}), 300);
  c.node_in_flight = 2;
  c.cached_tokens = 200;
  EXPECT_DOUBLE_EQ(new_tokens_by_batch(c, {.prompt_tokens = 300}), 300);
  c.cached_tokens = 300;
  EXPECT_DOUBLE_EQ(new_tokens_by_batch(c, {.prompt_tokens = 300}), 3);
}

struct PointsCase {
  const char* name;
  Warmth warmth;
  std::uint32_t in_flight;
  double service_s;
  double want;
};
class Points : public testing::TestWithParam<PointsCase> {};

TEST_P(Points, AreThoseOfTheTable) {
  Candidate c = node(0);
  c.warmth = GetParam().warmth;
  c.in_flight = GetParam().in_flight;
  c.service_s = GetParam().service_s;
  EXPECT_DOUBLE_EQ(points(c), GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, Points,
    testing::Values(PointsCase{"idle_hot", Warmth::warm, 0, 10, 50},
                    PointsCase{"idle_cold", Warmth::cold, 0, 10, 10},
                    PointsCase{"other_options", Warmth::other_options, 0, 0, 50},
                    PointsCase{"four_deep", Warmth::warm, 4, 12, 50 - 24 - 4.8},
                    PointsCase{"at_the_most", Warmth::warm, 9, 60, 50 - 30 - 25}),
    [](const auto& info) { return std::string(info.param.name); });

TEST(Compared, PoliciesTakeWhatTheirFiguresSay) {
  std::array candidates{node(0), node(1), node(2)};
  for (Candidate& c : candidates) c.limit = 8;
  const auto chosen = [&](Policy policy) {
    return choose(policy, candidates, chat, now, no_trial, std::nullopt)->node.value();
  };
  candidates[0].warmth = Warmth::cold;
  candidates[1].in_flight = candidates[1].node_in_flight = 3;
  EXPECT_EQ(chosen(Policy::points), 2u);
  EXPECT_EQ(chosen(Policy::lmetric), 0u);
  candidates[1].cached_tokens = 180;  // 20 tokens × 4 are fewer than 200 × 1
  EXPECT_EQ(chosen(Policy::lmetric), 1u);
}

}  // namespace
}  // namespace sollol::routing

#include "cluster/speed.h"

#include <gtest/gtest.h>

#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <cmath>
#include <numbers>

#include "base/random.h"

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};

double uniform(SeededRandom& random) {
  return (static_cast<double>(random.bits() >> 11) + 0.5) * 0x1p-53;
}

/// Log-normal noise around 1.
double noise(SeededRandom& random, double spread) {
  return std::exp(spread * std::sqrt(-2 * std::log(uniform(random))) *
                  std::cos(2 * std::numbers::pi * uniform(random)));
}

RC_GTEST_PROP(Estimate, FindsAQuantityBehindNoise, ()) {
  SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
  const double truth = std::exp(10 * uniform(random) - 5);
  Estimate estimate;
  for (int i = 0; i < 100; ++i) estimate.observe(truth * noise(random, 0.2), start + i * 1s);
  RC_ASSERT(std::abs(std::log(estimate.value() / truth)) < 0.2);
  RC_ASSERT(estimate.spread() > 0.08);
  RC_ASSERT(estimate.spread() < 0.4);
}

TEST(Estimate, KnowsNothingAtFirstAndTakesTheFirstMeasurement) {
  Estimate estimate;
  EXPECT_FALSE(estimate.known());
  EXPECT_EQ(estimate.value(), 0);
  estimate.observe(5, start);
  EXPECT_NEAR(estimate.value(), 5, 1e-9);
}

TEST(Estimate, OneOutlierMovesItLittle) {
  Estimate estimate;
  for (int i = 0; i < 20; ++i) estimate.observe(100, start);
  estimate.observe(10'000, start);
  EXPECT_LT(estimate.value(), 103);
}

TEST(Estimate, SeveralInARowAreAChange) {
  Estimate estimate;
  for (int i = 0; i < 20; ++i) estimate.observe(100, start);
  for (unsigned i = 0; i < Estimate::agree_to_change; ++i) estimate.observe(25, start);
  EXPECT_NEAR(estimate.value(), 25, 1);
}

TEST(Estimate, WhatIsOldCountsLess) {
  Estimate estimate;
  for (int i = 0; i < 20; ++i) estimate.observe(100, start);
  EXPECT_NEAR(estimate.weight(start + Estimate::half_life), estimate.weight(start) / 2, 1e-9);
  estimate.observe(115, start + 10 * Estimate::half_life);
  EXPECT_GT(estimate.value(), 112);
}

TEST(Estimate, WhatIsNoQuantityIsIgnored) {
  Estimate estimate;
  for (const double value : {0.0, -1.0, std::nan(""), HUGE_VAL}) estimate.observe(value, start);
  EXPECT_FALSE(estimate.known());
}

RC_GTEST_PROP(TokenTime, LearnsWhatNeighboursCost, ()) {
  SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
  const double alone = 0.001 + 0.1 * uniform(random);
  const double share = uniform(random);
  TokenTime time;
  for (int i = 0; i < 150; ++i) {
    const double streams = 1 + std::floor(4 * uniform(random));
    time.observe(alone * (1 + share * (streams - 1)) * noise(random, 0.05), streams,
                 start + i * 1s);
  }
  for (const double streams : {1.0, 2.0, 4.0}) {
    const double truth = alone * (1 + share * (streams - 1));
    const double learnt = time.alone_s() * (1 + time.share() * (streams - 1));
    RC_ASSERT(std::abs(std::log(learnt / truth)) < 0.15);
  }
}

TEST(TokenTime, BeforeAnythingIsKnownOfNeighboursTheGuessHolds) {
  TokenTime time;
  time.observe(0.02 * (1 + TokenTime::share_guess), 2, start);
  EXPECT_NEAR(time.alone_s(), 0.02, 1e-6);
  EXPECT_NEAR(time.share(), TokenTime::share_guess, 1e-9);
}

}  // namespace
}  // namespace sollol::cluster

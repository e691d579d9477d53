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

RC_GTEST_PROP(TokenTime, LearnsWhatOthersCost, ()) {
  SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
  const double alone = 0.001 + 0.1 * uniform(random);
  const double share = uniform(random);
  const double device_share = 2.5 * uniform(random);
  const auto truth = [&](double streams, double neighbours) {
    return alone * (1 + share * (streams - 1) + device_share * neighbours);
  };
  TokenTime time;
  for (int i = 0; i < 150; ++i) {
    const double streams = 1 + std::floor(4 * uniform(random));
    const double neighbours = std::floor(3 * uniform(random));
    time.observe(truth(streams, neighbours) * noise(random, 0.05), streams, neighbours,
                 start + i * 1s);
  }
  for (const double streams : {1.0, 2.0, 4.0}) {
    for (const double neighbours : {0.0, 1.0, 2.0}) {
      const double learnt =
          time.alone_s() * (1 + time.share() * (streams - 1) + time.device_share() * neighbours);
      RC_ASSERT(std::abs(std::log(learnt / truth(streams, neighbours))) < 0.15);
    }
  }
}

/// What always runs beside it is within what it takes alone, as far as anyone can know; once it
/// rests, that is told apart.
RC_GTEST_PROP(TokenTime, TellsAConstantNeighbourApartOnceItRests, ()) {
  SeededRandom random(*rc::gen::arbitrary<std::uint64_t>());
  const double device_share = 2.5 * uniform(random);
  const auto truth = [&](double neighbours) { return 0.02 * (1 + device_share * neighbours); };
  TokenTime time;
  const auto error = [&](double neighbours) {
    const double learnt = time.alone_s() * (1 + time.device_share() * neighbours);
    return std::abs(std::log(learnt / truth(neighbours)));
  };
  for (int i = 0; i < 50; ++i) time.observe(truth(1) * noise(random, 0.05), 1, 1, start + i * 1s);
  RC_ASSERT(error(1) < 0.1);
  RC_ASSERT(std::abs(time.device_share() - TokenTime::device_share_guess) < 0.1);
  for (int i = 50; i < 100; ++i)
    time.observe(truth(i % 2) * noise(random, 0.05), 1, i % 2, start + i * 1s);
  RC_ASSERT(error(0) < 0.1);
  RC_ASSERT(error(1) < 0.1);
}

TEST(TokenTime, BeforeAnythingIsKnownOfOthersTheGuessHolds) {
  TokenTime time;
  time.observe(0.02 * (1 + TokenTime::share_guess + TokenTime::device_share_guess), 2, 1, start);
  EXPECT_NEAR(time.alone_s(), 0.02, 1e-6);
  EXPECT_NEAR(time.share(), TokenTime::share_guess, 1e-9);
  EXPECT_NEAR(time.device_share(), TokenTime::device_share_guess, 1e-9);
}

}  // namespace
}  // namespace sollol::cluster

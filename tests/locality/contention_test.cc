#include "locality/contention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "base/random.h"

namespace sollol::locality {
namespace {

using Rates = std::vector<double>;

/// Rates around `rate` that vary by about `noise`, one in ten of them far too low.
Rates noisy(double rate, double noise, std::size_t count, Random& random) {
  Rates out;
  for (std::size_t i = 0; i < count; ++i) {
    double sum = -6;  // of twelve uniform numbers: nearly normal, standard deviation 1
    for (int k = 0; k < 12; ++k) sum += static_cast<double>(random.bits() >> 11) * 0x1p-53;
    const bool disturbed = random.bits() % 10 == 0;
    out.push_back(rate * std::exp(noise * sum) / (disturbed ? 2.5 : 1));
  }
  return out;
}

struct JudgeCase {
  const char* name;
  Rates a_alone, a_beside, b_alone, b_beside;
  Relation want;
};
class Judge : public testing::TestWithParam<JudgeCase> {};

TEST_P(Judge, TellsTheRelation) {
  const auto& row = GetParam();
  const auto got = judge({row.a_alone, row.a_beside}, {row.b_alone, row.b_beside});
  EXPECT_EQ(got.relation, row.want) << got.slowdown << " with " << got.confidence;
  EXPECT_NEAR(got.independent + got.same_host + got.same_device, 1, 1e-9);
}

constexpr double nan = std::numeric_limits<double>::quiet_NaN();

INSTANTIATE_TEST_SUITE_P(
    Table, Judge,
    testing::Values(
        JudgeCase{"nothing_measured", {}, {}, {}, {}, Relation::unknown},
        JudgeCase{"too_few", {50, 50}, {25, 25}, {50, 50}, {25, 25}, Relation::unknown},
        JudgeCase{"half_as_fast",
                  {50, 51, 49, 50},
                  {25, 25, 26, 25},
                  {9, 9, 9.1, 9},
                  {4.5, 4.4, 4.5, 4.6},
                  Relation::same_device},
        JudgeCase{
            "one_side_only", {50, 51, 49, 50}, {25, 25, 26, 25}, {}, {}, Relation::same_device},
        JudgeCase{"as_fast",
                  {50, 50, 51, 50, 49, 50},
                  {50, 51, 50, 49, 50, 50},
                  {9, 9, 9, 9, 9, 9},
                  {9, 9, 9, 9, 9, 9},
                  Relation::independent},
        JudgeCase{"a_fifth_slower",
                  {50, 50, 51, 50, 49, 50},
                  {42, 41, 42, 42, 41, 42},
                  {9, 9, 9, 9, 9, 9},
                  {7.5, 7.5, 7.5, 7.5, 7.5, 7.5},
                  Relation::same_host},
        JudgeCase{"an_outlier_on_each_side",
                  {50, 50, 20, 50, 51, 49, 50},
                  {25, 25, 10, 25, 25, 26, 25},
                  {},
                  {},
                  Relation::same_device},
        JudgeCase{
            "not_numbers", {50, nan, 50, 0, 50, -1}, {50, 50, nan}, {}, {}, Relation::unknown},
        JudgeCase{"faster_beside_another",
                  {25, 25, 25, 25},
                  {50, 50, 50, 50},
                  {9, 9, 9, 9},
                  {9, 9, 9, 9},
                  Relation::unknown},
        JudgeCase{"foreign_work_at_one_of_two",
                  {50, 50, 50, 50},
                  {15, 15, 15, 15},
                  {9, 9, 9, 9},
                  {9, 9, 9, 9},
                  Relation::unknown},
        JudgeCase{"foreign_work_in_most_of_ones_few",  // they share a machine only
                  {43.9, 44.3, 43, 44},
                  {35, 17.9, 15.7, 16.6},
                  {47.8, 47.1, 46.6, 43.6},
                  {39.3, 39.2, 40, 38.1},
                  Relation::unknown},
        JudgeCase{"wild",
                  {50, 20, 90, 10},
                  {30, 60, 10, 80},
                  {50, 20, 90, 10},
                  {30, 60, 10, 80},
                  Relation::unknown}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Judge, AsksForMoreSamplesUntilThereAreEnoughAndNeverForTooMany) {
  const ContentionRules rules;
  EXPECT_EQ(judge({}, {}).more_samples, rules.samples_min);
  const Rates few(rules.samples_min - 1, 50);
  EXPECT_EQ(judge({few, few}, {few, few}).more_samples, 1u);
  const Rates full(rules.samples_max, 50), edge(rules.samples_max, 50 / rules.host_slowdown);
  const auto undecidable = judge({full, edge}, {full, edge});
  EXPECT_EQ(undecidable.relation, Relation::unknown);
  EXPECT_EQ(undecidable.more_samples, 0u);
}

TEST(Judge, IsRightUnderNoiseAndOutliersWheneverItIsSure) {
  SeededRandom random(7);
  const std::pair<double, Relation> truths[] = {
      {1.0, Relation::independent}, {1.15, Relation::same_host}, {2.0, Relation::same_device}};
  int decided = 0, cases = 0;
  for (int round = 0; round < 400; ++round) {
    for (const auto& [slowdown, relation] : truths) {
      const auto noise = 0.005 + 0.0001 * round;  // to 4.5 %
      const auto a = noisy(80, noise, 12, random), b = noisy(80 / slowdown, noise, 12, random);
      const auto c = noisy(7, noise, 12, random), d = noisy(7 / slowdown, noise, 12, random);
      const auto got = judge({a, b}, {c, d});
      ++cases;
      if (got.relation == Relation::unknown) continue;
      ++decided;
      EXPECT_EQ(got.relation, relation) << "noise " << noise << ", slowdown " << got.slowdown;
    }
  }
  EXPECT_GE(decided, cases * 8 / 10);
}

}  // namespace
}  // namespace sollol::locality

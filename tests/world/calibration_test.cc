#include <gtest/gtest.h>

#include <array>
#include <ostream>
#include <utility>

#include "world/scenarios.h"
#include "world/world.h"

namespace sollol::world {
namespace {

using routing::Predicted;

struct CalibrationCase {
  const char* scenario;
  std::uint64_t seed;
};
void PrintTo(const CalibrationCase& c, std::ostream* out) { *out << c.scenario << ", " << c.seed; }

/// What is ours to know: how long an answer is, its client decides; and with it, how long whoever
/// waits for its place waits.
constexpr std::array ours{Predicted::prompt, Predicted::load, Predicted::prefill, Predicted::decode,
                          Predicted::given_length};

class Calibration : public testing::TestWithParam<CalibrationCase> {};

TEST_P(Calibration, IsWithinItsBarsGuessedAndMeasured) {
  const auto scenario =
      make_scenario(GetParam().scenario, {.seed = GetParam().seed, .requests = {}});
  ASSERT_TRUE(scenario);
  const Report report = run(*scenario, {.seed = GetParam().seed});
  for (const Predicted term : ours) {
    SCOPED_TRACE(routing::predicted_names[std::to_underlying(term)]);
    const auto& errors = report.calibration[std::to_underlying(term)];
    EXPECT_GT(errors.from_priors.of, 20u);
    EXPECT_LE(errors.from_priors.value, 0.5);
    // Loads are rare once all is measured: where there are few, their median tells nothing.
    if (term == Predicted::load && errors.learnt.of < 20) continue;
    if (term != Predicted::load) EXPECT_GT(errors.learnt.of, 2000u);
    EXPECT_LE(errors.learnt.value, 0.15);
  }
}
INSTANTIATE_TEST_SUITE_P(Fleets, Calibration,
                         testing::Values(CalibrationCase{"quants", 1}, CalibrationCase{"quants", 2},
                                         CalibrationCase{"quants", 3}, CalibrationCase{"models", 1},
                                         CalibrationCase{"models", 2}, CalibrationCase{"large", 1}),
                         [](const auto& row) {
                           return std::string(row.param.scenario) + std::to_string(row.param.seed);
                         });

/// However busy those are that share a device.
TEST(CalibrationBesideNeighbours, IsWithinItsBar) {
  for (const double load : {0.7, 1.0, 1.4}) {
    SCOPED_TRACE(load);
    const Report report = run(*make_scenario("shared", {.requests = 4000, .load = load}), {});
    for (const Predicted term : {Predicted::prefill, Predicted::decode, Predicted::given_length}) {
      const auto& learnt = report.calibration[std::to_underlying(term)].learnt;
      EXPECT_GT(learnt.of, 2000u);
      EXPECT_LE(learnt.value, 0.15) << routing::predicted_names[std::to_underlying(term)];
    }
  }
}

/// Where clients tell how long their answers are.
TEST(CalibrationOfWaits, IsNearWhereLengthsAreTold) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE(seed);
    const auto scenario = make_scenario("batch", {.seed = seed, .requests = 6000});
    const Report report = run(*scenario, {.seed = seed});
    const auto learnt = [&](Predicted term) {
      return report.calibration[std::to_underlying(term)].learnt;
    };
    EXPECT_LE(learnt(Predicted::answer).value, 0.01);
    EXPECT_LE(learnt(Predicted::completion).value, 0.15);
    EXPECT_GT(learnt(Predicted::wait).of, 100u);
    // A tenth of noise on whole requests is more on what is left of them.
    EXPECT_LE(learnt(Predicted::wait).value, 0.25);
  }
}

TEST(CalibrationOfWaits, IsToldOfThoseWhoWaitedForABetterPlace) {
  const auto scenario = make_scenario("mixed", {.requests = 3000});
  const Report report = run(*scenario, {});
  EXPECT_GT(report.calibration[std::to_underlying(Predicted::wait)].all.of, 100u);
}

}  // namespace
}  // namespace sollol::world

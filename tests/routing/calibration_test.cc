#include "routing/calibration.h"

#include <gtest/gtest.h>

#include <cmath>
#include <utility>

namespace sollol::routing {
namespace {

constexpr RequestShape shape{.prompt_tokens = 300, .expected_tokens = 100};
constexpr Considered chosen{
    .load_s = 4, .evict_s = 8, .prefill_s = 2, .decode_s = 10, .network_s = 1};

const Prediction& of(const Predictions& all, Predicted what) {
  return all[std::to_underlying(what)];
}

TEST(Calibration, HoldsEachTermAgainstWhatCameOfIt) {
  const Predictions all = compare(chosen, shape,
                                  {.awaited = AwaitedPlace{.node = chosen.node, .wait_s = 2},
                                   .waited_s = 3,
                                   .took_s = 30,
                                   .told = true,
                                   .prompt_tokens = 320,
                                   .cached_tokens = 100,
                                   .output_tokens = 200,
                                   .load_s = 5,
                                   .prefill_s = 4.4,
                                   .decode_s = 18});
  const auto expect = [&](Predicted what, double actual, double predicted) {
    SCOPED_TRACE(predicted_names[std::to_underlying(what)]);
    EXPECT_DOUBLE_EQ(of(all, what).actual, actual);
    EXPECT_DOUBLE_EQ(of(all, what).predicted, predicted);
  };
  expect(Predicted::prompt, 320, 300);
  expect(Predicted::answer, 200, 100);
  expect(Predicted::wait, 3, 2);
  expect(Predicted::load, 5, 4);
  expect(Predicted::prefill, 4.4 / 220, 2.0 / 200);
  expect(Predicted::decode, 18.0 / 200, 10.0 / 100);
  expect(Predicted::completion, 30, 17);    // what others will wait for is no time of its own
  expect(Predicted::given_length, 30, 27);  // twice as long an answer
}

TEST(Calibration, AWaitIsForOnePlace) {
  const AwaitedPlace elsewhere{.node = NodeId{chosen.node.value() + 1}, .wait_s = 2};
  const Predictions all = compare(chosen, shape, {.awaited = elsewhere, .waited_s = 3});
  EXPECT_EQ(of(all, Predicted::wait).error(), std::nullopt);
}

TEST(Calibration, KnowsOnlyTheCompletionWhereTheNodeTellsNothing) {
  const Predictions all = compare(chosen, shape, {.took_s = 30, .output_tokens = 200});
  for (std::size_t term = 0; term < all.size(); ++term) {
    EXPECT_EQ(all[term].error().has_value(), term == std::to_underlying(Predicted::completion))
        << predicted_names[term];
  }
}

TEST(Calibration, TooLongAndTooShortAreAsFarOff) {
  EXPECT_DOUBLE_EQ(*Prediction(1, 2).error(), std::log(2));
  EXPECT_DOUBLE_EQ(*Prediction(2, 1).error(), std::log(2));
  EXPECT_EQ(Prediction(0, 1).error(), std::nullopt);
}

}  // namespace
}  // namespace sollol::routing

#include "cli/progress_bar.h"

#include <gtest/gtest.h>

namespace sollol::cli {
namespace {

BatchProgress half_done() {
  BatchProgress at{.lines = 100, .done = 50};
  at.lines_per_s = 2.5;
  at.left_s = 75;
  at.shares = {{.node = "fast", .requests = 30}, {.node = "slow", .requests = 10}};
  return at;
}

TEST(ProgressLine, HasTheRateTheTimeLeftAndEachNodesShare) {
  EXPECT_EQ(progress_line(half_done(), 200),
            "[############............] 50/100  2.5/s  1:15 left  fast 75% slow 25%");
}

TEST(ProgressLine, SaysWhatFailedAndNothingThatIsNotKnown) {
  BatchProgress at{.lines = 4, .done = 4, .failed = 1};
  EXPECT_EQ(progress_line(at, 200), "[########################] 4/4, 1 failed  0.0/s");
  at.lines = at.done = 0;
  EXPECT_TRUE(progress_line(at, 200).starts_with("[####"));
}

TEST(ProgressLine, FitsTheTerminal) { EXPECT_EQ(progress_line(half_done(), 10).size(), 10u); }

}  // namespace
}  // namespace sollol::cli

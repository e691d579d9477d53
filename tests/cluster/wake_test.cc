#include "cluster/wake.h"

#include <gtest/gtest.h>

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr WakeOptions options{.interval = 30s, .time = 60s};
constexpr TimePoint start{1000s};

TEST(WakeCalls, AreAnIntervalApart) {
  WakeCalls calls;
  EXPECT_TRUE(calls.may_send(start, options));
  calls.sent(start, options);
  EXPECT_FALSE(calls.may_send(start + 29s, options));
  EXPECT_TRUE(calls.may_send(start + 30s, options));
}

TEST(WakeCalls, AreAnIntervalApartForANodeThatFallsAsleepAgainAtOnceToo) {
  WakeCalls calls;
  calls.sent(start, options);
  calls.awake();
  EXPECT_FALSE(calls.may_send(start + 29s, options));
  EXPECT_TRUE(calls.may_send(start + 30s, options));
}

TEST(WakeCalls, AreGivenUpWhenTheNodeDoesNotComeInTime) {
  WakeCalls calls;
  calls.sent(start, options);
  calls.sent(start + 30s, options);
  EXPECT_FALSE(calls.given_up(start + 59s, options));
  EXPECT_TRUE(calls.given_up(start + 60s, options));
  EXPECT_FALSE(calls.may_send(start + 60s, options));
}

TEST(WakeCalls, AreTakenUpAgainAfterARest) {
  WakeCalls calls;
  calls.sent(start, options);
  const TimePoint rested = start + (1 + WakeCalls::rest) * 60s;
  EXPECT_TRUE(calls.given_up(rested - 1s, options));
  EXPECT_FALSE(calls.given_up(rested, options));
  EXPECT_TRUE(calls.may_send(rested, options));
  calls.sent(rested, options);
  EXPECT_FALSE(calls.given_up(rested + 59s, options));
  EXPECT_TRUE(calls.given_up(rested + 60s, options));
}

TEST(WakeCalls, BeginAnewForANodeThatCame) {
  WakeCalls calls;
  calls.sent(start, options);
  calls.awake();
  EXPECT_FALSE(calls.given_up(start + 60s, options));
  calls.sent(start + 100s, options);
  EXPECT_FALSE(calls.given_up(start + 159s, options));
  EXPECT_TRUE(calls.given_up(start + 160s, options));
}

}  // namespace
}  // namespace sollol::cluster

#include "cluster/retry_budget.h"

#include <gtest/gtest.h>

namespace sollol::cluster {
namespace {

int retries_granted(RetryBudget& budget, int tries) {
  int granted = 0;
  for (int i = 0; i < tries; ++i) granted += budget.try_retry() ? 1 : 0;
  return granted;
}

TEST(RetryBudget, ALoneUsersFirstFailuresAreRetried) {
  RetryBudget budget(20);
  EXPECT_EQ(retries_granted(budget, 100), RetryBudget::reserve_default);
}

TEST(RetryBudget, AFailingFleetIsAskedNoMoreThanItsShareAgain) {
  RetryBudget budget(20);
  int granted = 0;
  for (int i = 0; i < 1000; ++i) {
    budget.on_request();
    granted += budget.try_retry() ? 1 : 0;
  }
  EXPECT_EQ(granted, 1000 * 20 / 100 + RetryBudget::reserve_default);
}

TEST(RetryBudget, QuietTimesDoNotSaveUpWithoutBound) {
  RetryBudget budget(20, 3);
  for (int i = 0; i < 100000; ++i) budget.on_request();
  EXPECT_LE(retries_granted(budget, 1000), 31);
}

TEST(RetryBudget, NoPercentAndNoReserveMeansNoRetry) {
  RetryBudget budget(0, 0);
  for (int i = 0; i < 100; ++i) budget.on_request();
  EXPECT_FALSE(budget.try_retry());
}

}  // namespace
}  // namespace sollol::cluster

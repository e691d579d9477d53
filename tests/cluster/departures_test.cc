#include "cluster/departures.h"

#include <gtest/gtest.h>

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{1h};

TEST(Departures, TellsTheMeanOfThoseThatAreThere) {
  Departures departures;
  departures.add(start + 4s, 0);
  EXPECT_NEAR(departures.left_s(start), 4, 1e-5);
  EXPECT_EQ(departures.doubt(), 0);
  departures.add(start + 10s, 1);
  EXPECT_NEAR(departures.left_s(start + 1s), 6, 1e-5);
  EXPECT_FLOAT_EQ(departures.doubt(), 0.5f);
  departures.remove(start + 4s, 0);
  EXPECT_NEAR(departures.left_s(start + 12s), -2, 1e-5);
  EXPECT_FLOAT_EQ(departures.doubt(), 1);
}

TEST(Departures, KeepNothingOfThoseThatHaveLeft) {
  Departures departures;
  for (int i = 0; i < 1000; ++i) {
    const TimePoint end = start + i * 777us;
    departures.add(end, 0.1f);
    departures.add(end + 1s, 0.3f);
    departures.remove(end, 0.1f);
    departures.remove(end + 1s, 0.3f);
  }
  departures.add(start + 2s, 0.25f);
  EXPECT_NEAR(departures.left_s(start), 2, 1e-5);
  EXPECT_EQ(departures.doubt(), 0.25f);
}

}  // namespace
}  // namespace sollol::cluster

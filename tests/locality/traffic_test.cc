#include "locality/traffic.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace sollol::locality {
namespace {

using namespace std::chrono_literals;

constexpr NodeId a{1}, b{2}, c{3};

/// Requests of three nodes, one after the other or at once, with a slowdown between a and b.
class Traffic : public testing::Test {
 protected:
  Traffic() { judge.watch({{a, b}, {a, c}, {b, c}}); }

  TrafficRecord request(NodeId node, Duration from, Duration to, double rate = 50) const {
    return {.node = node,
            .kind = 7,
            .began = now + from,
            .ended = now + to,
            .decode_began = now + from + (to - from) / 20,
            .tokens_per_s = rate,
            .solo = true};
  }
  void pass(Duration time) {
    now += time;
    for (const NodeId node : {a, b, c}) judge.settled(node, now);
    judge.advance(now);
  }
  /// As many rounds of each alone and both at once.
  void rounds(int count, double slowdown) {
    for (int i = 0; i < count; ++i) {
      const double vary = 1 + 0.01 * (i % 3 - 1);
      judge.note(request(a, 0s, 2s, 50 * vary));
      judge.note(request(b, 3s, 5s, 20 * vary));
      judge.note(request(a, 6s, 10s, 50 / slowdown * vary));
      judge.note(request(b, 6s, 10s, 20 / slowdown * vary));
      pass(12s);
    }
  }

  TimePoint now{1h};
  TrafficJudge judge;
};

TEST_F(Traffic, TellsWhatNodesShare) {
  for (const auto& [slowdown, want] :
       {std::pair{2.0, Relation::same_device}, std::pair{1.15, Relation::same_host},
        std::pair{1.0, Relation::independent}}) {
    judge = TrafficJudge();
    judge.watch({{a, b}, {a, c}, {b, c}});
    rounds(12, slowdown);
    EXPECT_EQ(judge.verdict(a, b).relation, want) << slowdown;
    const auto news = judge.news();
    ASSERT_EQ(news.size(), 1u);
    EXPECT_EQ(std::pair(news[0].a, news[0].b), std::pair(a, b));
    EXPECT_TRUE(judge.news().empty());
  }
}

TEST_F(Traffic, SaysNothingWithFew) {
  rounds(6, 2);
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, NeitherAloneNorBesideIsDropped) {
  for (int i = 0; i < 40; ++i) {
    judge.note(request(a, 0s, 4s, 50));
    judge.note(request(b, 0s, 3s, 20));  // three quarters of it
    judge.note(request(b, 6s, 7s, 20));
    pass(10s);
  }
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, AThirdThatWorksSpoilsIt) {
  for (int i = 0; i < 12; ++i) {
    judge.note(request(c, 0s, 10s));
    rounds(1, 2);
  }
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, UnequalConcurrencyDoesNotCount) {
  for (int i = 0; i < 12; ++i) {
    auto crowded = request(b, 6s, 10s, 10);
    crowded.solo = false;
    judge.note(crowded);  // b is busier than one request while both work
    rounds(1, 2);
  }
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, RatesOfOtherKindsAndOtherTimesDoNotCompare) {
  for (int i = 0; i < 12; ++i) {
    judge.note(request(a, 0s, 2s));
    judge.note(request(b, 3s, 5s));
    pass(6s);
  }
  now += 1h;  // by now something else may be different
  for (int i = 0; i < 12; ++i) {
    judge.note(request(a, 0s, 2s, 25));
    judge.note(request(b, 0s, 2s, 25));
    pass(3s);
  }
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, WaitsUntilItIsKnownWhatANeighbourDid) {
  for (int i = 0; i < 12; ++i) {
    judge.note(request(a, 0s, 2s, 25));
    judge.advance(now + 2s);  // b's request began before and is still under way
    judge.note(request(b, -1s, 3s, 10));
    judge.note(request(a, 5s, 7s, 50));
    judge.note(request(b, 8s, 9s, 20));
    pass(12s);
  }
  EXPECT_NEAR(judge.verdict(a, b).slowdown, 1, 0.01);  // b's longer one never counts: no verdict
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, WhatWasNotSeenIsNotJudged) {
  for (int i = 0; i < 12; ++i) {
    judge.blind(now + 11s);
    rounds(1, 2);
  }
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
}

TEST_F(Traffic, ANodeThatIsAnotherIsForgotten) {
  rounds(12, 2);
  judge.forget(b);
  EXPECT_EQ(judge.verdict(a, b).relation, Relation::unknown);
  judge.watch({{a, c}});
  EXPECT_FALSE(judge.watches(b));
}

/// Whatever comes, a verdict on exact rates is right: loads at random, truth by construction.
TEST_F(Traffic, IsNeverWrongAboutRandomTraffic) {
  SeededRandom random(3);
  for (int trial = 0; trial < 60; ++trial) {
    const double slowdown = std::array{1.0, 1.15, 2.0}[static_cast<std::size_t>(trial) % 3];
    judge = TrafficJudge();
    judge.watch({{a, b}});
    for (int i = 0; i < 300; ++i) {
      const auto length = [&] { return 1s + std::chrono::milliseconds(random.bits() % 2000); };
      const Duration of_a = length(), of_b = length();
      const bool both = random.bits() % 2 == 0;
      const bool first = random.bits() % 2 == 0;
      const double noise = 1 + 0.02 * (static_cast<double>(random.bits() % 1000) / 500 - 1);
      const auto rate = [&](Duration mine, Duration other, double alone) {
        const double share = both ? std::min(1.0, to_seconds(other) / to_seconds(mine)) : 0;
        return noise * alone / (1 + share * (slowdown - 1));
      };
      if (both || first) judge.note(request(a, 0s, of_a, rate(of_a, of_b, 50)));
      if (both || !first) judge.note(request(b, 0s, of_b, rate(of_b, of_a, 20)));
      pass(4s);
    }
    const Relation got = judge.verdict(a, b).relation;
    const Relation truth = slowdown == 1.0   ? Relation::independent
                           : slowdown == 2.0 ? Relation::same_device
                                             : Relation::same_host;
    EXPECT_EQ(got, truth) << "trial " << trial << ", slowdown " << judge.verdict(a, b).slowdown;
  }
}

}  // namespace
}  // namespace sollol::locality

// A node that became slow at once is tried again, and not for ever avoided.
#include "cluster/setback.h"

#include <gtest/gtest.h>

#include "cluster/learn.h"
#include "cluster/place.h"

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

class SlowNode : public testing::Test {
 protected:
  SlowNode() {
    node.live = std::make_shared<NodeLive>();
    for (int i = 0; i < 30; ++i) answer(100);
  }
  /// An answer of a node that writes so many tokens a second, and reads twenty times as many.
  void answer(double rate) {
    const auto entered = enter(node, &replica, 8, {}, now);
    now += from_seconds(0.1);
    leave(node, &replica, *entered, now);
    learn(*node.live, replica,
          {.took = 1s,
           .told = true,
           .prompt_tokens = 100,
           .output_tokens = 100,
           .prompt_eval = from_seconds(5 / rate),
           .eval = from_seconds(100 / rate)},
          now);
  }
  void become_slow() {
    while (!replica.decode_setback.pending()) answer(10);
  }
  double decode() const { return replica.decode_setback.rate(replica.decode_tokens_per_s, now); }
  double prefill() const { return replica.prefill_setback.rate(replica.prefill_tokens_per_s, now); }

  TimePoint now{1h};
  Node node{.id = NodeId{0}, .info = {}, .host_field = {}, .addresses = {}, .live = {}};
  ReplicaLive replica{8};
};

TEST_F(SlowNode, IsTakenForSlowAtFirst) {
  become_slow();
  EXPECT_NEAR(decode(), 10, 1);
  EXPECT_NEAR(prefill(), 200, 20);
  now += Setback::pause_first - 1s;
  EXPECT_NEAR(decode(), 10, 1);
}

TEST_F(SlowNode, IsTriedByOneRequestAfterAWhile) {
  become_slow();
  now += Setback::pause_first;
  EXPECT_NEAR(decode(), 100, 8);
  EXPECT_NEAR(prefill(), 2000, 100);
  const auto entered = enter(node, &replica, 8, {}, now);
  ASSERT_TRUE(entered);
  EXPECT_NEAR(decode(), 10, 1);  // the next one goes elsewhere until that is known
  EXPECT_NEAR(prefill(), 200, 20);
}

TEST_F(SlowNode, OneFastAnswerSaysThatItIsWell) {
  become_slow();
  now += Setback::pause_first;
  answer(98);
  EXPECT_NEAR(decode(), 100, 8);
  EXPECT_NEAR(prefill(), 2000, 100);
  EXPECT_FALSE(replica.decode_setback.pending());
  now += 24h;
  EXPECT_NEAR(decode(), 100, 8);
}

TEST_F(SlowNode, ThatStaysSlowIsTriedMoreAndMoreSeldom) {
  become_slow();
  int trials = 0;
  for (const TimePoint end = now + 24h; now < end; now += 1s) {
    if (decode() < 50) continue;
    ++trials;
    answer(10);
  }
  EXPECT_GE(trials, 24);
  EXPECT_LE(trials, 24 + 10);
  EXPECT_NEAR(replica.decode_tokens_per_s, 10, 1);
}

TEST_F(SlowNode, ALittleSlowerIsNoSetback) {
  for (int i = 0; i < 50; ++i) answer(75);
  EXPECT_FALSE(replica.decode_setback.pending());
  EXPECT_FALSE(replica.prefill_setback.pending());
  EXPECT_NEAR(decode(), 75, 8);
}

TEST_F(SlowNode, FasterIsBelievedAtOnce) {
  for (int i = 0; i < 5; ++i) answer(1000);
  EXPECT_FALSE(replica.decode_setback.pending());
  EXPECT_GT(decode(), 900);
}

TEST_F(SlowNode, FallingOnceMoreKeepsWhatWasBeforeBoth) {
  become_slow();
  for (int i = 0; i < 20; ++i) answer(1);
  EXPECT_LT(replica.decode_tokens_per_s, 5);
  now += Setback::pause_most;
  EXPECT_NEAR(decode(), 100, 8);
  answer(97);
  EXPECT_NEAR(decode(), 100, 8);
}

}  // namespace
}  // namespace sollol::cluster

#include "batch/width.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>

namespace sollol::batch {
namespace {

WidthFacts sequential(std::size_t slots, std::size_t tasks) {
  return {.parallel = false, .reason = "one machine", .slots = slots, .tasks = tasks};
}

/// Equal tasks on nodes that slow each other, told to a judge as a batch would.
struct Bench {
  std::vector<double> rates;  // of each node alone
  double slowdown = 0;        // of each further task under way
  double now_s = 0;
  std::size_t tasks = 0;  // run until it settled

  void settle(WidthJudge& judge, double work = 100) {
    struct Run {
      WidthJudge::Ticket ticket;
      double began_s, left;
    };
    std::vector<std::optional<Run>> nodes(rates.size());
    const auto busy = [&] { return std::ranges::count_if(nodes, [](auto& n) { return !!n; }); };
    while (!judge.settled()) {
      const bool alone = judge.width() == Width::alone;
      for (std::size_t i = nodes.size(); i-- > 0;) {
        const bool best = rates[i] == std::ranges::max(rates);
        if (nodes[i] || (alone && (busy() > 0 || !best))) continue;
        nodes[i] = Run{judge.note_sent(now_s, work), now_s, work};
      }
      const double slow = 1 + slowdown * static_cast<double>(busy() - 1);
      std::size_t first = nodes.size();
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (nodes[i] && (first == nodes.size() ||
                         nodes[i]->left / rates[i] < nodes[first]->left / rates[first]))
          first = i;
      }
      const double step = nodes[first]->left / rates[first] * slow;
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        if (nodes[i]) nodes[i]->left -= step * rates[i] / slow;
      }
      now_s += step;
      const Run ended = *nodes[first];
      nodes[first].reset();
      ++tasks;
      judge.observe(ended.ticket, {.node = std::to_string(first),
                                   .began_s = ended.began_s,
                                   .ended_s = now_s,
                                   .work = work});
    }
  }
};

TEST(WidthJudge, WhereLocalitySaysParallelItIsWideAtOnce) {
  const WidthJudge judge({.parallel = true, .reason = "two machines", .slots = 2, .tasks = 100});
  EXPECT_TRUE(judge.settled());
  EXPECT_EQ(judge.width(), Width::wide);
  EXPECT_NE(judge.reason().find("two machines"), std::string::npos);
}

TEST(WidthJudge, AShortBatchFollowsTheAdvice) {
  const WidthJudge judge(sequential(3, WidthJudge::trial_tasks_min - 1));
  EXPECT_TRUE(judge.settled());
  EXPECT_EQ(judge.width(), Width::alone);
}

TEST(WidthJudge, NodesWithAGpuEachTurnOutToBeFasterTogether) {
  WidthJudge judge(sequential(2, 100));
  EXPECT_FALSE(judge.settled());
  Bench bench{.rates = {50, 50}};
  bench.settle(judge);
  EXPECT_EQ(judge.width(), Width::wide);
  EXPECT_LE(bench.tasks, 2 + 4u);
}

TEST(WidthJudge, NodesThatThrashTurnOutToBeFasterAlone) {
  WidthJudge judge(sequential(3, 100));
  Bench bench{.rates = {50, 50, 50}, .slowdown = 1.5};
  bench.settle(judge);
  EXPECT_EQ(judge.width(), Width::alone);
}

TEST(WidthJudge, FirstRequestsThatMayHaveLoadedAModelDoNotCount) {
  WidthJudge judge(sequential(2, 100));
  double now = 0;
  const auto run = [&](std::string node, double took, bool counts) {
    const auto ticket = judge.note_sent(now, 10);
    judge.observe(ticket, {.node = std::move(node),
                           .began_s = now,
                           .ended_s = now + took,
                           .work = 10,
                           .counts = counts});
    now += took;
  };
  run("a", 60, false);
  run("a", 1, true);
  run("a", 1, true);
  EXPECT_EQ(judge.width(), Width::wide);
  EXPECT_FALSE(judge.settled());
}

TEST(WidthJudge, TasksOfAnEarlierTrialAreNotMixedIn) {
  WidthJudge judge(sequential(2, 100));
  const auto old = judge.note_sent(0, 10);
  for (int i = 0; i < 2; ++i)
    judge.observe(judge.note_sent(0, 10),
                  {.node = "a", .began_s = i * 1.0, .ended_s = i + 1.0, .work = 9});
  // The first was sent before these and is still under way: two of the three have to end.
  judge.observe(old, {.node = "a", .began_s = 0, .ended_s = 9, .work = 9});
  EXPECT_EQ(judge.width(), Width::wide);
  judge.observe(old, {.node = "a", .began_s = 0, .ended_s = 9, .work = 1e9});
  EXPECT_FALSE(judge.settled());
}

TEST(WidthJudge, WhenAllFailsTheAdviceStands) {
  WidthJudge judge(sequential(2, 100));
  for (int i = 0; i < 50 && !judge.settled(); ++i)
    judge.observe(judge.note_sent(0, 10), {.counts = false});
  EXPECT_TRUE(judge.settled());
  EXPECT_EQ(judge.width(), Width::alone);
}

TEST(WidthJudge, MoreSlotsFoundLaterAreTried) {
  WidthJudge judge(sequential(1, 100));
  EXPECT_TRUE(judge.settled());
  judge.advise(sequential(4, 90));
  EXPECT_FALSE(judge.settled());
}

TEST(WidthJudge, WhatWasMeasuredIsNotOverruledByAdvice) {
  WidthJudge judge(sequential(2, 100));
  Bench bench{.rates = {50, 50}};
  bench.settle(judge);
  judge.advise(sequential(2, 50));
  judge.advise({.parallel = true, .reason = "", .slots = 2, .tasks = 50});
  EXPECT_TRUE(judge.settled());
  EXPECT_NE(judge.reason().find("as measured"), std::string::npos);
}

RC_GTEST_PROP(WidthJudgeProperty, SettlesOnTheBetterWithinAFewTasks, ()) {
  const auto nodes = *rc::gen::inRange<std::size_t>(2, 6);
  Bench bench;
  for (std::size_t i = 0; i < nodes; ++i) bench.rates.push_back(*rc::gen::inRange(10, 80));
  bench.slowdown = *rc::gen::inRange(0, 300) / 100.0;
  double sum = 0;
  for (const double rate : bench.rates) sum += rate;
  const double many = sum / (1 + bench.slowdown * static_cast<double>(nodes - 1));
  const double one = std::ranges::max(bench.rates);
  WidthJudge judge(sequential(nodes, 1000));
  bench.settle(judge);
  RC_ASSERT(bench.tasks <= 2 * WidthJudge::alone_samples + 2 * nodes);
  // Where the two are within a quarter of each other the slowest may not have shown itself yet.
  if (many > one * 1.25) RC_ASSERT(judge.width() == Width::wide);
  if (one > many * 1.25) RC_ASSERT(judge.width() == Width::alone);
}

}  // namespace
}  // namespace sollol::batch

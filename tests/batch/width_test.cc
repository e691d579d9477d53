#include "batch/width.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>
#include <random>

namespace sollol::batch {
namespace {

std::vector<NodeSlots> nodes_of(std::size_t count, std::size_t slots = 1) {
  std::vector<NodeSlots> nodes;
  for (std::size_t i = 0; i < count; ++i) nodes.push_back({std::to_string(i), slots});
  return nodes;
}

/// Of so many nodes with a slot each.
WidthFacts sequential(std::size_t nodes, std::size_t tasks) {
  return {.parallel = false,
          .reason = "one machine",
          .slots = nodes,
          .nodes = nodes_of(nodes),
          .tasks = tasks};
}

/// Nodes of one machine that slow each other.
struct MachineSpec {
  std::vector<double> rates;      // of one request that runs alone
  std::size_t slots = 1;          // of each node
  double neighbour_slowdown = 0;  // by each request at another node
  double own_slowdown = 0;        // by each other request at the same node
  double noise = 0;               // share by which a request's own speed is off, up and down
  std::function<double()> chance = [] { return 0.5; };
};

/// A batch on them, in virtual time.
class Machine : private MachineSpec {
 public:
  explicit Machine(MachineSpec spec) : MachineSpec(std::move(spec)) {}

  WidthFacts facts(std::size_t tasks) const {
    return {.parallel = false,
            .reason = "one machine",
            .slots = rates.size() * slots,
            .nodes = nodes_of(rates.size(), slots),
            .tasks = tasks};
  }

  struct Outcome {
    double seconds = 0;
    std::size_t tried = 0;  // tasks that ended before the judge had settled
  };
  /// As `judge` wants it; one at a time at nodes that were not used yet, then at the fastest.
  Outcome run(WidthJudge& judge, const std::vector<double>& works) {
    return run(works, &judge, {}, 0);
  }
  double seconds_alone(const std::vector<double>& works) {
    return run(works, nullptr, {best()}, 1).seconds;
  }
  double seconds_on(const std::vector<std::size_t>& nodes, const std::vector<double>& works) {
    return run(works, nullptr, nodes, slots).seconds;
  }
  std::vector<std::size_t> all() const {
    std::vector<std::size_t> nodes(rates.size());
    std::iota(nodes.begin(), nodes.end(), 0);
    return nodes;
  }

 private:
  struct Task {
    WidthJudge::Ticket ticket;
    std::size_t node;
    double began_s, work, left, speed;
  };
  std::size_t best() const {
    return static_cast<std::size_t>(std::ranges::max_element(rates) - rates.begin());
  }
  std::size_t at(std::size_t node) const {
    return static_cast<std::size_t>(std::ranges::count(running_, node, &Task::node));
  }
  double rate(const Task& task) const {
    const std::size_t here = at(task.node);
    return rates[task.node] * task.speed /
           ((1 + own_slowdown * static_cast<double>(here - 1)) *
            (1 + neighbour_slowdown * static_cast<double>(running_.size() - here)));
  }
  /// Where the next one goes: as a batch and its gateway do it.
  std::optional<std::size_t> place(const WidthJudge* judge, const std::vector<std::size_t>& nodes,
                                   std::size_t width) const {
    if (judge == nullptr) return first_free(nodes, width);
    if (judge->width() == Width::alone) {
      if (!running_.empty()) return std::nullopt;
      const auto unknown = std::ranges::find(used_, false);  // a gateway tries these first
      return unknown == used_.end() ? best() : static_cast<std::size_t>(unknown - used_.begin());
    }
    std::vector<std::size_t> wanted;
    for (const std::string& node : judge->nodes()) wanted.push_back(std::stoul(node));
    return first_free(wanted, std::min(slots, judge->slots_max()));
  }
  std::optional<std::size_t> first_free(const std::vector<std::size_t>& nodes,
                                        std::size_t width) const {
    for (const std::size_t node : nodes) {
      if (at(node) < width) return node;
    }
    return std::nullopt;
  }
  Outcome run(const std::vector<double>& works, WidthJudge* judge,
              const std::vector<std::size_t>& nodes, std::size_t width) {
    Outcome outcome;
    double& now_s = outcome.seconds;
    running_.clear();
    used_.assign(rates.size(), false);
    std::size_t next = 0;
    while (next < works.size() || !running_.empty()) {
      while (next < works.size()) {
        const auto node = place(judge, nodes, width);
        if (!node) break;
        Task task{.ticket = {},
                  .node = *node,
                  .began_s = now_s,
                  .work = works[next],
                  .left = works[next],
                  .speed = 1 + noise * (2 * chance() - 1)};
        if (judge != nullptr)
          task.ticket = judge->note_sent(now_s, task.work, std::to_string(*node));
        running_.push_back(task);
        used_[*node] = true;
        ++next;
      }
      std::vector<double> speeds;
      for (const Task& task : running_) speeds.push_back(rate(task));
      double step = running_[0].left / speeds[0];
      for (std::size_t i = 0; i < running_.size(); ++i)
        step = std::min(step, running_[i].left / speeds[i]);
      std::size_t ended = 0;
      for (std::size_t i = 0; i < running_.size(); ++i) {
        running_[i].left -= step * speeds[i];
        if (running_[i].left < running_[ended].left) ended = i;
      }
      now_s += step;
      const Task task = running_[ended];
      running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(ended));
      if (judge == nullptr) continue;
      if (!judge->settled()) ++outcome.tried;
      judge->observe(task.ticket, {.node = std::to_string(task.node),
                                   .began_s = task.began_s,
                                   .ended_s = now_s,
                                   .work = task.work});
    }
    return outcome;
  }

  std::vector<Task> running_;
  std::vector<bool> used_;  // nodes
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
  Machine machine({.rates = {50, 50}});
  WidthJudge judge(machine.facts(100));
  EXPECT_FALSE(judge.settled());
  const auto outcome = machine.run(judge, std::vector<double>(100, 100));
  EXPECT_EQ(judge.width(), Width::wide);
  EXPECT_EQ(judge.nodes().size(), 2u);
  EXPECT_LE(outcome.tried, 2 + 2u);
}

TEST(WidthJudge, NodesThatThrashTurnOutToBeFasterAlone) {
  Machine machine({.rates = {50, 50, 50}, .neighbour_slowdown = 1.5});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(100, 100));
  EXPECT_EQ(judge.width(), Width::alone);
}

TEST(WidthJudge, ASlowNodeThatTakesMoreThanItGivesIsLeftOut) {
  Machine machine({.rates = {150, 300, 300}, .neighbour_slowdown = 0.8});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(100, 100));
  EXPECT_EQ(judge.width(), Width::wide);
  std::vector<std::string> kept(judge.nodes().begin(), judge.nodes().end());
  std::ranges::sort(kept);
  EXPECT_EQ(kept, (std::vector<std::string>{"1", "2"}));
  EXPECT_TRUE(judge.reason().contains("2 of 3 nodes")) << judge.reason();
}

TEST(WidthJudge, AFastNodeThatTheFirstRequestsMissedIsFound) {
  Machine machine({.rates = {300, 300, 600}, .neighbour_slowdown = 1.03});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(100, 100));
  ASSERT_EQ(judge.nodes().size(), 1u);
  EXPECT_EQ(judge.nodes()[0], "2");
}

TEST(WidthJudge, AFastNodeIsFoundAndFilledThoughAllAtOnceWereGivenUp) {
  Machine machine(
      {.rates = {300, 300, 600}, .slots = 2, .neighbour_slowdown = 1.63, .own_slowdown = 0.24});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(100, 100));
  ASSERT_EQ(judge.nodes().size(), 1u);
  EXPECT_EQ(judge.nodes()[0], "2");
  EXPECT_GE(judge.slots_max(), 2u);
}

TEST(WidthJudge, ANodeThatGainsBySeveralAtOnceIsFilledWithoutItsNeighbour) {
  Machine machine(
      {.rates = {300, 150}, .slots = 2, .neighbour_slowdown = 0.8, .own_slowdown = 0.4});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(100, 100));
  EXPECT_EQ(judge.width(), Width::wide);
  ASSERT_EQ(judge.nodes().size(), 1u);
  EXPECT_EQ(judge.nodes()[0], "0");
}

TEST(WidthJudge, WaysThatAreCloseAreTriedAgainAndThenKept) {
  Machine machine({.rates = {100, 100}, .neighbour_slowdown = 0.95});
  WidthJudge judge(machine.facts(100));
  const auto outcome = machine.run(judge, std::vector<double>(100, 100));
  EXPECT_TRUE(judge.settled());
  EXPECT_GE(outcome.tried, WidthJudge::rounds_max * WidthJudge::alone_samples);
  EXPECT_LE(outcome.tried, 30u);
}

TEST(WidthJudge, FirstRequestsThatMayHaveLoadedAModelDoNotCount) {
  WidthJudge judge(sequential(2, 100));
  double now = 0;
  const auto run = [&](std::string node, double took, bool counts) {
    const auto ticket = judge.note_sent(now, 10, {});
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

TEST(WidthJudge, TasksBesideOnesOfAnEarlierTrialDoNotCount) {
  WidthJudge judge(sequential(2, 100));
  const auto old = judge.note_sent(0, 10, {});
  for (int i = 0; i < 2; ++i)
    judge.observe(judge.note_sent(0, 10, {}),
                  {.node = "0", .began_s = i * 1.0, .ended_s = i + 1.0, .work = 10});
  ASSERT_EQ(judge.width(), Width::wide);
  const auto both_end = [&](double began_s) {
    const auto first = judge.note_sent(began_s, 10, "0");
    const auto second = judge.note_sent(began_s, 10, "1");
    judge.observe(first, {.node = "0", .began_s = began_s, .ended_s = began_s + 1, .work = 10});
    judge.observe(second, {.node = "1", .began_s = began_s, .ended_s = began_s + 1, .work = 10});
  };
  both_end(2);
  EXPECT_FALSE(judge.settled());
  judge.observe(old, {.node = "0", .began_s = 0, .ended_s = 9, .work = 10});
  both_end(9);
  EXPECT_TRUE(judge.settled());
}

TEST(WidthJudge, WhenAllFailsTheAdviceStands) {
  WidthJudge judge(sequential(2, 100));
  for (int i = 0; i < 50 && !judge.settled(); ++i)
    judge.observe(judge.note_sent(0, 10, "0"), {.counts = false});
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
  Machine machine({.rates = {50, 50}});
  WidthJudge judge(machine.facts(100));
  machine.run(judge, std::vector<double>(20, 100));
  judge.advise(sequential(2, 50));
  judge.advise({.parallel = true, .reason = "", .slots = 2, .tasks = 50});
  EXPECT_TRUE(judge.settled());
  EXPECT_NE(judge.reason().find("as measured"), std::string::npos);
}

/// Lengths of a batch's tasks as its plan has them while a trial runs: rather short ones first,
/// then the longest.
std::vector<double> planned_works(std::size_t tasks, std::mt19937_64& engine) {
  std::lognormal_distribution<double> length(3.2, 0.5);
  std::vector<double> works(tasks);
  for (double& work : works) work = std::max(5.0, length(engine));
  std::ranges::sort(works, std::greater<>());
  std::ranges::rotate(works, works.begin() + static_cast<std::ptrdiff_t>(tasks * 3 / 4));
  return works;
}

/// How many times as long as the better of one at a time and all at once.
double times_the_better(const MachineSpec& spec, const std::vector<double>& works) {
  Machine machine(spec);
  WidthJudge judge(machine.facts(works.size()));
  const auto outcome = machine.run(judge, works);
  return outcome.seconds /
         std::min(machine.seconds_alone(works), machine.seconds_on(machine.all(), works));
}

/// What trials cost grows with the slots that they must fill.
TEST(WidthJudge, OfFleetsWithSeveralSlotsAtMostTwoInAHundredAreThreePercentOff) {
  std::mt19937_64 engine(7);
  const auto between = [&](double least, double most) {
    return std::uniform_real_distribution<double>(least, most)(engine);
  };
  constexpr int fleets = 2000;
  std::vector<double> off;
  for (int i = 0; i < fleets; ++i) {
    MachineSpec spec{.rates = std::vector<double>(3 + engine() % 2, 300),
                     .slots = 2 + engine() % 2,
                     .neighbour_slowdown = between(0, 2.5),
                     .own_slowdown = between(0.1, 1.5)};
    for (double& rate : spec.rates) rate *= engine() % 4 == 0 ? 0.5 : 1;
    off.push_back(times_the_better(spec, planned_works(400, engine)));
  }
  EXPECT_LE(std::ranges::count_if(off, [](double times) { return times > 1.03; }), fleets / 50);
  EXPECT_LE(std::ranges::max(off), 1.1);
}

/// The bar of bench/batch, in virtual time, on nodes with a slot each.
RC_GTEST_PROP(WidthJudgeProperty, ABatchTakesAtMostThreePercentLongerThanTheBetterOfBoth, ()) {
  const std::size_t tasks = 400;
  MachineSpec spec;
  const auto nodes = *rc::gen::inRange<std::size_t>(2, 5);
  for (std::size_t i = 0; i < nodes; ++i)
    spec.rates.push_back(*rc::gen::element(300.0, 300.0, 300.0, 150.0));
  spec.neighbour_slowdown = *rc::gen::inRange(0, 250) / 100.0;
  std::mt19937_64 engine(*rc::gen::arbitrary<std::uint64_t>());
  const double times = times_the_better(spec, planned_works(tasks, engine));
  RC_LOG() << times << " times the better\n";
  RC_ASSERT(times <= 1.03);
}

RC_GTEST_PROP(WidthJudgeProperty, ItSettlesWithinAFewTasksHoweverUnsteadyTheNodesAre, ()) {
  MachineSpec spec;
  const auto nodes = *rc::gen::inRange<std::size_t>(2, 6);
  for (std::size_t i = 0; i < nodes; ++i) spec.rates.push_back(*rc::gen::inRange(30, 80));
  spec.slots = *rc::gen::inRange<std::size_t>(1, 4);
  spec.neighbour_slowdown = *rc::gen::inRange(0, 300) / 100.0;
  spec.noise = 0.5;
  std::mt19937_64 engine(*rc::gen::arbitrary<std::uint64_t>());
  spec.chance = [&] { return std::uniform_real_distribution<double>()(engine); };
  Machine machine(spec);
  WidthJudge judge(machine.facts(1000));
  const auto outcome = machine.run(judge, std::vector<double>(1000, 100));
  RC_ASSERT(judge.settled());
  // Five ways, each as often as it may be repeated; while the slowest node ends one task beside
  // those of the trial before, and one that counts, a fast one may end a dozen.
  RC_ASSERT(outcome.tried <= 5 * WidthJudge::rounds_max * 12 * nodes * spec.slots);
}

}  // namespace
}  // namespace sollol::batch

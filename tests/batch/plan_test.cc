#include "batch/plan.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>

namespace sollol::batch {
namespace {

std::vector<Task> tasks_of(const std::vector<std::pair<std::uint32_t, double>>& lanes_and_work) {
  std::vector<Task> tasks;
  for (const auto& [lane, work] : lanes_and_work)
    tasks.push_back({.line = static_cast<std::uint32_t>(tasks.size()), .lane = lane, .work = work});
  return tasks;
}

TEST(Plan, TheLongestGoesFirst) {
  Plan plan(tasks_of({{0, 5}, {0, 9}, {0, 9}, {0, 1}}), 1);
  const std::vector<std::size_t> room = {1};
  for (const std::uint32_t want : {1u, 2u, 0u, 3u})
    EXPECT_EQ(plan.next(room, Plan::Lanes::all)->line, want);
  EXPECT_FALSE(plan.next(room, Plan::Lanes::all).has_value());
}

TEST(Plan, TheLaneWithMostWorkThatHasRoom) {
  Plan plan(tasks_of({{0, 5}, {1, 9}, {1, 9}}), 2);
  EXPECT_EQ(plan.next(std::vector<std::size_t>{1, 1}, Plan::Lanes::all)->lane, 1u);
  EXPECT_EQ(plan.next(std::vector<std::size_t>{1, 0}, Plan::Lanes::all)->lane, 0u);
  EXPECT_FALSE(plan.next(std::vector<std::size_t>{1, 0}, Plan::Lanes::all).has_value());
}

TEST(Plan, InTurnALaneIsEndedBeforeTheNext) {
  Plan plan(tasks_of({{0, 5}, {0, 5}, {1, 3}, {1, 3}, {1, 3}}), 2);
  const std::vector<std::size_t> room = {1, 1};
  std::vector<std::uint32_t> lanes;
  while (const auto task = plan.next(room, Plan::Lanes::in_turn)) lanes.push_back(task->lane);
  EXPECT_EQ(lanes, (std::vector<std::uint32_t>{0, 0, 1, 1, 1}));
}

TEST(Plan, ATrialTakesRatherShortOnesOfOneLane) {
  Plan plan(tasks_of({{0, 5}, {0, 4}, {0, 3}, {0, 2}, {0, 1}, {1, 1}}), 2);
  const std::vector<std::size_t> room = {1, 1};
  EXPECT_EQ(plan.next(room, Plan::Lanes::trial)->work, 2);
  EXPECT_EQ(plan.next(room, Plan::Lanes::trial)->work, 3);
  EXPECT_EQ(plan.next(room, Plan::Lanes::all)->work, 5);
}

TEST(Plan, WhatIsPutBackIsNext) {
  Plan plan(tasks_of({{0, 5}, {0, 9}}), 1);
  const std::vector<std::size_t> room = {1};
  plan.next(room, Plan::Lanes::all);
  plan.put_back({.line = 7, .lane = 0, .work = 1, .attempts = 2});
  EXPECT_EQ(plan.work_left(), 6);
  EXPECT_EQ(plan.next(room, Plan::Lanes::all)->attempts, 2u);
}

RC_GTEST_PROP(PlanProperty, EveryTaskIsStartedOnceAndRoomIsKept, ()) {
  const auto lanes = *rc::gen::inRange<std::uint32_t>(1, 5);
  const auto drawn = *rc::gen::container<std::vector<std::pair<std::uint32_t, int>>>(
      rc::gen::pair(rc::gen::inRange<std::uint32_t>(0, lanes), rc::gen::inRange(0, 1000)));
  std::vector<std::pair<std::uint32_t, double>> wanted(drawn.begin(), drawn.end());
  Plan plan(tasks_of(wanted), lanes);
  std::set<std::uint32_t> started;
  while (plan.left() > 0) {
    std::vector<std::size_t> room;
    for (std::uint32_t lane = 0; lane < lanes; ++lane)
      room.push_back(*rc::gen::inRange<std::size_t>(0, 2));
    const auto order =
        *rc::gen::element(Plan::Lanes::all, Plan::Lanes::in_turn, Plan::Lanes::trial);
    if (const auto task = plan.next(room, order)) {
      RC_ASSERT(room[task->lane] > 0u);
      RC_ASSERT(started.insert(task->line).second);
    } else if (order == Plan::Lanes::all) {
      // Nothing but a lack of room holds a task back.
      std::vector<std::size_t> all(lanes, 1);
      const auto later = plan.next(all, order);
      RC_ASSERT(later.has_value());
      RC_ASSERT(room[later->lane] == 0u);
      RC_ASSERT(started.insert(later->line).second);
    }
  }
  RC_ASSERT(started.size() == wanted.size());
}

TEST(Hedge, ASlowNodesLastTaskGoesToAFastOneThatIsIdle) {
  const std::vector<Place> places = {{.work_per_s = 1}, {.work_per_s = 8, .free = 1}};
  const std::vector<Running> running = {{.place = 0, .since_s = 0, .work = 100}};
  const auto hedge = choose_hedge(running, places, 10);
  ASSERT_TRUE(hedge.has_value());
  EXPECT_EQ(hedge->running, 0u);
  EXPECT_EQ(hedge->place, 1u);
}

struct NoHedge {
  const char* name;
  Running running;
  std::vector<Place> places;
};
class NotWorthIt : public testing::TestWithParam<NoHedge> {};
TEST_P(NotWorthIt, NothingIsAskedTwice) {
  const std::vector<Running> running = {GetParam().running};
  EXPECT_FALSE(choose_hedge(running, GetParam().places, 10).has_value());
}
INSTANTIATE_TEST_SUITE_P(
    Table, NotWorthIt,
    testing::Values(
        NoHedge{"almost_done", {0, 0, 11}, {{.work_per_s = 1}, {.work_per_s = 4, .free = 1}}},
        NoHedge{"equal_node", {0, 0, 20}, {{.work_per_s = 1}, {.work_per_s = 1, .free = 1}}},
        NoHedge{"fast_one_busy", {0, 0, 100}, {{.work_per_s = 1}, {.work_per_s = 8, .free = 0}}},
        NoHedge{"own_node", {0, 0, 100}, {{.work_per_s = 1, .free = 3}}},
        NoHedge{"not_placed", {Running::npos, 0, 100}, {{.work_per_s = 8, .free = 1}}},
        NoHedge{
            "asked_twice", {0, 0, 100, true}, {{.work_per_s = 1}, {.work_per_s = 8, .free = 1}}},
        NoHedge{"speed_unknown", {0, 0, 100}, {{.work_per_s = 1}, {.free = 1}}}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Hedge, TheOneThatTakesLongestYetComesFirst) {
  const std::vector<Place> places = {
      {.work_per_s = 1}, {.work_per_s = 2}, {.work_per_s = 8, .free = 1}};
  const std::vector<Running> running = {{.place = 1, .since_s = 0, .work = 100},
                                        {.place = 0, .since_s = 0, .work = 100}};
  EXPECT_EQ(choose_hedge(running, places, 10)->running, 1u);
}

TEST(Hedge, OneThatTakesLongerThanItShouldIsAskedElsewhere) {
  const std::vector<Place> places = {{.work_per_s = 10}, {.work_per_s = 10, .free = 1}};
  const std::vector<Running> running = {{.place = 0, .since_s = 0, .work = 10}};
  EXPECT_FALSE(choose_hedge(running, places, 1.1).has_value());
  EXPECT_TRUE(choose_hedge(running, places, 60).has_value());
}

RC_GTEST_PROP(HedgeProperty, IsAlwaysAtAFreeNodeThatEndsSooner, ()) {
  const auto number = [](int least, int most) {
    return static_cast<double>(*rc::gen::inRange(least, most));
  };
  std::vector<Place> places(*rc::gen::inRange<std::size_t>(1, 6));
  for (Place& place : places)
    place = {.work_per_s = number(0, 50), .free = *rc::gen::inRange<std::size_t>(0, 3)};
  std::vector<Running> running(*rc::gen::inRange<std::size_t>(0, 8));
  for (Running& one : running)
    one = {.place = *rc::gen::inRange<std::size_t>(0, places.size()),
           .since_s = number(0, 100),
           .work = number(0, 1000),
           .hedged = *rc::gen::arbitrary<bool>()};
  const auto hedge = choose_hedge(running, places, 100);
  if (!hedge) return;
  const Running& one = running[hedge->running];
  const Place& to = places[hedge->place];
  RC_ASSERT(!one.hedged);
  RC_ASSERT(to.free > 0u);
  RC_ASSERT(hedge->place != one.place);
  const double elapsed = 100 - one.since_s;
  const double speed = places[one.place].work_per_s;
  const double left = std::max(speed > 0 ? one.work / speed - elapsed : 0, elapsed / 4);
  RC_ASSERT(one.work / to.work_per_s < left);
}

}  // namespace
}  // namespace sollol::batch

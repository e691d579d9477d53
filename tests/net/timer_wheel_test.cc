#include "net/timer_wheel.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <deque>
#include <functional>
#include <vector>

namespace sollol::net {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint t0{1000h};
constexpr Duration tick = TimerWheel::tick;

struct Timer final : TimerWheel::Entry {
  void expired() override {
    ++fired;
    if (action) action();
  }
  int fired = 0;
  std::function<void()> action;
};

/// Advances tick by tick from `from` to `to`.
void pass(TimerWheel& wheel, TimePoint from, TimePoint to) {
  for (TimePoint now = from; now <= to; now += tick) wheel.advance(now);
}

TEST(TimerWheel, FiresOnceAfterItsDeadline) {
  TimerWheel wheel(t0);
  Timer timer;
  wheel.arm(timer, t0 + 100ms);
  EXPECT_FALSE(wheel.empty());
  pass(wheel, t0, t0 + 99ms);
  EXPECT_EQ(timer.fired, 0);
  wheel.advance(t0 + 100ms + tick);
  EXPECT_EQ(timer.fired, 1);
  EXPECT_FALSE(timer.armed());
  EXPECT_TRUE(wheel.empty());
  pass(wheel, t0 + 200ms, t0 + 30s);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, AWholeRoundLaterIsNotTooEarly) {
  TimerWheel wheel(t0);
  Timer timer;
  wheel.arm(timer, t0 + 60s);
  pass(wheel, t0, t0 + 60s - 1ms);
  EXPECT_EQ(timer.fired, 0);
  wheel.advance(t0 + 60s + tick);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, ADeadlineThatHasPassedFiresAtTheNextTick) {
  TimerWheel wheel(t0);
  Timer timer;
  wheel.arm(timer, t0 - 1h);
  wheel.advance(t0 + tick);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, FiresEverythingAfterALongPause) {
  TimerWheel wheel(t0);
  std::deque<Timer> timers(100);
  for (std::size_t i = 0; i < timers.size(); ++i) wheel.arm(timers[i], t0 + i * 333ms);
  wheel.advance(t0 + 1h);
  for (const Timer& timer : timers) EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, DisarmedAndDestroyedEntriesDoNotFire) {
  TimerWheel wheel(t0);
  Timer disarmed;
  wheel.arm(disarmed, t0 + 1s);
  {
    Timer destroyed;
    wheel.arm(destroyed, t0 + 1s);
  }
  disarmed.disarm();
  disarmed.disarm();
  EXPECT_TRUE(wheel.empty());
  wheel.advance(t0 + 2s);
  EXPECT_EQ(disarmed.fired, 0);
}

TEST(TimerWheel, ArmingAgainMovesTheDeadline) {
  TimerWheel wheel(t0);
  Timer timer;
  wheel.arm(timer, t0 + 1s);
  wheel.arm(timer, t0 + 5s);
  pass(wheel, t0, t0 + 4s);
  EXPECT_EQ(timer.fired, 0);
  wheel.arm(timer, t0 + 4100ms);
  pass(wheel, t0 + 4s, t0 + 4100ms + 2 * tick);
  EXPECT_EQ(timer.fired, 1);
}

TEST(TimerWheel, AnEntryMayArmItselfAgainFromItsExpiry) {
  TimerWheel wheel(t0);
  TimePoint now = t0;
  Timer timer;
  timer.action = [&] { wheel.arm(timer, now + 100ms); };
  wheel.arm(timer, t0);
  for (; now < t0 + 20s; now += tick) wheel.advance(now);
  EXPECT_GE(timer.fired, 150);
  EXPECT_LE(timer.fired, 200);
}

TEST(TimerWheel, APastDeadlineArmedFromAnExpiryFiresAtTheNextTickAndNotARoundLater) {
  TimerWheel wheel(t0);
  Timer first, second;
  first.action = [&] { wheel.arm(second, t0); };
  wheel.arm(first, t0 + 5 * tick);
  wheel.advance(t0 + 8 * tick);  // visits several slots at once
  EXPECT_EQ(first.fired, 1);
  wheel.advance(t0 + 9 * tick);
  EXPECT_EQ(second.fired, 1);
}

TEST(TimerWheel, AnExpiryMayDisarmAndDestroyItsNeighbours) {
  TimerWheel wheel(t0);
  auto doomed = std::make_unique<Timer>();
  Timer disarmed, killer;
  killer.action = [&] {
    disarmed.disarm();
    doomed.reset();
  };
  wheel.arm(*doomed, t0 + 1s);
  wheel.arm(disarmed, t0 + 1s);
  wheel.arm(killer, t0 + 1s);  // in front: fires first
  wheel.advance(t0 + 2s);
  EXPECT_EQ(killer.fired, 1);
  EXPECT_EQ(disarmed.fired, 0);
}

TEST(TimerWheel, OutlivedByItsEntriesLeavesThemDisarmed) {
  Timer timer;
  {
    TimerWheel wheel(t0);
    wheel.arm(timer, t0 + 1s);
  }
  EXPECT_FALSE(timer.armed());
}

RC_GTEST_PROP(AnySchedule, NeverFiresEarlyNorMoreThanTwoTicksLate, ()) {
  TimerWheel wheel(t0);
  TimePoint now = t0;
  struct Armed {
    Timer timer;
    TimePoint deadline{};
    bool expected = false;
  };
  std::deque<Armed> entries(static_cast<std::size_t>(*rc::gen::inRange(1, 12)));
  for (Armed& entry : entries) {
    entry.timer.action = [&] {
      RC_ASSERT(entry.expected);
      RC_ASSERT(entry.deadline <= now);
      entry.expected = false;
    };
  }
  const int steps = *rc::gen::inRange(1, 300);
  for (int i = 0; i < steps; ++i) {
    Armed& entry = entries[*rc::gen::inRange<std::size_t>(0, entries.size())];
    switch (*rc::gen::inRange(0, 4)) {
      case 0:
        entry.deadline = now + std::chrono::milliseconds(*rc::gen::inRange(-50, 15000));
        entry.expected = true;
        wheel.arm(entry.timer, entry.deadline);
        entry.deadline = std::max(entry.deadline, now);
        break;
      case 1:
        entry.timer.disarm();
        entry.expected = false;
        break;
      default:
        // Ticks come at no particular phase, at most one apart.
        for (int ticks = *rc::gen::inRange(1, 60); ticks > 0; --ticks) {
          now += std::chrono::milliseconds(*rc::gen::inRange(1, 21));
          wheel.advance(now);
          for (const Armed& each : entries)
            RC_ASSERT(!each.expected || now < each.deadline + 2 * tick);
        }
    }
  }
}

}  // namespace
}  // namespace sollol::net

#include "cluster/slot_limit.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <queue>
#include <vector>

#include "base/random.h"

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint t0{1000h};
constexpr SlotObservation waited(std::uint32_t in_flight) { return {in_flight, 2s, 3s}; }
constexpr SlotObservation at_once(std::uint32_t in_flight) { return {in_flight, 5ms, 3s}; }

TEST(SlotLimit, KeepsToAConfiguredNumber) {
  SlotLimit limit(3);
  limit.want_more(t0);
  EXPECT_EQ(limit.limit(), 3u);
  for (int i = 0; i < 10; ++i) limit.observe(waited(3), t0);
  limit.observe(at_once(9), t0);
  EXPECT_EQ(limit.limit(), 3u);
}

TEST(SlotLimit, StartsAtOneAndTriesOneMoreOnlyWhenAsked) {
  SlotLimit limit(0);
  EXPECT_EQ(limit.limit(), 1u);
  limit.observe(at_once(1), t0);
  EXPECT_EQ(limit.limit(), 1u);
  limit.want_more(t0);
  EXPECT_EQ(limit.limit(), 2u);
  limit.want_more(t0);
  EXPECT_EQ(limit.limit(), 2u);
}

TEST(SlotLimit, ATryThatDidNotWaitRaisesItAndTheNextMayFollow) {
  SlotLimit limit(0);
  limit.want_more(t0);
  limit.observe(at_once(2), t0);
  EXPECT_EQ(limit.limit(), 2u);
  limit.want_more(t0);
  EXPECT_EQ(limit.limit(), 3u);
}

TEST(SlotLimit, ATryThatWaitedEndsTheTryingForAWhile) {
  SlotLimit limit(0);
  limit.want_more(t0);
  limit.observe(waited(2), t0);
  EXPECT_EQ(limit.limit(), 1u);
  limit.want_more(t0 + SlotLimit::explore_again_after - 1s);
  EXPECT_EQ(limit.limit(), 1u);
  limit.want_more(t0 + SlotLimit::explore_again_after);
  EXPECT_EQ(limit.limit(), 2u);
}

TEST(SlotLimit, OneWaitAtTheLimitIsAnAccidentSeveralInARowAreNot) {
  SlotLimit limit(0);
  for (const std::uint32_t slots : {2u, 3u}) {
    limit.want_more(t0);
    limit.observe(at_once(slots), t0);
  }
  limit.observe(waited(3), t0);
  limit.observe(at_once(3), t0);
  limit.observe(waited(3), t0);
  limit.observe(waited(3), t0);
  EXPECT_EQ(limit.limit(), 3u);
  limit.observe(waited(3), t0);
  EXPECT_EQ(limit.limit(), 2u);
}

TEST(SlotLimit, NeverFallsBelowOneNorRisesAboveItsMost) {
  SlotLimit limit(0);
  for (int i = 0; i < 20; ++i) limit.observe(waited(1), t0);
  EXPECT_EQ(limit.limit(), 1u);
  limit.observe(at_once(1000), t0);
  EXPECT_EQ(limit.limit(), SlotLimit::limit_max);
  limit.want_more(t0);
  EXPECT_EQ(limit.limit(), SlotLimit::limit_max);
}

/// One model on one node with `slots` parallel slots and a queue, driven as the gateway does: as
/// many requests in flight as the limit allows, more always waiting.
class ClosedLoop {
 public:
  ClosedLoop(std::uint32_t slots, std::uint64_t seed) : slots_(slots), random_(seed) {}

  /// Runs until `end` and calls `see(now, limit)` after each request that finished.
  void run(TimePoint end, const std::function<void(TimePoint, std::uint32_t)>& see) {
    while (now_ < end) {
      limit_.want_more(now_);
      while (in_flight_ < limit_.limit()) send();
      const Request done = running_.top();
      running_.pop();
      --in_flight_;
      now_ = done.ends;
      if (!waiting_.empty()) {
        Request next = waiting_.front();
        waiting_.pop();
        start(next);
      }
      limit_.observe(
          {done.in_flight, (done.started - done.sent) + noise(), done.ends - done.started}, now_);
      see(now_, limit_.limit());
    }
  }

 private:
  struct Request {
    TimePoint sent, started, ends;
    std::uint32_t in_flight;
    bool operator>(const Request& other) const { return ends > other.ends; }
  };

  double uniform() { return static_cast<double>(random_.bits() >> 11) * 0x1p-53; }
  /// Tokenizing and the like; one request in a hundred is late for reasons of its own.
  Duration noise() { return from_seconds(uniform() < 0.01 ? 1.0 : 0.02 * uniform()); }

  void send() {
    Request request{now_, {}, {}, ++in_flight_};
    if (running_.size() < slots_) {
      start(request);
    } else {
      waiting_.push(request);
    }
  }
  void start(Request& request) {
    request.started = now_;
    request.ends = now_ + from_seconds(0.5 + 5.5 * uniform());
    running_.push(request);
  }

  std::uint32_t slots_;
  SeededRandom random_;
  SlotLimit limit_{0};
  TimePoint now_ = t0;
  std::uint32_t in_flight_ = 0;
  std::priority_queue<Request, std::vector<Request>, std::greater<>> running_;
  std::queue<Request> waiting_;
};

class SlotLimitLoop : public testing::TestWithParam<std::uint32_t> {};

TEST_P(SlotLimitLoop, FindsTheSlotsAndStaysWithinOne) {
  const std::uint32_t slots = GetParam();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    ClosedLoop loop(slots, seed);
    std::size_t seen = 0, outside = 0;
    loop.run(t0 + 2h, [&](TimePoint now, std::uint32_t limit) {
      if (now < t0 + 5min) return;  // time to find it
      ++seen;
      outside += limit + 1 < slots || limit > slots + 1 ? 1 : 0;
    });
    ASSERT_GT(seen, 1000u);
    // A lucky try above may hold for a few requests.
    EXPECT_LE(static_cast<double>(outside), 0.01 * static_cast<double>(seen));
  }
}

INSTANTIATE_TEST_SUITE_P(Slots, SlotLimitLoop, testing::Values(1, 2, 4, 8));

}  // namespace
}  // namespace sollol::cluster

#include "sim/node_model.h"

#include <gtest/gtest.h>

#include <string>

namespace sollol::sim {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{};
constexpr auto load_time = 10s;

ManifestPtr model(std::string name) {
  ModelSpec spec;
  spec.name = std::move(name);
  spec.load_time = load_time;
  return std::make_shared<const Manifest>(Manifest{spec.name, complete(spec), {}, {}});
}

NodeSpec spec() { return {}; }

/// A node whose device and host nobody shares.
struct Lone {
  explicit Lone(const NodeSpec& of) : node(of, device, host) {}
  SharedLoad device, host;
  NodeModel node;

  JobId admit(TimePoint now, const ManifestPtr& wanted, std::optional<std::uint32_t> num_ctx = {},
              std::optional<Duration> keep_alive = {}) {
    Demand demand;
    demand.model = wanted;
    demand.options.num_ctx = num_ctx;
    demand.keep_alive = keep_alive;
    demand.prompt = "why";
    demand.prompt_tokens = 1;
    return node.admit(now, demand).value();
  }
  Phase phase(JobId id) const { return node.job(id).phase; }
  /// Runs until that moment, waking the node whenever it asks for it.
  void run_until(TimePoint end) {
    while (node.next_wake() && *node.next_wake() <= end) node.advance(*node.next_wake());
    node.advance(end);
  }
  std::vector<std::string> loaded(TimePoint now) const {
    std::vector<std::string> names;
    for (const auto& runner : node.runners(now)) names.push_back(runner.model->name);
    return names;
  }
};

TEST(NodeModel, AColdModelIsLoadedAndListedOnlyWhenReady) {
  Lone lone(spec());
  const auto job = lone.admit(start, model("a"));
  EXPECT_EQ(lone.phase(job), Phase::loading);
  lone.run_until(start + load_time - 1ms);
  EXPECT_TRUE(lone.loaded(start + load_time - 1ms).empty());
  lone.run_until(start + load_time);
  EXPECT_EQ(lone.phase(job), Phase::running);
  EXPECT_EQ(lone.loaded(start + load_time), std::vector<std::string>{"a"});
}

TEST(NodeModel, SlotsAreGrantedInTheOrderOfArrival) {
  Lone lone(spec());
  const auto a = model("a");
  const auto first = lone.admit(start, a);
  const auto second = lone.admit(start, a);
  const auto third = lone.admit(start, a);
  lone.run_until(start + load_time);
  EXPECT_EQ(lone.phase(first), Phase::running);
  EXPECT_EQ(lone.phase(second), Phase::slot);
  lone.node.finish(start + 11s, first);
  EXPECT_EQ(lone.phase(second), Phase::running);
  EXPECT_EQ(lone.phase(third), Phase::slot);
}

TEST(NodeModel, TheLoadQueueIsBoundedAndWarmModelsBypassIt) {
  auto limited = spec();
  limited.max_queue = 1;
  Lone lone(limited);
  const auto warm = model("warm");
  lone.admit(start, warm);
  lone.run_until(start + load_time);
  const auto now = start + load_time;
  lone.admit(now, model("b"));  // loads
  lone.admit(now, model("c"));  // waits: the queue is full
  Demand more;
  more.model = model("d");
  EXPECT_FALSE(lone.node.admit(now, more).has_value());
  more.model = warm;
  EXPECT_TRUE(lone.node.admit(now, more).has_value());
}

TEST(NodeModel, OtherRunnerOptionsReloadOnceTheRunnerIsIdle) {
  Lone lone(spec());
  const auto a = model("a");
  const auto busy = lone.admit(start, a, 4096);
  lone.run_until(start + load_time);
  const auto other = lone.admit(start + 11s, a, 8192);
  EXPECT_EQ(lone.phase(other), Phase::queued);
  lone.node.finish(start + 12s, busy);
  EXPECT_EQ(lone.phase(other), Phase::loading);
  EXPECT_EQ(lone.node.totals().reloads, 1U);
  lone.run_until(start + 22s);
  EXPECT_EQ(lone.node.runners(start + 22s).at(0).num_ctx, 8192U);
}

TEST(NodeModel, ACancelledLoadLosesItsProgress) {
  Lone lone(spec());
  const auto a = model("a");
  const auto first = lone.admit(start, a);
  const auto second = lone.admit(start + 1s, a);
  lone.run_until(start + 9s);
  lone.node.cancel(start + 9s, first);
  EXPECT_EQ(lone.node.totals().loads_cancelled, 1U);
  EXPECT_EQ(lone.phase(second), Phase::loading);
  lone.run_until(start + 18s);
  EXPECT_EQ(lone.phase(second), Phase::loading);
  lone.run_until(start + 19s);
  EXPECT_EQ(lone.phase(second), Phase::running);
}

TEST(NodeModel, TheShortestKeepAliveIsEvictedAmongIdleModels) {
  auto small = spec();
  small.max_loaded = 2;
  Lone lone(small);
  auto now = start;
  for (const auto& [name, keep_alive] :
       {std::pair{"long", Duration{1h}}, std::pair{"short", Duration{30min}}}) {
    const auto job = lone.admit(now, model(name), {}, keep_alive);
    now += load_time;
    lone.run_until(now);
    lone.node.finish(now, job);
  }
  const auto third = lone.admit(now, model("third"));
  EXPECT_EQ(lone.phase(third), Phase::loading);  // at once: nobody wakes the node for it
  lone.run_until(now + load_time);
  EXPECT_EQ(lone.node.totals().evictions, 1U);
  const auto left = lone.loaded(now + load_time);
  EXPECT_EQ(std::ranges::count(left, "short"), 0);
  EXPECT_EQ(std::ranges::count(left, "long"), 1);
}

TEST(NodeModel, ABusyVictimIsWaitedForWhileItStillTakesRequests) {
  auto small = spec();
  small.max_loaded = 1;
  Lone lone(small);
  const auto a = model("a");
  const auto busy = lone.admit(start, a);
  lone.run_until(start + load_time);
  const auto newcomer = lone.admit(start + 11s, model("b"));
  const auto late = lone.admit(start + 12s, a);
  EXPECT_EQ(lone.phase(late), Phase::slot);
  lone.node.finish(start + 13s, busy);
  EXPECT_EQ(lone.phase(newcomer), Phase::queued);
  lone.node.finish(start + 14s, late);
  EXPECT_EQ(lone.phase(newcomer), Phase::loading);
}

TEST(NodeModel, KeepAliveCountsFromTheMomentTheRunnerGoesIdle) {
  Lone lone(spec());
  const auto job = lone.admit(start, model("a"), {}, 60s);
  lone.run_until(start + load_time);
  EXPECT_EQ(lone.node.runners(start + 10s).at(0).expires_at,
            start + 70s);  // before the first idle: now + keep-alive
  lone.node.finish(start + 100s, job);
  EXPECT_EQ(lone.node.runners(start + 100s).at(0).expires_at, start + 160s);
  lone.run_until(start + 159s);
  EXPECT_EQ(lone.loaded(start + 159s).size(), 1U);
  lone.run_until(start + 160s);
  EXPECT_TRUE(lone.loaded(start + 160s).empty());
}

TEST(NodeModel, ALoadedModelKeepsItsKeepAliveUnlessToldAnother) {
  Lone lone(spec());
  const auto a = model("a");
  const auto first = lone.admit(start, a, {}, 60s);
  lone.run_until(start + load_time);
  lone.node.finish(start + 10s, first);
  const auto second = lone.admit(start + 20s, a);
  lone.node.finish(start + 20s, second);
  EXPECT_EQ(lone.node.runners(start + 20s).at(0).expires_at, start + 80s);
  const auto third = lone.admit(start + 30s, a, {}, Duration{-1});
  lone.node.finish(start + 30s, third);
  EXPECT_EQ(lone.node.runners(start + 30s).at(0).expires_at, TimePoint::max());
}

TEST(NodeModel, UnloadWaitsForWhatRuns) {
  Lone lone(spec());
  const auto a = model("a");
  const auto job = lone.admit(start, a);
  lone.run_until(start + load_time);
  lone.node.unload(start + 11s, *a);
  EXPECT_EQ(lone.loaded(start + 11s).size(), 1U);
  lone.node.finish(start + 12s, job);
  EXPECT_TRUE(lone.loaded(start + 12s).empty());
}

}  // namespace
}  // namespace sollol::sim

#include "routing/residency.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <list>
#include <map>

#include "base/random.h"
#include "cluster/cluster.h"
#include "cluster/learn.h"
#include "cluster/place.h"

namespace sollol::routing {
namespace {

using namespace std::chrono_literals;
using cluster::ReplicaLive;
using Kind = ResidencyStep::Kind;
using Cause = ResidencyStep::Cause;

/// A fleet whose nodes hold at most `capacity` models and push out the one used longest ago.
class Fleet {
 public:
  Fleet(std::size_t nodes, std::vector<std::string> models, std::size_t capacity = 3)
      : capacity_(capacity), resident_(nodes) {
    for (std::size_t i = 0; i < nodes; ++i) {
      const std::string name = "n" + std::to_string(i);
      const NodeId id = *cluster_.add({.name = name,
                                       .url = "http://" + name,
                                       .host = name,
                                       .path_prefix = {},
                                       .origin = "test"});
      std::vector<cluster::ModelRecord> records;
      for (const std::string& model : models)
        records.push_back({.key = model, .name = model, .digest = model, .size_bytes = 1'000'000});
      cluster_.set_models(id, records);
      set_up(i, true);
    }
  }

  void set_up(std::size_t node, bool up) {
    using cluster::ProbeOutcome;
    for (int i = 0; i < 20; ++i) {
      cluster_.update_health(NodeId{static_cast<std::uint32_t>(node)}, now, [&](auto& health) {
        health.on_probe(up ? ProbeOutcome::ok : ProbeOutcome::refused, now);
      });
    }
  }
  /// As /api/ps would tell.
  void list(std::size_t node) {
    std::vector<cluster::Cluster::LoadedRecord> records;
    for (const std::string& model : resident_[node]) records.push_back({model, 4096});
    cluster_.set_loaded(NodeId{static_cast<std::uint32_t>(node)}, records, now);
  }
  /// The node takes the model in, and what it has no room for out.
  void load(std::size_t node, const std::string& model) {
    if (holds(node, model)) return;
    while (resident_[node].size() >= capacity_) resident_[node].pop_front();
    resident_[node].push_back(model);
    live(node, model).used_at_ns = now.time_since_epoch().count();
    now += 1ns;
    list(node);
  }
  void unload(std::size_t node, const std::string& model) {
    resident_[node].remove(model);
    now += 1ns;
    list(node);
  }
  bool holds(std::size_t node, const std::string& model) const {
    return std::ranges::find(resident_[node], model) != resident_[node].end();
  }
  std::size_t holders(const std::string& model) const {
    std::size_t count = 0;
    for (std::size_t i = 0; i < resident_.size(); ++i) count += holds(i, model) ? 1 : 0;
    return count;
  }
  ReplicaLive& live(std::size_t node, const std::string& model) {
    for (const cluster::Replica& replica : snapshot().find_model(model)->replicas) {
      if (replica.node == node) return *replica.live;
    }
    std::abort();
  }
  cluster::NodeLive& node(std::size_t index) { return *snapshot().nodes[index].live; }
  /// One request there, that runs so long; the model must be loaded.
  void use(std::size_t node, const std::string& model, Duration took) {
    auto& list = resident_[node];
    list.splice(list.end(), list, std::ranges::find(list, model));
    const auto entered = cluster::enter(snapshot().nodes[node], &live(node, model), 1000, {}, now);
    cluster::leave(snapshot().nodes[node], &live(node, model), *entered, now + took);
    live(node, model).used_at_ns = now.time_since_epoch().count();
  }
  const cluster::Snapshot& snapshot() {
    snapshot_ = cluster_.snapshot();
    return *snapshot_;
  }

  ResidencyPlan plan() {
    return residency.plan(
        snapshot(),
        {.waiting = [this](ModelId) { return waiting; },
         .expires_in_s = [this](std::size_t n, const std::string& key) -> std::optional<double> {
           const auto found = expires.find({n, key});
           return found == expires.end() ? std::nullopt : std::optional(found->second);
         },
         .may_pull = may_pull},
        now);
  }
  /// Asks for the model so often an hour for so long, one request after the other at one node.
  ResidencyPlan ask(std::size_t node, const std::string& model, double per_hour, Duration took,
                    Duration span) {
    plan();
    const Duration every = from_seconds(3600 / per_hour);
    for (const TimePoint end = now + span; now < end; now += every) {
      use(node, model, took);
      plan();
    }
    return plan();
  }

  TimePoint now{1h};
  Residency residency{ResidencyLimits{}};
  std::size_t waiting = 0;
  bool may_pull = false;
  std::map<std::pair<std::size_t, std::string>, double> expires;

 private:
  std::size_t capacity_;
  cluster::Cluster cluster_{cluster::HealthOptions{}};
  std::shared_ptr<const cluster::Snapshot> snapshot_;
  std::vector<std::list<std::string>> resident_;  // used last, last
};

const ModelStanding* planned(const ResidencyPlan& plan, std::string_view model) {
  const auto found = std::ranges::find(plan.models, model, &ModelStanding::key);
  return found == plan.models.end() ? nullptr : &*found;
}

TEST(Residency, PlansNothingWhereNothingIsAskedFor) {
  Fleet fleet(3, {"a", "b"});
  fleet.load(0, "a");
  EXPECT_TRUE(fleet.plan().steps.empty());
  fleet.now += 1h;
  const ResidencyPlan plan = fleet.plan();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_TRUE(plan.models.empty());
}

TEST(Residency, LoadsWhatWasWishedForAsOftenAsWished) {
  Fleet fleet(3, {"a"});
  fleet.residency.wish("a", "a", 2);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 2u);
  for (const ResidencyStep& step : plan.steps) {
    EXPECT_EQ(step.kind, Kind::load);
    EXPECT_EQ(step.cause, Cause::wish);
    EXPECT_TRUE(step.asked);
  }
  EXPECT_NE(plan.steps[0].node, plan.steps[1].node);
  EXPECT_EQ(planned(plan, "a")->need, 2u);
}

TEST(Residency, CountsWhatIsLoadedAlready) {
  Fleet fleet(3, {"a"});
  fleet.load(1, "a");
  fleet.residency.wish("a", "a", 2);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_NE(plan.steps[0].node_index, 1u);
}

TEST(Residency, WishIsAskedForUntilFulfilled) {
  Fleet fleet(2, {"a"});
  fleet.residency.wish("a", "a", 1);
  EXPECT_TRUE(fleet.plan().steps.at(0).asked);
  fleet.load(0, "a");
  EXPECT_TRUE(fleet.plan().steps.empty());
  fleet.unload(0, "a");
  const ResidencyPlan again = fleet.plan();
  ASSERT_EQ(again.steps.size(), 1u);
  EXPECT_FALSE(again.steps[0].asked);  // the mode decides
  fleet.residency.wish("a", "a", 0);
  EXPECT_TRUE(fleet.plan().steps.empty());
}

TEST(Residency, SaysWhyAWishCannotBe) {
  Fleet fleet(2, {"a"});
  fleet.residency.wish("a", "a", 3);
  EXPECT_EQ(fleet.plan().steps.size(), 2u);
  fleet.load(0, "a");
  fleet.load(1, "a");
  const ResidencyPlan plan = fleet.plan();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_EQ(planned(plan, "a")->problem, "2 nodes that can be used have it, and auto_pull is off");
  fleet.residency.wish("b", "b", 1);
  EXPECT_EQ(planned(fleet.plan(), "b")->problem, "no node has it, and auto_pull is off");
}

TEST(Residency, TriesAnotherNodeWhereALoadFailed) {
  Fleet fleet(2, {"a"});
  fleet.residency.wish("a", "a", 1);
  const ResidencyStep first = fleet.plan().steps.at(0);
  fleet.residency.begun(first, fleet.now);
  fleet.residency.ended(first, "out of memory");
  const ResidencyStep second = fleet.plan().steps.at(0);
  EXPECT_NE(second.node, first.node);
  fleet.residency.begun(second, fleet.now);
  fleet.residency.ended(second, "out of memory");
  const ResidencyPlan plan = fleet.plan();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_EQ(planned(plan, "a")->problem, "out of memory");
  fleet.now += ResidencyLimits{}.pause;
  EXPECT_EQ(fleet.plan().steps.size(), 1u);
}

TEST(Residency, OneLoadAtATimeAtANodeAndSoManyInTheFleet) {
  Fleet fleet(3, {"a", "b"});
  fleet.residency.wish("a", "a", 3);
  fleet.residency.wish("b", "b", 3);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 3u);  // each node once
  fleet.residency.begun(plan.steps[0], fleet.now);
  EXPECT_TRUE(fleet.residency.may_begin(plan.steps[1]));
  fleet.residency.begun(plan.steps[1], fleet.now);
  EXPECT_FALSE(fleet.residency.may_begin(plan.steps[2]));
  fleet.residency.ended(plan.steps[0], {});
  EXPECT_TRUE(fleet.residency.may_begin(plan.steps[2]));
}

TEST(Residency, HotModelThatIsLoadedNowhereIsLoaded) {
  Fleet fleet(2, {"a", "b"});
  fleet.load(0, "a");
  fleet.ask(0, "a", 60, 1s, 10min);
  EXPECT_TRUE(fleet.plan().steps.empty());
  fleet.unload(0, "a");
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].kind, Kind::load);
  EXPECT_EQ(plan.steps[0].cause, Cause::demand);
  EXPECT_EQ(plan.steps[0].model, "a");
}

TEST(Residency, RareModelIsLeftToItsRequests) {
  Fleet fleet(2, {"a"});
  fleet.load(0, "a");
  fleet.ask(0, "a", 4, 1s, 2h);
  fleet.unload(0, "a");
  EXPECT_TRUE(fleet.plan().steps.empty());
}

TEST(Residency, HotModelOfADeadNodeIsLoadedAtAnother) {
  Fleet fleet(2, {"a"});
  fleet.load(0, "a");
  fleet.ask(0, "a", 60, 1s, 10min);
  fleet.set_up(0, false);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].node_index, 1u);
}

TEST(Residency, GrowingDemandLoadsItAtOneMoreNode) {
  Fleet fleet(3, {"a"});
  fleet.load(0, "a");
  const ResidencyPlan quiet = fleet.ask(0, "a", 600, 3s, 10min);  // busy half of the time
  EXPECT_TRUE(quiet.steps.empty());
  const ResidencyPlan plan = fleet.ask(0, "a", 600, 5s, 10min);  // busy 0.83 of it
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].cause, Cause::demand);
  EXPECT_EQ(planned(plan, "a")->need, 2u);
  EXPECT_NEAR(planned(plan, "a")->busy, 0.8, 0.1);
  EXPECT_NEAR(planned(plan, "a")->per_hour, 600, 160);
}

TEST(Residency, RequestsThatWaitAreDemand) {
  Fleet fleet(4, {"a"});
  fleet.load(0, "a");
  fleet.waiting = 2;
  const ResidencyPlan plan = fleet.ask(0, "a", 600, 5s, 10min);
  EXPECT_EQ(planned(plan, "a")->need, 4u);
  EXPECT_EQ(plan.steps.size(), 3u);
}

TEST(Residency, TimeOfALoadIsNoDemand) {
  Fleet fleet(2, {"a"});
  fleet.load(0, "a");
  fleet.ask(0, "a", 60, 1s, 10min);
  cluster::load_begins(*fleet.snapshot().nodes[0].live, fleet.live(0, "a"), 1, fleet.now);
  for (int i = 0; i < 20; ++i) {
    const auto entered =
        cluster::enter(fleet.snapshot().nodes[0], &fleet.live(0, "a"), 1000, {}, fleet.now);
    ASSERT_TRUE(entered);
    fleet.now += 5s;
    fleet.plan();
  }
  EXPECT_LT(planned(fleet.plan(), "a")->busy, 0.1);
}

TEST(Residency, KeepsAHotModelWhoseTimeIsNearlyOver) {
  Fleet fleet(2, {"a", "b"});
  fleet.load(0, "a");
  fleet.load(0, "b");
  fleet.ask(0, "a", 60, 1s, 10min);
  fleet.expires = {{{0, "a"}, 30}, {{0, "b"}, 30}};
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].kind, Kind::keep);
  EXPECT_EQ(plan.steps[0].model, "a");
  fleet.expires[{0, "a"}] = 200;
  EXPECT_TRUE(fleet.plan().steps.empty());
}

TEST(Residency, BusyModelNeedsNoKeeping) {
  Fleet fleet(1, {"a"});
  fleet.load(0, "a");
  fleet.ask(0, "a", 60, 1s, 10min);
  fleet.expires = {{{0, "a"}, -3}};
  ASSERT_EQ(fleet.plan().steps.size(), 1u);
  fleet.live(0, "a").in_flight = 1;
  EXPECT_TRUE(fleet.plan().steps.empty());
}

TEST(Residency, NeverPushesOutWhatIsNeeded) {
  Fleet fleet(2, {"a", "b"}, 1);
  fleet.load(0, "a");
  fleet.load(1, "b");
  fleet.ask(1, "b", 60, 1s, 10min);
  // More of `a` than one node can do; the other holds one model, and that is hot.
  ResidencyPlan plan;
  for (int i = 0; i < 60; ++i) {
    fleet.use(0, "a", 4500ms);
    fleet.use(1, "b", 100ms);
    fleet.now += 5s;
    plan = fleet.plan();
    EXPECT_TRUE(plan.steps.empty());
  }
  EXPECT_EQ(planned(plan, "a")->need, 2u);
  EXPECT_TRUE(planned(plan, "a")->problem.contains("no room"));
  // Once nobody wants that one, its place is free.
  for (int i = 0; i < 1000; ++i) {
    fleet.use(0, "a", 4500ms);
    fleet.now += 5s;
    plan = fleet.plan();
  }
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].node_index, 1u);
}

TEST(Residency, WaitsForAFullNodeThatWorks) {
  Fleet fleet(2, {"a", "b"}, 1);
  fleet.load(0, "a");
  fleet.load(1, "b");
  fleet.node(1).in_flight = 1;
  EXPECT_TRUE(fleet.ask(0, "a", 600, 5s, 10min).steps.empty());
  fleet.node(1).in_flight = 0;
  EXPECT_EQ(fleet.plan().steps.size(), 1u);
}

TEST(Residency, OperatorMayPushOut) {
  Fleet fleet(1, {"a", "b"}, 1);
  fleet.load(0, "a");
  fleet.ask(0, "a", 60, 1s, 10min);
  fleet.residency.wish("b", "b", 1);
  ASSERT_EQ(fleet.plan().steps.size(), 1u);
  fleet.load(0, "b");
  EXPECT_TRUE(fleet.plan().steps.empty());  // `a` is hot and does not push it out again
}

TEST(Residency, PrefersRoomThenIdleNodesOfItsTier) {
  Fleet fleet(3, {"a", "b", "c"}, 2);
  for (const std::size_t node : {0, 1, 2}) {
    fleet.load(node, "b");
    fleet.load(node, "c");
  }
  fleet.unload(2, "c");  // it has held two
  fleet.residency.wish("a", "a", 1);
  EXPECT_EQ(fleet.plan().steps.at(0).node_index, 2u);
}

TEST(Residency, DemandDoesNotGoToAFarSlowerNode) {
  Fleet fleet(3, {"a"});
  fleet.load(0, "a");
  fleet.live(0, "a").decode_tokens_per_s = 100;
  fleet.live(1, "a").decode_tokens_per_s = 5;
  fleet.live(2, "a").decode_tokens_per_s = 30;
  fleet.waiting = 5;
  const ResidencyPlan plan = fleet.ask(0, "a", 600, 5s, 10min);
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].node_index, 2u);
}

TEST(Residency, NodesThatAreOutTakeNothing) {
  Fleet fleet(3, {"a"});
  fleet.node(0).admin = cluster::Admin::draining;
  fleet.node(1).paused = true;
  fleet.residency.wish("a", "a", 3);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].node_index, 2u);
}

TEST(Residency, PullsWhatIsMissingOnlyWhereAllowed) {
  Fleet fleet(2, {"a"});
  fleet.residency.wish("new", "new", 1);
  EXPECT_TRUE(fleet.plan().steps.empty());
  fleet.may_pull = true;
  fleet.residency.wish("new", "new", 1);
  ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_EQ(plan.steps[0].kind, Kind::pull);
  EXPECT_TRUE(fleet.residency.may_begin(plan.steps[0]));
  fleet.residency.begun(plan.steps[0], fleet.now);
  EXPECT_TRUE(fleet.plan().steps.empty());  // one at a time
  fleet.residency.ended(plan.steps[0], "no such model in the registry");
  plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);  // at the other
  fleet.residency.begun(plan.steps[0], fleet.now);
  fleet.residency.ended(plan.steps[0], "no such model in the registry");
  plan = fleet.plan();
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_EQ(planned(plan, "new")->problem, "no such model in the registry");
}

TEST(Residency, RestoredWishIsNotAskedForAnew) {
  Fleet fleet(1, {"a"});
  fleet.residency.restore_wish("a", "a", 1);
  const ResidencyPlan plan = fleet.plan();
  ASSERT_EQ(plan.steps.size(), 1u);
  EXPECT_FALSE(plan.steps[0].asked);
  EXPECT_EQ(fleet.residency.wishes().at("a"), std::pair(std::string("a"), 1u));
}

/// Any fleet under steady demand, which the plans are carried out in: each is checked.
class AnyFleet : public testing::TestWithParam<std::uint64_t> {};

TEST_P(AnyFleet, IsNeverMadeToThrash) {
  SeededRandom random(GetParam());
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>(random.bits() % n); };
  const std::size_t nodes = 1 + below(5);
  const std::vector<std::string> models{"a", "b", "c", "d", "e"};
  const std::size_t capacity = 1 + below(3);
  Fleet fleet(nodes, models, capacity);
  std::map<std::string, Duration> every;
  for (const std::string& model : models) every[model] = from_seconds(5.0 + below(900));
  std::map<std::string, TimePoint> next;
  for (const std::string& model : models) next[model] = fleet.now + every[model];
  if (below(2) == 0) fleet.residency.wish("a", "a", static_cast<std::uint32_t>(1 + below(nodes)));
  std::map<std::pair<std::size_t, std::string>, std::vector<TimePoint>> planned;

  for (const TimePoint end = fleet.now + 3h; fleet.now < end; fleet.now += 5s) {
    for (const std::string& model : models) {
      if (fleet.now < next[model]) continue;
      next[model] += every[model];
      std::size_t at = below(nodes);
      for (std::size_t i = 0; i < nodes; ++i) at = fleet.holds(i, model) ? i : at;
      fleet.load(at, model);
      fleet.use(at, model, from_seconds(0.1 + below(30) / 10.0));
    }
    const ResidencyPlan plan = fleet.plan();
    std::vector<std::size_t> used;
    for (const ResidencyStep& step : plan.steps) {
      ASSERT_EQ(step.kind, Kind::load);  // nothing here expires or may be pulled
      ASSERT_EQ(std::ranges::count(used, step.node_index), 0);
      used.push_back(step.node_index);
      ASSERT_FALSE(fleet.holds(step.node_index, step.model));
      auto& before = planned[{step.node_index, step.model}];
      const bool asked = step.asked && before.empty();
      ASSERT_TRUE(asked || before.empty() || fleet.now - before.back() >= ResidencyLimits{}.pause);
      before.push_back(fleet.now);
      fleet.residency.begun(step, fleet.now);
      fleet.load(step.node_index, step.model);
      fleet.residency.ended(step, {});
      // What it needs is not pushed out by that, unless its operator has just wished so.
      for (const ModelStanding& standing : plan.models) {
        if (step.asked || standing.key == step.key) continue;
        const std::size_t kept = std::min<std::size_t>(standing.need, standing.resident);
        ASSERT_GE(fleet.holders(standing.key), kept) << standing.key;
      }
    }
  }
  std::size_t loads = 0;
  for (const auto& [where, times] : planned) loads += times.size();
  // Each place of the fleet's memory three times an hour at most.
  EXPECT_LE(loads, (3 * 3) * nodes * capacity);
}

INSTANTIATE_TEST_SUITE_P(Seeds, AnyFleet, testing::Range<std::uint64_t>(1, 301));

}  // namespace
}  // namespace sollol::routing

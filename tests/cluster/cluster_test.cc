#include "cluster/cluster.h"

#include <gtest/gtest.h>

#include <vector>

#include "cluster/learn.h"
#include "cluster/place.h"

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint t0{1000h};

NodeInfo info(std::string name, std::uint16_t port, std::uint32_t slots = 0) {
  NodeInfo node;
  node.name = std::move(name);
  node.url = "http://127.0.0.1:" + std::to_string(port);
  node.host = "127.0.0.1";
  node.port = port;
  node.slots = slots;
  return node;
}

ModelRecord model(std::string key, std::string digest = "d1") {
  return {key, key, digest, 5'000'000'000};
}

struct TwoNodes : testing::Test {
  Cluster cluster{HealthOptions{}};
  NodeId a = cluster.add(info("a", 1)).value();
  NodeId b = cluster.add(info("b", 2)).value();

  void probe(NodeId id, ProbeOutcome outcome, TimePoint now = t0) {
    cluster.update_health(id, now, [&](NodeHealth& health) { health.on_probe(outcome, now); });
  }
  void request(NodeId id, RequestOutcome outcome, TimePoint now = t0) {
    cluster.update_health(id, now, [&](NodeHealth& health) { health.on_request(outcome, now); });
  }
  std::shared_ptr<NodeLive> live(NodeId id) { return cluster.snapshot()->find_node(id)->live; }
  std::shared_ptr<ReplicaLive> replica(const char* key, std::size_t index = 0) {
    return cluster.snapshot()->find_model(key)->replicas.at(index).live;
  }
};

TEST_F(TwoNodes, ATakenNameOrAddressIsRefused) {
  const auto name_taken = cluster.add(info("a", 3));
  ASSERT_FALSE(name_taken.has_value());
  EXPECT_TRUE(name_taken.error().detail.contains("'a'"));
  const auto address_taken = cluster.add(info("c", 2));
  ASSERT_FALSE(address_taken.has_value());
  EXPECT_TRUE(address_taken.error().detail.contains("'b'"));
  EXPECT_EQ(cluster.nodes().size(), 2u);
}

TEST_F(TwoNodes, AnIdIsNeverUsedAgain) {
  EXPECT_TRUE(cluster.remove(b));
  EXPECT_FALSE(cluster.remove(b));
  const NodeId again = cluster.add(info("b", 2)).value();
  EXPECT_NE(again, b);
  EXPECT_EQ(cluster.info(b), nullptr);
  EXPECT_EQ(cluster.health(b), nullptr);
}

TEST_F(TwoNodes, TheSnapshotIsTheSameUntilNodesOrModelsChange) {
  const auto first = cluster.snapshot();
  probe(a, ProbeOutcome::ok);
  cluster.set_admin(a, Admin::draining);
  cluster.set_loaded(a, {}, TimePoint{} + std::chrono::hours(1));
  EXPECT_EQ(cluster.snapshot(), first);

  cluster.set_models(a, {model("m")});
  const auto second = cluster.snapshot();
  EXPECT_GT(second->version, first->version);
  cluster.set_models(a, {model("m")});
  EXPECT_EQ(cluster.snapshot(), second);

  cluster.set_models(a, {model("m", "d2")});
  const auto third = cluster.snapshot();
  EXPECT_GT(third->version, second->version);
  cluster.set_addresses(a, {{"127.0.0.1", 1}});
  const auto fourth = cluster.snapshot();
  EXPECT_GT(fourth->version, third->version);
  cluster.set_addresses(a, {{"127.0.0.1", 1}});
  EXPECT_EQ(cluster.snapshot(), fourth);
  cluster.remove(a);
  EXPECT_GT(cluster.snapshot()->version, fourth->version);
}

TEST_F(TwoNodes, AModelListsTheNodesThatHaveIt) {
  cluster.set_models(a, {model("m"), model("n")});
  cluster.set_models(b, {model("m")});
  const auto snapshot = cluster.snapshot();
  ASSERT_NE(snapshot->find_model("m"), nullptr);
  EXPECT_EQ(snapshot->find_model("m")->replicas.size(), 2u);
  ASSERT_EQ(snapshot->find_model("n")->replicas.size(), 1u);
  EXPECT_EQ(snapshot->nodes[snapshot->find_model("n")->replicas[0].node].id, a);
  EXPECT_EQ(snapshot->find_model("x"), nullptr);
}

TEST_F(TwoNodes, AListingInAnotherOrderChangesNothing) {
  cluster.set_models(a, {model("m"), model("n")});
  const auto before = cluster.snapshot();
  cluster.set_models(a, {model("n"), model("m")});
  EXPECT_EQ(cluster.snapshot(), before);
}

TEST_F(TwoNodes, TwoSpellingsOfAModelAreOneReplica) {
  cluster.set_models(a, {model("m"), model("m")});
  EXPECT_EQ(cluster.snapshot()->find_model("m")->replicas.size(), 1u);
}

TEST_F(TwoNodes, AReplicaKeepsItsLiveStateWhileTheModelStays) {
  cluster.set_models(a, {model("m"), model("n")});
  const auto m = replica("m");
  m->in_flight = 2;
  cluster.set_models(a, {model("l"), model("m", "d2")});
  EXPECT_EQ(replica("m"), m);
  cluster.set_models(a, {model("l")});
  cluster.set_models(a, {model("m")});
  EXPECT_NE(replica("m"), m);
  EXPECT_EQ(replica("m")->in_flight, 0u);
}

TEST_F(TwoNodes, AModelKeepsItsIdAndItsTurn) {
  cluster.set_models(a, {model("m")});
  const auto before = *cluster.snapshot()->find_model("m");
  cluster.set_models(a, {});
  EXPECT_EQ(cluster.snapshot()->find_model("m"), nullptr);
  cluster.set_models(b, {model("l"), model("m")});
  const auto after = *cluster.snapshot()->find_model("m");
  EXPECT_EQ(after.id, before.id);
  EXPECT_EQ(after.live, before.live);
  EXPECT_NE(cluster.snapshot()->find_model("l")->id, before.id);
}

TEST_F(TwoNodes, ModelsThatComeAndGoAreForgotten) {
  const auto id_of_x = [&] {
    cluster.set_models(a, {model("x")});
    return cluster.snapshot()->find_model("x")->id;
  };
  const auto list_others = [&](int count) {
    for (int i = 0; i < count; ++i) {
      cluster.set_models(a, {model("other-" + std::to_string(i))});
      cluster.snapshot();
    }
  };
  const ModelId first = id_of_x();
  list_others(10);
  EXPECT_EQ(id_of_x(), first);
  list_others(3000);
  EXPECT_NE(id_of_x(), first);
}

TEST_F(TwoNodes, ConfiguredSlotsAreTheLimitOfItsReplicas) {
  const NodeId c = cluster.add(info("c", 3, 4)).value();
  cluster.set_models(c, {model("m")});
  EXPECT_EQ(replica("m")->limit, 4u);
  cluster.set_models(a, {model("n")});
  EXPECT_EQ(replica("n")->limit, 1u);
}

TEST_F(TwoNodes, AnOldSnapshotSeesARemovedNodeDisabled) {
  const auto old = cluster.snapshot();
  cluster.remove(a);
  EXPECT_EQ(old->find_node(a)->live->admin, Admin::disabled);
  EXPECT_EQ(cluster.snapshot()->find_node(a), nullptr);
}

TEST_F(TwoNodes, DrainingIsSeenThroughAnOldSnapshotAndUndone) {
  const auto old = cluster.snapshot();
  cluster.set_admin(b, Admin::draining);
  EXPECT_EQ(old->find_node("b")->live->admin, Admin::draining);
  cluster.set_admin(b, Admin::enabled);
  EXPECT_EQ(old->find_node("b")->live->admin, Admin::enabled);
}

TEST_F(TwoNodes, NodesAreFoundByNameUrlAndId) {
  const auto snapshot = cluster.snapshot();
  EXPECT_EQ(snapshot->find_node("b")->id, b);
  EXPECT_EQ(snapshot->find_node("http://127.0.0.1:1")->id, a);
  EXPECT_EQ(snapshot->find_node(a)->host_field, "127.0.0.1:1");
  EXPECT_EQ(snapshot->find_node("c"), nullptr);
}

TEST_F(TwoNodes, LoadedFollowsTheNodeUnlessOurWorkIsInFlight) {
  cluster.set_models(a, {model("m")});
  const auto m = replica("m");
  cluster.set_loaded(a, {{"m", 4096}}, TimePoint{} + std::chrono::hours(1));
  EXPECT_TRUE(m->loaded);
  EXPECT_EQ(m->loaded_context, 4096u);
  m->in_flight = 1;
  cluster.set_loaded(a, {}, TimePoint{} + std::chrono::hours(1));
  EXPECT_TRUE(m->loaded);
  m->in_flight = 0;
  cluster.set_loaded(a, {}, TimePoint{} + std::chrono::hours(1));
  EXPECT_FALSE(m->loaded);
  EXPECT_EQ(m->loaded_context, 0u);
}

TEST_F(TwoNodes, AListAskedBeforeALoadEndedTellsNothingOfIt) {
  cluster.set_models(a, {model("m")});
  const auto m = replica("m");
  cluster.set_loaded(a, {{"m", 8192}}, t0 + 1s);
  load_begins(*live(a), *m, 4096, t0 + 2s);
  EXPECT_EQ(m->loaded_context, 0u);
  cluster.set_loaded(a, {{"m", 8192}}, t0 + 2s);
  load_ended(*live(a), *m, 1, LoadEnd::loaded, 1s, t0 + 3s);
  cluster.set_loaded(a, {{"m", 8192}}, t0 + 2s);
  EXPECT_TRUE(m->loaded);
  EXPECT_EQ(m->loaded_context, 0u);
  cluster.set_loaded(a, {{"m", 4096}}, t0 + 4s);
  EXPECT_EQ(m->loaded_context, 4096u);
}

TEST_F(TwoNodes, ALoadThatHadToWaitTellsOfTheWait) {
  cluster.set_models(a, {model("m"), model("n")});
  const auto m = replica("m");
  const auto n = replica("n");
  const auto load = [&](ReplicaLive& of, Duration took) {
    load_begins(*live(a), of, 0, t0);
    load_ended(*live(a), of, 1, LoadEnd::loaded, took, t0 + took);
  };
  load(*m, 4s);
  EXPECT_DOUBLE_EQ(m->load_s, 4);
  // Another load comes first.
  load_begins(*live(a), *n, 0, t0);
  EXPECT_TRUE(waits_for_room(*live(a), 0));
  load(*m, 10s);
  EXPECT_DOUBLE_EQ(m->load_s, 4);
  EXPECT_DOUBLE_EQ(live(a)->room_wait_s, 6);
  load_ended(*live(a), *n, 1, LoadEnd::loaded, 3s, t0 + 3s);
  EXPECT_FALSE(waits_for_room(*live(a), 0));
  // All that it holds at a time is busy.
  cluster.set_loaded(a, {{"n", 4096}}, t0 + 20s);
  const auto snapshot = cluster.snapshot();
  const Node& node = snapshot->nodes.front();
  const auto entered = enter(node, n.get(), 1, {}, t0);
  ASSERT_TRUE(entered);
  EXPECT_TRUE(waits_for_room(*live(a), 0));
  EXPECT_FALSE(waits_for_room(*live(a), 1));  // itself
  load(*m, 6s);
  EXPECT_DOUBLE_EQ(m->load_s, 4);
  EXPECT_DOUBLE_EQ(live(a)->room_wait_s, 5);
  leave(node, n.get(), *entered, t0 + 1s);
  EXPECT_FALSE(waits_for_room(*live(a), 0));
}

TEST_F(TwoNodes, EveryTransitionIsToldOnce) {
  std::vector<std::pair<Availability, Availability>> told;
  cluster.on_transition([&](NodeId id, Availability from, Availability to, std::string_view) {
    EXPECT_EQ(id, a);
    told.emplace_back(from, to);
  });
  probe(a, ProbeOutcome::ok);
  probe(a, ProbeOutcome::ok);
  request(a, RequestOutcome::fault);
  request(a, RequestOutcome::fault);
  cluster.tick(t0 + 500ms);
  cluster.tick(t0 + 1s);
  request(a, RequestOutcome::ok, t0 + 1s);
  using enum Availability;
  const std::vector<std::pair<Availability, Availability>> want{
      {unknown, healthy}, {healthy, ejected}, {ejected, trial}, {trial, healthy}};
  EXPECT_EQ(told, want);
}

TEST_F(TwoNodes, ATrialIsFreeOnceAndAgainWhenItToldNothing) {
  probe(a, ProbeOutcome::ok);
  request(a, RequestOutcome::fault);
  request(a, RequestOutcome::fault);
  const auto node = live(a);
  EXPECT_FALSE(node->trial_free);
  cluster.tick(t0 + 1s);
  EXPECT_TRUE(node->trial_free.exchange(false));
  cluster.tick(t0 + 2s);
  EXPECT_FALSE(node->trial_free);
  cluster.free_trial(a);
  EXPECT_TRUE(node->trial_free);
  request(a, RequestOutcome::fault, t0 + 2s);
  node->trial_free = false;
  cluster.free_trial(a);  // ejected again by now
  EXPECT_FALSE(node->trial_free);
}

TEST_F(TwoNodes, SuccessesAreAskedForOnlyWhileTheyMatter) {
  probe(a, ProbeOutcome::ok);
  EXPECT_FALSE(live(a)->wants_outcomes);
  request(a, RequestOutcome::fault);
  EXPECT_TRUE(live(a)->wants_outcomes);
}

TEST_F(TwoNodes, RoundTripsAreSmoothed) {
  cluster.note_round_trip(a, 8ms);
  EXPECT_DOUBLE_EQ(live(a)->round_trip_s, 0.008);
  cluster.note_round_trip(a, 16ms);
  EXPECT_DOUBLE_EQ(live(a)->round_trip_s, 0.010);
}

TEST(ReplicaAvoidance, GrowsWithFailuresAndEndsWithASuccess) {
  ReplicaLive replica(0);
  const auto avoided_for = [&] { return Duration(replica.avoid_until_ns) - t0.time_since_epoch(); };
  note_replica_failure(replica, t0);
  EXPECT_EQ(avoided_for(), 1s);
  note_replica_failure(replica, t0);
  EXPECT_EQ(avoided_for(), 2s);
  for (int i = 0; i < 40; ++i) note_replica_failure(replica, t0);
  EXPECT_EQ(avoided_for(), avoid_max);
  note_replica_success(replica);
  EXPECT_EQ(replica.avoid_until_ns, 0);
}

TEST(HostField, BracketsOnlyVersionSix) {
  NodeInfo node = info("a", 80);
  EXPECT_EQ(host_field(node), "127.0.0.1:80");
  node.host = "::1";
  EXPECT_EQ(host_field(node), "[::1]:80");
}

TEST_F(TwoNodes, AnUpdateKeepsTheLiveStateAndAppliesItsSlots) {
  cluster.set_models(a, {model("m")});
  probe(a, ProbeOutcome::ok);
  const auto node = live(a);
  const auto before = replica("m");
  before->decode_tokens_per_s = 50;
  NodeInfo changed = info("renamed", 1, 3);
  changed.tier = 2;
  cluster.update(a, changed);
  EXPECT_EQ(cluster.snapshot()->find_node("renamed")->info.tier, 2u);
  EXPECT_EQ(live(a), node);
  EXPECT_EQ(node->availability, Availability::healthy);
  EXPECT_EQ(replica("m"), before);
  EXPECT_EQ(before->limit, 3u);
  cluster.update(a, info("renamed", 1));
  EXPECT_EQ(before->limit, 3u) << "learning starts from the present limit";
}

TEST_F(TwoNodes, WhatIsRememberedIsTakenUpWithTheSameDigestOnly) {
  Estimate load;
  load.observe(3, t0);
  TokenTime token;
  for (int i = 0; i < 10; ++i) token.observe(0.02, 1, 0, t0);
  Estimate lateness;
  for (int i = 0; i < 10; ++i) lateness.observe(1.5, t0);
  const LearntModel same{.key = "same",
                         .digest = "d1",
                         .slots = 4,
                         .token = token.kept(),
                         .load = load.kept(),
                         .lateness = lateness.kept(),
                         .service_s = 2,
                         .longest_gap_s = 0.5,
                         .bytes_per_token = 3};
  LearntModel other = same;
  other.key = "other";
  other.digest = "old";
  cluster.remember(a, {.decode_bytes_per_s = 1e11, .models = {same, other}});
  EXPECT_EQ(cluster.learnt(a).models.size(), 2u) << "kept until the node lists its models";
  EXPECT_EQ(live(a)->decode_bytes_per_s, 1e11);
  cluster.set_models(a, {model("other"), model("same")});
  EXPECT_NEAR(replica("same")->decode_tokens_per_s, 50, 1e-9);
  EXPECT_EQ(replica("same")->longest_gap_s, 0.5);
  EXPECT_GE(replica("same")->late_factor, 1.5);
  EXPECT_EQ(replica("same")->limit, 4u);
  EXPECT_EQ(replica("other")->decode_tokens_per_s, 0);
  EXPECT_EQ(replica("other")->limit, 1u);
  EXPECT_EQ(cluster.snapshot()->find_model("same")->live->bytes_per_token, 3);
  const LearntNode learnt = cluster.learnt(a);
  EXPECT_EQ(learnt.decode_bytes_per_s, 1e11);
  ASSERT_EQ(learnt.models.size(), 1u);
  EXPECT_EQ(learnt.models[0], same);
}

TEST_F(TwoNodes, WhatIsKnownIsDoubtedMoreAsItGrowsOld) {
  TokenTime token;
  for (int i = 0; i < 20; ++i) token.observe(i % 2 == 0 ? 0.02 : 0.025, 1, 0, t0);
  cluster.remember(a, {.models = {{.key = "m", .digest = "d1", .token = token.kept()}}});
  cluster.set_models(a, {model("m")});
  cluster.tick(t0);
  const double fresh = replica("m")->doubt;
  EXPECT_LT(fresh, 0.1);
  cluster.tick(t0 + 96h);
  EXPECT_NEAR(replica("m")->doubt, fresh * 4, fresh / 10) << "a sixteenth of the measurements";
}

TEST_F(TwoNodes, AProbeThatCouldNotBeSentSaysNothing) {
  probe(a, ProbeOutcome::ok);
  probe(a, ProbeOutcome::not_asked);
  EXPECT_EQ(live(a)->availability, Availability::healthy);
  probe(b, ProbeOutcome::refused);
  probe(b, ProbeOutcome::not_asked);
  EXPECT_EQ(live(b)->availability, Availability::down);
}

TEST_F(TwoNodes, ThatShareADeviceCountTogether) {
  cluster.set_places({{a, {"desk", "gpu"}}, {b, {"desk", "gpu"}}});
  const auto snapshot = cluster.snapshot();
  ASSERT_NE(snapshot->nodes[0].device_load, nullptr);
  EXPECT_EQ(snapshot->nodes[0].device_load, snapshot->nodes[1].device_load);
  EXPECT_EQ(snapshot->nodes[0].machine_load, nullptr);  // the same requests: counted once
  EXPECT_EQ(snapshot->nodes[1].place.machine, "desk");
}

TEST_F(TwoNodes, WithADeviceEachShareTheirMachineOnly) {
  cluster.set_places({{a, {"desk", "gpu0"}}, {b, {"desk", "gpu1"}}});
  const auto snapshot = cluster.snapshot();
  EXPECT_EQ(snapshot->nodes[0].device_load, nullptr);
  EXPECT_EQ(snapshot->nodes[1].device_load, nullptr);
  ASSERT_NE(snapshot->nodes[0].machine_load, nullptr);
  EXPECT_EQ(snapshot->nodes[0].machine_load, snapshot->nodes[1].machine_load);
}

TEST_F(TwoNodes, AGroupThatChangesKeepsItsCounterAndEndsWhenItsNodesPart) {
  cluster.set_places({{a, {"desk", ""}}, {b, {"desk", ""}}});
  const auto counter = cluster.snapshot()->nodes[0].device_load;
  const NodeId c = cluster.add(info("c", 3)).value();
  cluster.set_places({{a, {"other name", ""}}, {b, {"other name", ""}}, {c, {"other name", ""}}});
  for (const Node& node : cluster.snapshot()->nodes) EXPECT_EQ(node.device_load, counter);
  cluster.set_places({{a, {"other name", ""}}, {b, {"attic", ""}}});
  for (const Node& node : cluster.snapshot()->nodes) {
    EXPECT_EQ(node.device_load, nullptr);
    EXPECT_EQ(node.machine_load, nullptr);
  }
}

TEST_F(TwoNodes, PlacesThatAreTheSameChangeNoSnapshot) {
  cluster.set_places({{a, {"desk", ""}}, {b, {"attic", ""}}});
  const auto before = cluster.snapshot();
  cluster.set_places({{a, {"desk", ""}}, {b, {"attic", ""}}});
  EXPECT_EQ(cluster.snapshot(), before);
}

}  // namespace
}  // namespace sollol::cluster

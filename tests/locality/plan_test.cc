#include <gtest/gtest.h>

#include "locality/contention_plan.h"
#include "locality/partitions.h"

namespace sollol::locality {
namespace {

/// A fleet whose rates are exact: nodes of one device halve each other.
struct Machine {
  std::map<std::string, int> device;
  Measurements measurements{};
  std::size_t spent = 0;

  void run(const Probe& probe) {
    spent += probe.requests();
    if (probe.kind == Probe::Kind::alone) return measurements.note_alone(probe.a, 40);
    const double rate = device.at(probe.a) == device.at(probe.b) ? 20 : 40;
    measurements.note_beside(probe.a, probe.b, rate);
    measurements.note_beside(probe.b, probe.a, rate);
  }
  void measure(std::span<const Pair> pairs, const ProbeBudget& budget = {}) {
    while (const auto probe = next_probe(pairs, measurements, spent, budget)) run(*probe);
  }
};

Grouping on_one_machine(int nodes) {
  std::vector<NodeFacts> facts;
  for (int i = 0; i < nodes; ++i) facts.push_back(at("n" + std::to_string(i), "10.0.0.1"));
  return group(facts, {});
}

TEST(Suspects, ArePairsOfOneMachineWhoseDevicesAreNotKnown) {
  EXPECT_EQ(suspects(on_one_machine(3)),
            (std::vector<Pair>{{"n0", "n1"}, {"n0", "n2"}, {"n1", "n2"}}));
}

TEST(Suspects, AreAllPairsThatAHintTies) {
  std::vector facts{at("a", "10.0.0.1"), at("b", "10.0.0.2"), at("c", "10.0.0.3"),
                    at("d", "10.0.0.4")};
  for (auto* node : {&facts[0], &facts[1], &facts[2]}) node->hostnames = {"pc"};
  EXPECT_EQ(suspects(group(facts, {})), (std::vector<Pair>{{"a", "b"}, {"a", "c"}, {"b", "c"}}));
}

TEST(Suspects, AreNotNodesWithoutASignOrWithKnownDevices) {
  std::vector facts{at("a", "10.0.0.1"), at("b", "10.0.0.2"), at("c", "10.0.0.2")};
  facts[1].operator_device = "left";
  facts[2].operator_device = "right";
  EXPECT_TRUE(suspects(group(facts, {})).empty());
}

TEST(Suspects, AreOneNodeOfEachKnownDeviceAndAllOthers) {
  std::vector facts{at("a", "10.0.0.2"), at("b", "10.0.0.2"), at("c", "10.0.0.2"),
                    at("d", "10.0.0.2")};
  const std::vector<Contention> known{{"a", "b", Relation::same_device, 0.99}};
  EXPECT_EQ(suspects(group(facts, known)), (std::vector<Pair>{{"a", "c"}, {"a", "d"}, {"c", "d"}}));
}

TEST(Suspects, AreBounded) {
  EXPECT_EQ(suspects(on_one_machine(100), {.pairs_max = 10}).size(), 10u);
}

TEST(NextProbe, EndsWithEveryPairDecidedOrImplied) {
  Machine machine{.device = {{"n0", 0}, {"n1", 1}, {"n2", 0}, {"n3", 1}, {"n4", 0}}};
  const auto grouping = on_one_machine(5);
  const auto pairs = suspects(grouping);
  machine.measure(pairs);
  std::vector<NodeFacts> facts;
  for (int i = 0; i < 5; ++i) facts.push_back(at("n" + std::to_string(i), "10.0.0.1"));
  const auto got = group(facts, findings(pairs, machine.measurements));
  EXPECT_EQ(devices_of(got), (Partition{{"n0", "n2", "n4"}, {"n1", "n3"}}));
  EXPECT_EQ(got.independent.size(), 2u);
  const auto decided = findings(pairs, machine.measurements).size();
  EXPECT_LT(decided, pairs.size());  // some follow from others
}

TEST(NextProbe, StaysWithinItsBudget) {
  Machine machine{.device = {{"n0", 0}, {"n1", 1}, {"n2", 0}, {"n3", 1}}};
  const auto pairs = suspects(on_one_machine(4));
  machine.measure(pairs, {.requests_max = 11});
  EXPECT_LE(machine.spent, 11u);
}

TEST(NextProbe, GivesUpWhereNoBearableNumberDecides) {
  Measurements measurements;
  const std::vector<Pair> pairs{{"a", "b"}};
  std::size_t spent = 0;
  while (const auto probe = next_probe(pairs, measurements, spent)) {
    spent += probe->requests();
    if (probe->kind == Probe::Kind::alone) {
      measurements.note_alone(probe->a, 40);
    } else {
      for (const auto& [a, b] : {Pair{"a", "b"}, Pair{"b", "a"}})
        measurements.note_beside(a, b, 40 / measurements.rules().host_slowdown);
    }
  }
  EXPECT_TRUE(findings(pairs, measurements).empty());
  EXPECT_LE(spent, 4 * measurements.rules().samples_max);
}

TEST(TheMeasurements, OfOneNodeAloneSayNothingOfThePair) {
  Measurements measurements;
  const auto least = measurements.rules().samples_min;
  for (std::size_t i = 0; i < least; ++i) {
    for (const auto* node : {"a", "b"}) measurements.note_alone(node, 40);
    measurements.note_beside("a", "b", 20);
    if (i > 0) measurements.note_beside("b", "a", 20);
  }
  EXPECT_EQ(measurements.verdict({"a", "b"}).relation, Relation::unknown);
  EXPECT_EQ(measurements.verdict({"a", "b"}).more_samples, 1u);
  measurements.note_beside("b", "a", 20);
  EXPECT_EQ(measurements.verdict({"a", "b"}).relation, Relation::same_device);
}

TEST(TheMeasurements, FromBeforeThePairsDoNotShowThatTheyShareAMachine) {
  Measurements measurements;
  for (int i = 0; i < 6; ++i) {
    for (const auto* node : {"a", "b"}) measurements.note_alone(node, 40);
  }
  const auto beside = [&](double rate) {
    for (int i = 0; i < 6; ++i) {
      measurements.note_beside("a", "b", rate);
      measurements.note_beside("b", "a", rate);
    }
  };
  beside(40 / 1.09);  // it may have become warmer since
  EXPECT_EQ(measurements.verdict({"a", "b"}).relation, Relation::unknown);
  EXPECT_GT(measurements.verdict({"a", "b"}).more_samples, 0u);
  for (int i = 0; i < 4; ++i) {
    for (const auto* node : {"a", "b"}) measurements.note_alone(node, 40);
  }
  EXPECT_EQ(measurements.verdict({"a", "b"}).relation, Relation::same_host);
}

TEST(TheMeasurements, KeepTheLastAndForgetANode) {
  Measurements measurements({.samples_max = 2});
  for (const double rate : {1.0, 2.0, -1.0, 3.0}) measurements.note_alone("a", rate);
  measurements.note_beside("a", "b", 5);
  EXPECT_EQ(std::vector<double>(measurements.alone("a").begin(), measurements.alone("a").end()),
            (std::vector<double>{2, 3}));
  measurements.forget("b");
  EXPECT_TRUE(measurements.beside("a", "b").empty());
  measurements.forget("a");
  EXPECT_TRUE(measurements.alone("a").empty());
}

}  // namespace
}  // namespace sollol::locality

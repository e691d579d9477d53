// What holds of all checks together.
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <set>

#include "doctor/checks.h"

namespace sollol::doctor {
namespace {

const std::set<std::string> all_checks = {
    "gateway",  "nodes",    "entries",   "duplicates", "parallel", "speed", "discovery",
    "versions", "contexts", "thrashing", "models",     "clock",    "files", "port"};

Facts any_facts() {
  Facts facts;
  const auto nodes = *rc::gen::inRange(0, 6);
  const auto text = rc::gen::element<std::string>("", "a", "b", "0.33.0", "0.9.6");
  for (int i = 0; i < nodes; ++i) {
    NodeFact node{.name = "n" + std::to_string(i),
                  .url = "http://10.0.0." + std::to_string(i) + ":11434",
                  .on_this_machine = *rc::gen::arbitrary<bool>(),
                  .usable = *rc::gen::arbitrary<bool>(),
                  .version = *text,
                  .round_trip = std::chrono::milliseconds(*rc::gen::inRange(0, 200))};
    if (*rc::gen::arbitrary<bool>())
      node.addresses = {{"10.0.0." + std::to_string(*rc::gen::inRange(1, 4)), 11434}};
    if (*rc::gen::arbitrary<bool>())
      node.clock_ahead = std::chrono::seconds(*rc::gen::inRange(-100, 100));
    node.models = {{.key = "m", .digest = *text, .modified_at = *text}};
    node.loaded = {{.key = "m",
                    .context_length = static_cast<std::uint32_t>(*rc::gen::inRange(0, 3)),
                    .size_bytes = static_cast<std::uint64_t>(*rc::gen::inRange(0, 3)),
                    .vram_bytes = static_cast<std::uint64_t>(*rc::gen::inRange(0, 3)),
                    .sizes_known = *rc::gen::arbitrary<bool>()}};
    facts.nodes.push_back(std::move(node));
  }
  if (*rc::gen::arbitrary<bool>()) {
    facts.scan = ScanFact{.ports = {11434},
                          .took = std::chrono::milliseconds(*rc::gen::inRange(0, 5000)),
                          .ranges = {{"10.0.0.0/24", "eth0", 254,
                                      static_cast<std::uint64_t>(*rc::gen::inRange(0, 3))}}};
  }
  facts.own.descriptors_max = static_cast<std::uint64_t>(*rc::gen::inRange(0, 100000));
  facts.own.connections = static_cast<std::uint64_t>(*rc::gen::inRange(0, 100000));
  facts.own.holder = static_cast<PortHolder>(*rc::gen::inRange(0, 4));
  return facts;
}

RC_GTEST_PROP(Examine, EveryCheckSpeaksAndWhatNeedsMendingHasItsMend, ()) {
  const Facts facts = any_facts();
  const Findings found = examine(facts);
  std::set<std::string> spoken;
  for (const Finding& finding : found) {
    spoken.insert(finding.check);
    RC_ASSERT(!finding.text.empty());
    if (needs_mending(finding)) RC_ASSERT(!finding.mends.empty());
    for (const std::string& mend : finding.mends) RC_ASSERT(!mend.empty());
  }
  RC_ASSERT(spoken == all_checks);
}

RC_GTEST_PROP(Examine, EqualFactsGiveEqualFindings, ()) {
  const Facts facts = any_facts();
  RC_ASSERT(examine(facts) == examine(facts));
}

RC_GTEST_PROP(Examine, WithoutAUsableNodeSomethingNeedsMending, ()) {
  Facts facts = any_facts();
  for (NodeFact& node : facts.nodes) node.usable = false;
  RC_ASSERT(std::ranges::any_of(examine(facts), needs_mending));
}

TEST(Examine, NamesOfLevelsAreThoseOfTheDocuments) {
  EXPECT_EQ(name(Level::ok), "ok");
  EXPECT_EQ(name(Level::note), "note");
  EXPECT_EQ(name(Level::warn), "warn");
  EXPECT_EQ(name(Level::bad), "bad");
}

}  // namespace
}  // namespace sollol::doctor

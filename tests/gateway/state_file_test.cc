#include "gateway/state_file.h"

#include <gtest/gtest.h>

namespace sollol::gateway {
namespace {

SavedState some_state() {
  SavedNode node{.url = "http://10.0.0.5:11434",
                 .name = "gpu \"1\"",
                 .priority = 2,
                 .slots = 3,
                 .added = true,
                 .admin = cluster::Admin::draining,
                 .models = {}};
  node.models.push_back({.key = "registry/llama3.2:latest",
                         .digest = "d1",
                         .slots = 4,
                         .prefill_tokens_per_s = 1234.5,
                         .decode_tokens_per_s = 56.25,
                         .load_s = 7,
                         .service_s = 0.5,
                         .longest_gap_s = 0.25});
  const KeptFinding found{
      .a = {.url = "http://10.0.0.5:11434", .addresses = {"10.0.0.5"}, .version = "0.33.0"},
      .b = {.url = "http://10.0.0.5:11435"},
      .relation = locality::Relation::same_device,
      .confidence = 0.9995,
      .slowdown = 1.9,
      .source = MeasuredBy::traffic,
      .when = WallTime(std::chrono::seconds(1'700'000'000))};
  return {{node}, {found}};
}

TEST(StateFile, ComesBackAsItWas) {
  const std::string text = state_text(some_state());
  const auto read = parse_state(text);
  ASSERT_TRUE(read.has_value());
  EXPECT_EQ(state_text(*read), text);
  ASSERT_EQ(read->nodes.size(), 1u);
  const SavedNode& node = read->nodes[0];
  EXPECT_EQ(node.name, "gpu \"1\"");
  EXPECT_TRUE(node.added);
  EXPECT_EQ(node.admin, cluster::Admin::draining);
  ASSERT_EQ(node.models.size(), 1u);
  EXPECT_EQ(node.models[0].decode_tokens_per_s, 56.25);
  ASSERT_EQ(read->contention.size(), 1u);
  EXPECT_EQ(read->contention[0].relation, locality::Relation::same_device);
  EXPECT_EQ(read->contention[0].source, MeasuredBy::traffic);
  EXPECT_EQ(read->contention[0].a.version, "0.33.0");
}

struct BadState {
  const char* name;
  std::string text;
};
class NoStateFile : public testing::TestWithParam<BadState> {};

TEST_P(NoStateFile, IsRefused) { EXPECT_FALSE(parse_state(GetParam().text).has_value()); }

INSTANTIATE_TEST_SUITE_P(Table, NoStateFile,
                         testing::Values(BadState{"empty", ""},
                                         BadState{"cut", "{\"sollol_state\":1"},
                                         BadState{"list", "[]"},
                                         BadState{"another", "{\"nodes\":[]}"},
                                         BadState{"newer", "{\"sollol_state\":2}"},
                                         BadState{"zeros", std::string(64, '\0')}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(StateFile, ValuesThatMakeNoSenseAreLeftOut) {
  const auto read = parse_state(R"({"sollol_state":1,"nodes":[7,{"url":5,"priority":-1,"slots":1e99,
      "added":"yes","models":[null,{"model":"m","slots":-4,"load_s":-1,"service_s":"x"}]}],
      "contention":[1,{},{"a":{"url":"x"},"b":{"url":"y"},"relation":"friends","confidence":1,
      "time":"2026-01-01T00:00:00Z"},{"a":{"url":"x"},"b":{"url":"y"},"relation":"same_host",
      "confidence":7,"time":"2026-01-01T00:00:00Z"}]})");
  ASSERT_TRUE(read.has_value());
  ASSERT_EQ(read->nodes.size(), 1u);
  const SavedNode& node = read->nodes[0];
  EXPECT_EQ(node.url, "");
  EXPECT_EQ(node.priority, 0u);
  EXPECT_EQ(node.slots, 0u);
  EXPECT_FALSE(node.added);
  ASSERT_EQ(node.models.size(), 1u);
  EXPECT_EQ(node.models[0].slots, 0u);
  EXPECT_EQ(node.models[0].load_s, 0);
  EXPECT_TRUE(read->contention.empty());
}

}  // namespace
}  // namespace sollol::gateway

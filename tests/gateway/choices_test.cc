// Why requests go where they go, and what came of it.
#include <gtest/gtest.h>

#include "harness.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

const std::string prompt = R"({"model":"llama3.2","prompt":"Hello","stream":false})";

json::object told(TestFleet& fleet, const std::string& path) {
  return json::parse(fleet.ask("GET", path).body).as_object();
}

/// Two nodes, of which the second writes four times as fast.
sim::FleetConfig slow_and_fast() {
  sim::FleetConfig config = equal_nodes(2, {chat_model()});
  config.nodes[0].models[0].decode_tokens_per_s = 100;
  config.nodes[1].models[0].decode_tokens_per_s = 400;
  return config;
}

TEST(Choices, ADecisionTellsWhatEveryNodeWouldHaveCostAndWhatCameOfIt) {
  TestFleet fleet(slow_and_fast());
  ASSERT_EQ(fleet.ask("POST", "/api/generate", prompt, "X-Request-Id: mine\r\n").status, 200);
  ASSERT_TRUE(fleet.eventually([&] {
    const json::object first =
        told(fleet, "/sollol/v1/decisions").at("decisions").as_array().at(0).as_object();
    return first.contains("took_s");
  }));
  const json::object decision =
      told(fleet, "/sollol/v1/decisions").at("decisions").as_array().at(0).as_object();
  EXPECT_EQ(decision.at("request_id"), "mine");
  const json::array& considered = decision.at("considered").as_array();
  ASSERT_EQ(considered.size(), 2u);
  EXPECT_EQ(considered[0].at("node"), decision.at("node"));
  EXPECT_GT(considered[0].at("total_s").to_number<double>(), 0);
  EXPECT_GT(decision.at("took_s").to_number<double>(), 0);
}

TEST(Choices, AreExplainedBeforeTheyAreMade) {
  TestFleet fleet(slow_and_fast());
  for (const char* node : {"a", "b"}) {
    const std::string there = std::string("X-Sollol-Node: ") + node + "\r\n";
    for (int i = 0; i < 3; ++i)
      ASSERT_EQ(fleet.ask("POST", "/api/generate", prompt, there).status, 200);
  }
  const json::object now =
      told(fleet, "/sollol/v1/explain?model=llama3.2&prompt_tokens=100&answer_tokens=2000");
  EXPECT_EQ(now.at("node"), "b");
  EXPECT_EQ(now.at("answer_tokens").to_number<int>(), 2000);
  const json::array& considered = now.at("considered").as_array();
  ASSERT_EQ(considered.size(), 2u);
  const double slow = considered[0].at("decode_s").to_number<double>();
  const double fast = considered[1].at("decode_s").to_number<double>();
  EXPECT_GT(slow, 2 * fast);
  EXPECT_TRUE(considered[0].at("measured").as_bool());
  EXPECT_EQ(considered[1].at("model"), "warm");
}

TEST(Choices, WhatCannotBeExplainedIsNamed) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  const struct {
    const char* query;
    int status;
    const char* word;
  } rows[] = {{"", 400, "model"},
              {"?model=none", 404, "none"},
              {"?model=llama3.2&prompt_tokens=x", 400, "prompt_tokens"}};
  for (const auto& row : rows) {
    const Answer answer = fleet.ask("GET", std::string("/sollol/v1/explain") + row.query);
    EXPECT_EQ(answer.status, row.status) << row.query;
    EXPECT_TRUE(answer.body.contains(row.word)) << answer.body;
  }
}

TEST(Choices, HowFarOffPredictionsWereIsAMetric) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  for (int i = 0; i < 3; ++i) ASSERT_EQ(fleet.ask("POST", "/api/generate", prompt).status, 200);
  EXPECT_TRUE(fleet.eventually([&] {
    const std::string text = fleet.ask("GET", "/metrics").body;
    return text.contains("sollol_prediction_error_count{term=\"decode\"}") &&
           text.contains("sollol_prediction_error_count{term=\"completion\"}");
  }));
}

std::string conversation(const std::string& first, int turns) {
  std::string messages = R"({"role":"user","content":")" + first + "\"}";
  for (int turn = 0; turn < turns; ++turn) {
    messages += R"(,{"role":"assistant","content":")" + std::string(400, 'a') + "\"}";
    messages += R"(,{"role":"user","content":")" + std::string(400, 'b') + "\"}";
  }
  return R"({"model":"llama3.2","stream":false,"options":{"num_predict":1},"messages":[)" +
         messages + "]}";
}

TEST(Choices, AConversationStaysWhereItsPromptIs) {
  sim::FleetConfig config = equal_nodes(3, {chat_model()});
  for (auto& node : config.nodes) {
    node.slots = 4;
    node.models[0].prefill_tokens_per_s = 400;
  }
  TestFleet fleet(std::move(config));
  // All three are measured and loaded.
  for (const char* node : {"a", "b", "c"}) {
    for (int i = 0; i < 3; ++i) {
      fleet.ask("POST", "/api/chat", conversation("warm up " + std::to_string(i), 1),
                std::string("X-Sollol-Node: ") + node + "\r\n");
    }
  }
  const std::string at =
      fleet.ask("POST", "/api/chat", conversation("Mine", 1)).field("x-sollol-node");
  for (int turns = 2; turns < 6; ++turns) {
    EXPECT_EQ(fleet.ask("POST", "/api/chat", conversation("Mine", turns)).field("x-sollol-node"),
              at);
  }
}

}  // namespace
}  // namespace sollol::test

// Streams that wait for their first token: what their clients see meanwhile.
#include <gtest/gtest.h>

#include <set>

#include "harness.h"

namespace sollol::test {
namespace {

using sim::FaultKind;

const std::string messages = R"("messages":[{"role":"user","content":"Hello"}])";

struct Api {
  const char* name;
  const char* target;
  std::string body;
  const char* content_type;
  const char* heartbeat;  // what an empty record of it contains
  const char* terminator;
  const char* error_sign;
};

std::vector<Api> apis() {
  return {
      {"generate", "/api/generate", R"({"model":"llama3.2","prompt":"Hello"})",
       "application/x-ndjson", R"("response":"","done":false})", R"("done":true)", R"({"error":)"},
      {"chat", "/api/chat", R"({"model":"llama3.2",)" + messages + "}", "application/x-ndjson",
       R"("message":{"role":"assistant","content":""},"done":false})", R"("done":true)",
       R"({"error":)"},
      {"openai", "/v1/chat/completions", R"({"model":"llama3.2","stream":true,)" + messages + "}",
       "text/event-stream", ": waiting\n\n", "data: [DONE]\n\n", R"(data: {"error":)"},
      {"completions", "/v1/completions", R"({"model":"llama3.2","stream":true,"prompt":"Hello"})",
       "text/event-stream", ": waiting\n\n", "data: [DONE]\n\n", R"(data: {"error":)"},
      {"responses", "/v1/responses", R"({"model":"llama3.2","stream":true,"input":"Hello"})",
       "text/event-stream", ": waiting\n\n", "event: response.completed", "event: error\ndata: "},
      {"anthropic", "/v1/messages",
       R"({"model":"llama3.2","max_tokens":200,"stream":true,)" + messages + "}",
       "text/event-stream", "event: ping\ndata: {\"type\":\"ping\"}\n\n", "event: message_stop",
       "event: error\ndata: "},
  };
}

constexpr Duration beat = 40ms;
constexpr Duration long_wait = 300ms;  // of the nodes, real time

sim::FleetConfig late_nodes(unsigned count, Duration delay = long_wait) {
  sim::FleetConfig config = equal_nodes(count, {chat_model(), embedding_model()});
  config.time_scale = 1;
  for (sim::NodeSpec& node : config.nodes) {
    node.network_delay = delay;
    for (sim::ModelSpec& model : node.models) model.load_time = 1ms;
  }
  return config;
}

void with_beat(gateway::Options& options) {
  options.stream.heartbeat = beat;
  options.probe.timeout = 5s;  // the nodes are late at everything
  options.health.suspect_after = 4s;
  options.health.dead_after = 5s;
}

std::size_t count_of(std::string_view text, std::string_view part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string_view::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

class Heartbeats : public testing::TestWithParam<Api> {};

TEST_P(Heartbeats, ComeUntilTheNodeAnswersAndThenItsRecordsFollow) {
  const Api& api = GetParam();
  TestFleet fleet(late_nodes(1), with_beat);
  const Answer answer = fleet.ask("POST", api.target, api.body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.field("content-type").starts_with(api.content_type));
  EXPECT_TRUE(answer.complete);
  EXPECT_GE(count_of(answer.body, api.heartbeat), 2u) << answer.body;
  EXPECT_EQ(count_of(answer.body, api.terminator), 1u) << answer.body;
  EXPECT_LE(count_of(answer.body, "event: message_start"), 1u);
  EXPECT_FALSE(answer.body.contains(api.error_sign)) << answer.body;
  // What follows the heartbeats is the node's own answer.
  const Answer direct = ask(fleet.node_port("a"), "POST", api.target, api.body);
  if (std::string_view(api.content_type) == "application/x-ndjson")
    EXPECT_EQ(joined_text(answer.body), joined_text(direct.body));
  else
    EXPECT_EQ(count_of(answer.body, "data: {"),
              count_of(direct.body, "data: {") + count_of(answer.body, R"({"type":"ping"})"));
}

TEST_P(Heartbeats, AnErrorThatComesLateIsARecord) {
  const Api& api = GetParam();
  TestFleet fleet(late_nodes(1), with_beat);
  fleet.nodes().set_fault("a", {.kind = FaultKind::error, .status = 500, .text = "out of luck"});
  const Answer answer = fleet.ask("POST", api.target, api.body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_GE(count_of(answer.body, api.heartbeat), 2u) << answer.body;
  EXPECT_EQ(count_of(answer.body, api.error_sign), 1u) << answer.body;
  EXPECT_TRUE(answer.body.contains("out of luck")) << answer.body;
  EXPECT_FALSE(answer.body.contains(api.terminator)) << answer.body;
}

TEST_P(Heartbeats, ANodeThatFailsLateIsReplacedUnseen) {
  const Api& api = GetParam();
  TestFleet fleet(late_nodes(2), [](gateway::Options& options) {
    with_beat(options);
    options.nodes[1].tier = 1;
  });
  fleet.nodes().set_fault("a", {.kind = FaultKind::die_after_tokens, .tokens = 0});
  const Answer answer = fleet.ask("POST", api.target, api.body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(count_of(answer.body, api.terminator), 1u) << answer.body;
  EXPECT_FALSE(answer.body.contains(api.error_sign)) << answer.body;
}

INSTANTIATE_TEST_SUITE_P(Apis, Heartbeats, testing::ValuesIn(apis()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(HeartbeatLimits, AQueuedStreamGetsThemAndItsTimeoutAsARecord) {
  sim::FleetConfig config = late_nodes(1, 0ms);
  config.nodes[0].faults = {{.kind = FaultKind::stall, .count = 1}};
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    with_beat(options);
    options.nodes[0].slots = 1;
    options.queue.wait_max = long_wait;
  });
  RawClient holder(fleet.port());
  holder.send(request_text("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x"})"));
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 1; }));
  const Answer answer = fleet.ask("POST", "/api/chat", R"({"model":"llama3.2",)" + messages + "}");
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_GE(count_of(answer.body, R"("done":false)"), 2u) << answer.body;
  EXPECT_TRUE(answer.body.contains("no node had a free slot"))
      << answer.body;
}

TEST(HeartbeatLimits, APreloadOverAStreamEndsWithItsOneRecord) {
  TestFleet fleet(late_nodes(1), with_beat);
  const Answer answer = fleet.ask("POST", "/api/generate", R"({"model":"llama3.2"})");
  EXPECT_EQ(answer.status, 200);
  EXPECT_GE(count_of(answer.body, R"("done":false)"), 2u) << answer.body;
  EXPECT_EQ(last_record(answer.body).at("done_reason"), "load");
}

TEST(HeartbeatLimits, WholeAnswersAndOldClientsGetNone) {
  TestFleet fleet(late_nodes(1), with_beat);
  const Answer whole =
      fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x","stream":false})");
  EXPECT_EQ(whole.status, 200);
  EXPECT_EQ(count_of(whole.body, "\"done\""), 1u) << whole.body;
  EXPECT_NE(whole.field("content-length"), "");
  const Answer embedded =
      fleet.ask("POST", "/api/embed", R"({"model":"nomic-embed-text","input":"x"})");
  EXPECT_TRUE(embedded.body.starts_with(R"({"model")")) << embedded.body;
  RawClient old(fleet.port());
  const std::string body = R"({"model":"llama3.2","prompt":"x"})";
  old.send("POST /api/generate HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
           "\r\n\r\n" + body);
  const Answer answer = old.receive();
  EXPECT_EQ(answer.status, 200);
  EXPECT_FALSE(answer.body.contains(R"("response":"","done":false)")) << answer.body;
}

TEST(HeartbeatLimits, ZeroTurnsThemOff) {
  TestFleet fleet(late_nodes(1), [](gateway::Options& options) {
    with_beat(options);
    options.stream.heartbeat = 0s;
  });
  fleet.nodes().set_fault("a", {.kind = FaultKind::error, .status = 500, .text = "out of luck"});
  EXPECT_EQ(fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x"})").status, 500);
}

}  // namespace
}  // namespace sollol::test

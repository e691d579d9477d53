// Which node a request goes to.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <thread>

#include <future>
#include <map>
#include <set>

#include "discovery/node_spec.h"
#include "gateway/nodes.h"
#include "harness.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

const std::string prompt = R"({"model":"llama3.2","prompt":"Hello","stream":false})";

TEST(Routing, OnlyNodesWithTheModelAreAsked) {
  sim::FleetConfig config = equal_nodes(3, {chat_model()});
  config.nodes[1].models = {chat_model("qwen2.5")};
  TestFleet fleet(std::move(config));
  for (int i = 0; i < 8; ++i) {
    const Answer answer = fleet.ask(
        "POST", "/api/generate", R"({"model":"QWEN2.5:latest","prompt":"Hello","stream":false})");
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.field("x-sollol-node"), "b");
  }
}

TEST(Routing, AModelPulledOnANodeIsFoundAtOnce) {
  TestFleet fleet(equal_nodes(2, {chat_model()}), [](gateway::Options& options) {
    options.probe.tags_interval = std::chrono::hours(1);
  });
  ASSERT_EQ(ask(fleet.node_port("b"), "POST", "/api/copy",
                R"({"source":"llama3.2","destination":"fresh"})")
                .status,
            200);
  const Answer answer =
      fleet.ask("POST", "/api/generate", R"({"model":"fresh","prompt":"Hello","stream":false})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
}

TEST(Routing, AWarmNodeIsPreferred) {
  TestFleet fleet(equal_nodes(3, {chat_model()}));
  const std::string first = fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node");
  for (int i = 0; i < 5; ++i) {
    const Answer answer = fleet.ask("POST", "/api/generate", prompt, "X-Sollol-Explain: 1\r\n");
    EXPECT_EQ(answer.field("x-sollol-node"), first);
    EXPECT_NE(answer.field("x-sollol-reason"), "");
  }
}

TEST(Routing, OtherRunnerOptionsDoNotThrashAWarmNode) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  const std::string with_context =
      R"({"model":"llama3.2","prompt":"Hi","stream":false,"options":{"num_ctx":8192}})";
  const std::string plain_node = fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node");
  const std::string context_node =
      fleet.ask("POST", "/api/generate", with_context).field("x-sollol-node");
  EXPECT_NE(plain_node, context_node);
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node"), plain_node);
    EXPECT_EQ(fleet.ask("POST", "/api/generate", with_context).field("x-sollol-node"),
              context_node);
  }
}

TEST(Routing, TwoClientsWithTwoContextsKeepToANodeEachWhileBothAreBusy) {
  TestFleet fleet(equal_nodes(2, {chat_model()}), [](gateway::Options& options) {
    options.nodes[0].slots = options.nodes[1].slots = 1;
  });
  const auto ask_often = [&](const std::string& num_ctx) {
    for (int i = 0; i < 40; ++i) {
      const Answer answer =
          fleet.ask("POST", "/api/generate",
                    R"({"model":"llama3.2","prompt":"Hi","stream":false,"options":{"num_ctx":)" +
                        num_ctx + "}}");
      EXPECT_EQ(answer.status, 200) << answer.body;
    }
  };
  std::thread small(ask_often, "4096"), large(ask_often, "8192");
  small.join();
  large.join();
  // One load for each, and what their first requests did before anything was known of the nodes.
  EXPECT_LE(fleet.nodes().counters("a").model.loads + fleet.nodes().counters("b").model.loads, 4u);
}

TEST(Routing, TheClientMayNameItsNode) {
  TestFleet fleet(equal_nodes(3, {chat_model()}));
  EXPECT_EQ(
      fleet.ask("POST", "/api/generate", prompt, "X-Sollol-Node: c\r\n").field("x-sollol-node"),
      "c");
  EXPECT_EQ(fleet.ask("POST", "/api/generate?node=b", prompt).field("x-sollol-node"), "b");
  const Answer unknown = fleet.ask("POST", "/api/generate", prompt, "X-Sollol-Node: zebra\r\n");
  EXPECT_EQ(unknown.status, 400);
  EXPECT_TRUE(unknown.body.contains("zebra")) << unknown.body;
}

TEST(Routing, TheBestTierIsUsedWhileItIsUp) {
  TestFleet fleet(equal_nodes(2, {chat_model()}),
                  [](gateway::Options& options) { options.nodes[1].tier = 1; });
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node"), "a");
  }
  fleet.nodes().kill("a");
  for (int i = 0; i < 4; ++i) {
    const Answer answer = fleet.ask("POST", "/api/generate", prompt);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.field("x-sollol-node"), "b");
  }
  fleet.nodes().restart("a");
  EXPECT_TRUE(fleet.eventually(
      [&] { return fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node") == "a"; }));
}

TEST(Routing, AFullTierSpillsOver) {
  sim::FleetConfig config = equal_nodes(2, {chat_model()});
  config.nodes[0].faults = {{.kind = sim::FaultKind::stall}};
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.nodes[0].slots = options.nodes[1].slots = 1;
    options.nodes[1].tier = 1;
  });
  RawClient held(fleet.port());
  held.send(request_text("POST", "/api/generate", prompt));
  ASSERT_TRUE(fleet.nodes().wait_until(
      [&] { return fleet.nodes().counters("a").of("POST /api/generate") == 1; }));
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node"), "b");
}

TEST(Routing, ADrainedNodeGetsNothingNew) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  ASSERT_EQ(fleet.ask("POST", "/sollol/v1/nodes/a/drain").status, 200);
  for (int i = 0; i < 6; ++i)
    EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node"), "b");
  ASSERT_EQ(fleet.ask("POST", "/sollol/v1/nodes/b/drain").status, 200);
  ASSERT_EQ(fleet.ask("POST", "/sollol/v1/nodes/a/undrain").status, 200);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).field("x-sollol-node"), "a");
}

TEST(Routing, WithoutANodeItSaysWhatToDoAndServesOnceOneIsThere) {
  sim::Fleet nodes(equal_nodes(1, {chat_model()}));
  TestFleet fleet(sim::FleetConfig{});
  const Answer refused = fleet.ask("POST", "/api/generate", prompt);
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.field("retry-after"), "");
  EXPECT_TRUE(refused.body.contains("sollol nodes add")) << refused.body;
  EXPECT_EQ(fleet.ask("GET", "/api/tags").body, R"({"models":[]})");

  const Answer added =
      fleet.ask("POST", "/sollol/v1/nodes", R"({"url":")" + nodes.url("a") + R"(","name":"late"})");
  EXPECT_EQ(added.status, 201) << added.body;
  EXPECT_TRUE(
      fleet.eventually([&] { return fleet.ask("POST", "/api/generate", prompt).status == 200; }));
  EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes", R"({"url":")" + nodes.url("a") + R"("})").status,
            409);
  EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes", R"({"url":"ftp://x"})").status, 400);
  EXPECT_EQ(fleet.ask("DELETE", "/sollol/v1/nodes/late").status, 200);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).status, 503);
}

class Policies : public testing::TestWithParam<routing::Policy> {};

TEST_P(Policies, EachServesAndSpreadsConcurrentWork) {
  sim::FleetConfig config = equal_nodes(3, {chat_model()});
  config.time_scale = 1;
  for (auto& node : config.nodes) node.models[0].decode_tokens_per_s = 200;
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.policy = GetParam();
    for (auto& node : options.nodes) node.slots = 2;
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<RawClient>(fleet.port()));
    clients.back()->send(request_text("POST", "/api/generate", prompt));
  }
  std::map<std::string, int> served;
  for (auto& client : clients) {
    const Answer answer = client->receive();
    EXPECT_EQ(answer.status, 200) << answer.body;
    ++served[answer.field("x-sollol-node")];
  }
  // Six requests over two slots on each of three nodes: full use, whatever the order.
  EXPECT_EQ(served, (std::map<std::string, int>{{"a", 2}, {"b", 2}, {"c", 2}}));
}

INSTANTIATE_TEST_SUITE_P(All, Policies,
                         testing::Values(routing::Policy::expected_completion,
                                         routing::Policy::round_robin,
                                         routing::Policy::least_connections,
                                         routing::Policy::power_of_two, routing::Policy::random,
                                         routing::Policy::fastest, routing::Policy::priority),
                         [](const auto& row) { return std::string(routing::name(row.param)); });

TEST(Aggregates, TagsAreTheUnionAndPsWhatIsLoaded) {
  sim::FleetConfig config = equal_nodes(2, {chat_model()});
  config.nodes[1].models.push_back(chat_model("qwen2.5"));
  TestFleet fleet(std::move(config));
  std::set<std::string> names;
  const json::value tags = json::parse(fleet.ask("GET", "/api/tags").body);
  for (const json::value& model : tags.at("models").as_array())
    names.emplace(model.at("name").as_string());
  EXPECT_EQ(names, (std::set<std::string>{"llama3.2:latest", "qwen2.5:latest"}));
  ASSERT_EQ(fleet.ask("POST", "/api/generate", R"({"model":"qwen2.5"})").status, 200);
  EXPECT_TRUE(fleet.eventually(
      [&] { return fleet.ask("GET", "/api/ps").body.contains("qwen2.5:latest"); }));
}

TEST(Fanout, APullReachesEveryNodeAndOneStreamTellsOfAll) {
  TestFleet fleet(equal_nodes(3, {chat_model()}));
  const Answer pulled = fleet.ask("POST", "/api/pull", R"({"model":"phi3"})");
  ASSERT_EQ(pulled.status, 200) << pulled.body;
  const json::object last = last_record(pulled.body);
  EXPECT_EQ(last.at("status").as_string(), "success") << pulled.body;
  EXPECT_EQ(last.at("sollol").at("nodes").as_object().size(), 3u);
  for (const std::string& name : fleet.nodes().names()) {
    EXPECT_TRUE(ask(fleet.node_port(name), "GET", "/api/tags").body.contains("phi3")) << name;
  }
  EXPECT_EQ(fleet.ask("DELETE", "/api/delete", R"({"model":"phi3"})").status, 200);
  for (const std::string& name : fleet.nodes().names()) {
    EXPECT_FALSE(ask(fleet.node_port(name), "GET", "/api/tags").body.contains("phi3")) << name;
  }
}

TEST(Fanout, APartialFailureIsReportedAsSuch) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  fleet.nodes().set_fault(
      "b", {.kind = sim::FaultKind::reset_after_head, .scope = sim::FaultScope::all});
  const Answer pulled = fleet.ask("POST", "/api/pull", R"({"model":"phi3"})");
  const json::object last = last_record(pulled.body);
  ASSERT_TRUE(last.contains("error")) << pulled.body;
  EXPECT_TRUE(std::string(last.at("error").as_string()).contains("b")) << pulled.body;
  EXPECT_EQ(last.at("sollol").at("nodes").at("a").as_string(), "success");
}

TEST(Fanout, ANamedNodeAloneIsChanged) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  EXPECT_EQ(fleet
                .ask("POST", "/api/copy", R"({"source":"llama3.2","destination":"mine"})",
                     "X-Sollol-Node: b\r\n")
                .status,
            200);
  EXPECT_FALSE(ask(fleet.node_port("a"), "GET", "/api/tags").body.contains("mine"));
  EXPECT_TRUE(ask(fleet.node_port("b"), "GET", "/api/tags").body.contains("mine"));
}

TEST(Loop, ARequestThatComesRoundIsCut) {
  TestFleet here(equal_nodes(1, {chat_model()}), [](gateway::Options& options) {
    options.nodes[0].tier = 1;
    options.retry.budget_percent = 100;
  });
  const std::string url = fmt::format("http://127.0.0.1:{}", here.port());
  TestFleet there(equal_nodes(0, {}), [&](gateway::Options& options) {
    options.nodes.push_back(gateway::to_node_info(*discovery::parse_node_url(url)));
  });
  const std::string body =
      fmt::format(R"({{"url":"http://127.0.0.1:{}","name":"round"}})", there.port());
  ASSERT_EQ(here.ask("POST", "/sollol/v1/nodes", body).status, 201);
  ASSERT_TRUE(here.eventually([&] { return here.state("round") == "healthy"; }));
  ASSERT_TRUE(here.eventually([&] { return !here.node("round").at("models").as_array().empty(); }));
  // Preferred, it sends the request back here, where that is seen; then the node has its turn.
  const Answer answer =
      here.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x","stream":false})");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "a");
  const Answer pinned =
      here.ask("POST", "/v1/chat/completions",
               R"({"model":"llama3.2","messages":[{"role":"user","content":"x"}]})",
               "X-Sollol-Node: round\r\n");
  EXPECT_GE(pinned.status, 500);
  EXPECT_TRUE(pinned.body.contains("come round")) << pinned.body;
}

/// Two nodes on one machine and one on another, as the operator says.
TEST(Routing, RequestsAtOnceGoToDifferentMachines) {
  std::vector<sim::ModelSpec> models{chat_model()};
  models[0].decode_tokens_per_s = 400;  // twenty times as fast here: long enough to overlap
  sim::FleetConfig config = equal_nodes(3, models);
  config.nodes[0].host = config.nodes[1].host = "desk";
  config.nodes[2].host = "attic";
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.nodes[0].machine = options.nodes[1].machine = "desk";
    options.nodes[2].machine = "attic";
  });
  ASSERT_TRUE(fleet.eventually([&] {
    return fleet.node("a").contains("machine") && fleet.node("a").at("machine") == "desk";
  }));
  for (const char* node : {"a", "b", "c"}) {  // all warm, and their speeds known
    const Answer warm =
        fleet.ask("POST", "/api/generate", prompt, fmt::format("X-Sollol-Node: {}\r\n", node));
    ASSERT_EQ(warm.status, 200) << warm.body;
  }
  const std::string longer =
      R"({"model":"llama3.2","prompt":"Hello","stream":false,"options":{"num_predict":4000}})";
  for (const char* busy : {"a", "b"}) {
    auto first = std::async(std::launch::async, [&] {
      return fleet.ask("POST", "/api/generate", longer, fmt::format("X-Sollol-Node: {}\r\n", busy));
    });
    ASSERT_TRUE(fleet.eventually([&] { return fleet.node(busy).at("in_flight") == 1; }));
    const Answer second = fleet.ask("POST", "/api/generate", prompt, "X-Sollol-Explain: 1\r\n");
    EXPECT_EQ(second.field("x-sollol-node"), "c");
    EXPECT_EQ(first.get().status, 200);
  }
}

}  // namespace
}  // namespace sollol::test

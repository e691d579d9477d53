// Loads of models, which the gateway owns: one for all who wait, whatever they do meanwhile.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "harness.h"

namespace sollol::test {
namespace {

using sim::FaultKind;

std::string prompt(int i, std::string_view more = {}) {
  return R"({"model":"llama3.2","prompt":"number )" + std::to_string(i) +
         R"(","stream":false,"options":{"num_predict":4)" + std::string(more) + "}}";
}

std::unique_ptr<RawClient> begin(TestFleet& fleet, std::string_view target, std::string_view body) {
  auto client = std::make_unique<RawClient>(fleet.port());
  client->send(request_text("POST", target, body));
  return client;
}

bool loading(TestFleet& fleet, std::string_view node) {
  const boost::json::object found = fleet.node(node);
  for (const boost::json::value& model : found.at("models").as_array()) {
    if (model.at("loading").as_bool()) return true;
  }
  return false;
}

double metric(TestFleet& fleet, const std::string& name) {
  const std::string text = fleet.ask("GET", "/metrics").body;
  const auto at = text.find("\n" + name + " ");
  return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
}

std::vector<std::string> preloads(TestFleet& fleet, std::string_view node) {
  std::vector<std::string> bodies;
  for (const sim::SeenRequest& seen : fleet.nodes().requests(std::string(node))) {
    if (seen.head.contains("(preload)")) bodies.push_back(seen.path + " " + seen.body);
  }
  return bodies;
}

class ManyClients : public testing::TestWithParam<unsigned> {};

TEST_P(ManyClients, ShareOneLoad) {
  TestFleet fleet(slow_loaders(1),
                  [](gateway::Options& options) { options.nodes[0].slots = GetParam(); });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(begin(fleet, "/api/generate", prompt(i)));
  for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
  EXPECT_EQ(preloads(fleet, "a").size(), 1u);
  EXPECT_EQ(metric(fleet, "sollol_loads_started_total"), 1);
  EXPECT_EQ(metric(fleet, "sollol_loads_joined_total"), GetParam() - 1);
}
INSTANTIATE_TEST_SUITE_P(Slots, ManyClients, testing::Values(1u, 20u));

TEST(ColdLoad, GoesOnWhenTheClientThatCausedItLeaves) {
  TestFleet fleet(slow_loaders(1));
  auto first = begin(fleet, "/api/generate", prompt(0));
  ASSERT_TRUE(fleet.eventually([&] { return loading(fleet, "a"); }));
  auto second = begin(fleet, "/api/generate", prompt(1));
  first->close();
  EXPECT_EQ(second->receive().status, 200);
  const auto counters = fleet.nodes().counters("a");
  EXPECT_EQ(counters.model.loads, 1u);
  EXPECT_EQ(counters.model.loads_cancelled, 0u);
  EXPECT_FALSE(loading(fleet, "a"));
}

TEST(ColdLoad, GoesOnWhenEveryClientLeaves) {
  TestFleet fleet(slow_loaders(1));
  auto only = begin(fleet, "/api/generate", prompt(0));
  ASSERT_TRUE(fleet.eventually([&] { return loading(fleet, "a"); }));
  only->close();
  EXPECT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 0; }));
  EXPECT_TRUE(loading(fleet, "a"));
  EXPECT_TRUE(fleet.eventually([&] { return !loading(fleet, "a"); }));
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt(1)).status, 200);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads_cancelled, 0u);
}

struct LoadFault {
  const char* name;
  sim::FaultSpec fault;
};
class FailedLoad : public testing::TestWithParam<LoadFault> {};

TEST_P(FailedLoad, SendsWhoWaitedElsewhereAndCountsOnce) {
  TestFleet fleet(slow_loaders(2, 20ms), [](gateway::Options& options) {
    options.nodes[0].slots = 8;
    options.nodes[1].slots = 8;
    options.nodes[1].tier = 1;
  });
  fleet.nodes().set_fault("a", GetParam().fault);
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) clients.push_back(begin(fleet, "/api/generate", prompt(i)));
  for (auto& client : clients) {
    const Answer answer = client->receive();
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.field("x-sollol-node"), "b");
  }
  EXPECT_EQ(fleet.nodes().counters("b").model.loads, 1u);
  EXPECT_GE(metric(fleet, "sollol_loads_failed_total"), 1);
  EXPECT_FALSE(loading(fleet, "a"));
}
INSTANTIATE_TEST_SUITE_P(Faults, FailedLoad,
                         testing::Values(LoadFault{"error",
                                                   {.kind = FaultKind::error,
                                                    .text = "unable to load full model on GPU"}},
                                         LoadFault{"busy", {.kind = FaultKind::busy}},
                                         LoadFault{"reset", {.kind = FaultKind::reset_after_head}},
                                         LoadFault{"empty", {.kind = FaultKind::empty}},
                                         LoadFault{"garbage", {.kind = FaultKind::garbage}}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ColdLoad, AFailureIsToldInTheCallersForm) {
  TestFleet fleet(slow_loaders(1));
  fleet.nodes().set_fault("a",
                          {.kind = FaultKind::error, .text = "unable to load full model on GPU"});
  const Answer openai =
      fleet.ask("POST", "/v1/chat/completions",
                R"({"model":"llama3.2","messages":[{"role":"user","content":"Hello"}]})");
  EXPECT_EQ(openai.status, 500);
  EXPECT_TRUE(openai.body.starts_with(R"({"error":{"message":"unable to load)")) << openai.body;
}

TEST(ColdLoad, WaitsForOneWithOtherOptionsAndReloadsAfterIt) {
  TestFleet fleet(slow_loaders(1, 200ms),
                  [](gateway::Options& options) { options.nodes[0].slots = 4; });
  auto small = begin(fleet, "/api/generate", prompt(0, R"(,"num_ctx":2048)"));
  ASSERT_TRUE(fleet.eventually([&] { return loading(fleet, "a"); }));
  auto large = begin(fleet, "/api/generate", prompt(1, R"(,"num_ctx":8192)"));
  EXPECT_EQ(small->receive().status, 200);
  EXPECT_EQ(large->receive().status, 200);
  // The node may see the second preload before the first request, and then loads in turns.
  EXPECT_GE(fleet.nodes().counters("a").model.loads, 2u);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads_cancelled, 0u);
  const std::vector<std::string> seen = preloads(fleet, "a");
  ASSERT_EQ(seen.size(), 2u);
  EXPECT_TRUE(seen[0].contains(R"("num_ctx":2048)")) << seen[0];
  EXPECT_TRUE(seen[1].contains(R"("num_ctx":8192)")) << seen[1];
}

struct Kind {
  const char* name;
  const char* target;
  const char* body;
  const char* preload;
};
class EveryRoute : public testing::TestWithParam<Kind> {};

TEST_P(EveryRoute, PreloadsAsTheNodeExpectsAndOnlyWhenCold) {
  TestFleet fleet(slow_loaders(1, 20ms));
  for (int i = 0; i < 3; ++i)
    EXPECT_EQ(fleet.ask("POST", GetParam().target, GetParam().body).status, 200);
  const std::vector<std::string> seen = preloads(fleet, "a");
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0], GetParam().preload);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
}
INSTANTIATE_TEST_SUITE_P(
    Routes, EveryRoute,
    testing::Values(
        Kind{"generate", "/api/generate",
             R"({"model":"llama3.2","prompt":"x","keep_alive":"1h","options":{"num_ctx":2048}})",
             R"(/api/generate {"model":"llama3.2","options":{"num_ctx":2048},"keep_alive":"1h",)"
             R"("stream":false})"},
        Kind{"preload", "/api/generate", R"({"model":"llama3.2"})",
             R"(/api/generate {"model":"llama3.2","stream":false})"},
        Kind{"embed", "/api/embed", R"({"model":"nomic-embed-text","input":"x"})",
             R"(/api/embed {"model":"nomic-embed-text","input":""})"},
        Kind{"embeddings", "/api/embeddings", R"({"model":"nomic-embed-text:latest","prompt":"x"})",
             R"(/api/embed {"model":"nomic-embed-text:latest","input":""})"},
        Kind{"openai_embeddings", "/v1/embeddings", R"({"model":"nomic-embed-text","input":"x"})",
             R"(/api/embed {"model":"nomic-embed-text","input":""})"},
        Kind{"messages", "/v1/messages",
             R"({"model":"llama3.2","max_tokens":5,"messages":[{"role":"user","content":"x"}]})",
             R"(/api/generate {"model":"llama3.2","stream":false})"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ColdLoad, AnUnloadLoadsNothing) {
  TestFleet fleet(slow_loaders(1, 20ms));
  const std::string unload = R"({"model":"llama3.2","keep_alive":0})";
  EXPECT_EQ(fleet.ask("POST", "/api/generate", unload).status, 200);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 0u);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt(0)).status, 200);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", unload).status, 200);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt(1)).status, 200);
  EXPECT_EQ(preloads(fleet, "a").size(), 2u) << "it was unloaded in between";
}

TEST(ColdLoad, ARequestTheModelCannotServeIsTheNodesToRefuse) {
  TestFleet fleet(slow_loaders(1, 20ms));
  const Answer answer = fleet.ask("POST", "/api/generate",
                                  R"({"model":"nomic-embed-text","prompt":"x","stream":false})");
  EXPECT_EQ(answer.status, 400) << answer.body;
  EXPECT_TRUE(answer.body.contains("does not support generate")) << answer.body;
  EXPECT_EQ(fleet.state("a"), "healthy");
}

TEST(ColdLoad, MayBeLeftToTheRequests) {
  TestFleet fleet(slow_loaders(1, 20ms), [](gateway::Options& options) {
    options.load.owner = gateway::LoadOptions::Owner::request;
  });
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt(0)).status, 200);
  EXPECT_TRUE(preloads(fleet, "a").empty());
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
}

TEST(ColdLoad, StreamsThatWaitForItGetHeartbeats) {
  TestFleet fleet(slow_loaders(1),
                  [](gateway::Options& options) { options.stream.heartbeat = 40ms; });
  const Answer answer =
      fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"Hello"})");
  EXPECT_TRUE(answer.body.contains(R"("response":"","done":false})")) << answer.body;
  EXPECT_EQ(last_record(answer.body).at("done"), true);
  EXPECT_EQ(preloads(fleet, "a").size(), 1u);
}

TEST(ColdLoad, AWaitThatIsTooLongGoesElsewhereAndTheLoadGoesOn) {
  sim::FleetConfig config = slow_loaders(2, 20ms);
  config.nodes[0].models[0].load_time = 1s;
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.nodes[1].tier = 1;
    options.upstream.response_timeout = 100ms;
  });
  const Answer answer = fleet.ask("POST", "/api/generate", prompt(0));
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
  EXPECT_TRUE(fleet.eventually([&] { return !loading(fleet, "a"); }));
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
  EXPECT_EQ(fleet.nodes().counters("a").model.loads_cancelled, 0u);
}

}  // namespace
}  // namespace sollol::test

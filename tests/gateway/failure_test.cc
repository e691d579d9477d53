// What a client sees, and what the fleet does, when nodes fail.
#include <gtest/gtest.h>

#include "harness.h"

namespace sollol::test {
namespace {

using sim::FaultKind;

const std::string whole = R"({"model":"llama3.2","prompt":"Hello","stream":false})";
const std::string stream = R"({"model":"llama3.2","prompt":"Hello"})";

struct FaultCase {
  const char* name;
  sim::FaultSpec fault;
};

class BeforeTheFirstByte : public testing::TestWithParam<FaultCase> {};

/// Node "a" fails in some way before it has answered anything: the client gets node b's answer and
/// sees nothing of it.
TEST_P(BeforeTheFirstByte, AnotherNodeAnswers) {
  TestFleet fleet(equal_nodes(2, {chat_model()}),
                  [](gateway::Options& options) { options.nodes[1].tier = 1; });
  fleet.nodes().set_fault("a", GetParam().fault);
  for (const std::string& body : {whole, stream}) {
    const Answer answer = fleet.ask("POST", "/api/generate", body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.field("x-sollol-node"), "b");
    EXPECT_EQ(last_record(answer.body).at("done"), true) << answer.body;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Faults, BeforeTheFirstByte,
    testing::Values(FaultCase{"refuse", {.kind = FaultKind::refuse}},
                    FaultCase{"reset_after_head", {.kind = FaultKind::reset_after_head}},
                    FaultCase{"die_at_once", {.kind = FaultKind::die_after_tokens, .tokens = 0}},
                    FaultCase{"runner_died", {.kind = FaultKind::error}},
                    FaultCase{"busy", {.kind = FaultKind::busy}},
                    FaultCase{"content_type", {.kind = FaultKind::content_type}},
                    FaultCase{"garbage", {.kind = FaultKind::garbage}},
                    FaultCase{"empty", {.kind = FaultKind::empty}}),
    [](const auto& row) { return std::string(row.param.name); });

struct CutCase {
  std::string name;
  const char* target;
  std::string body;
  FaultKind kind;
  const char* error_sign;     // what tells the client
  const char* complete_sign;  // what must not be there
};
class AfterTheFirstByte : public testing::TestWithParam<CutCase> {};

TEST_P(AfterTheFirstByte, TheStreamEndsWithTheApisOwnError) {
  const CutCase& cut = GetParam();
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.time_scale = 1;  // so that tokens come one by one
  config.nodes[0].models[0].decode_tokens_per_s = 100;
  TestFleet fleet(std::move(config));
  fleet.nodes().set_fault("a", {.kind = cut.kind, .tokens = 5});
  const Answer answer = fleet.ask("POST", cut.target, cut.body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete) << "the connection itself must end well";
  EXPECT_TRUE(answer.body.contains(cut.error_sign)) << answer.body;
  EXPECT_FALSE(answer.body.contains(cut.complete_sign)) << answer.body;
}

const std::string messages = R"("messages":[{"role":"user","content":"Hello"}])";
std::vector<CutCase> cuts() {
  std::vector<CutCase> cases;
  for (const auto& [suffix, kind] : {std::pair{"dies", FaultKind::die_after_tokens},
                                     std::pair{"ends", FaultKind::end_after_tokens}}) {
    const auto name = [&](const char* api) {
      return std::string(api) + "_" + suffix;
    };
    cases.push_back(
        {name("generate"), "/api/generate", stream, kind, "{\"error\":", "\"done\":true"});
    cases.push_back({name("chat"), "/api/chat", R"({"model":"llama3.2",)" + messages + "}", kind,
                     "{\"error\":", "\"done\":true"});
    cases.push_back({name("openai"), "/v1/chat/completions",
                     R"({"model":"llama3.2","stream":true,)" + messages + "}", kind, "\"error\"",
                     "[DONE]"});
    cases.push_back({name("anthropic"), "/v1/messages",
                     R"({"model":"llama3.2","max_tokens":200,"stream":true,)" + messages + "}",
                     kind, "event: error", "message_stop"});
  }
  return cases;
}
INSTANTIATE_TEST_SUITE_P(Apis, AfterTheFirstByte, testing::ValuesIn(cuts()),
                         [](const auto& row) { return row.param.name; });

TEST(Failure, AWholeAnswerThatBreaksOffIsAskedElsewhere) {
  TestFleet fleet(equal_nodes(2, {chat_model()}),
                  [](gateway::Options& options) { options.nodes[1].tier = 1; });
  fleet.nodes().set_fault("a", {.kind = FaultKind::die_after_tokens, .tokens = 3});
  const Answer answer = fleet.ask("POST", "/api/generate", whole);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
}

TEST(Failure, WhenEveryNodeFailsTheClientGetsTheNodesOwnWords) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  for (const std::string& name : fleet.nodes().names()) {
    fleet.nodes().set_fault(
        name,
        {.kind = FaultKind::error, .status = 500, .text = "unable to load full model on GPU"});
  }
  const Answer answer = fleet.ask("POST", "/api/generate", whole);
  EXPECT_EQ(answer.status, 500);
  EXPECT_TRUE(answer.body.contains("unable to load full model on GPU")) << answer.body;
}

TEST(Failure, AllNodesDownIsA503InEachApisForm) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  fleet.nodes().kill("a");
  ASSERT_TRUE(fleet.eventually([&] { return fleet.state("a") == "down"; }));
  const Answer native = fleet.ask("POST", "/api/generate", whole);
  EXPECT_EQ(native.status, 503);
  EXPECT_NE(native.field("retry-after"), "");
  EXPECT_TRUE(native.body.starts_with("{\"error\":\"")) << native.body;
  const Answer openai =
      fleet.ask("POST", "/v1/chat/completions", R"({"model":"llama3.2",)" + messages + "}");
  EXPECT_EQ(openai.status, 503);
  EXPECT_TRUE(openai.body.contains("\"type\":\"api_error\"")) << openai.body;
  const Answer anthropic =
      fleet.ask("POST", "/v1/messages", R"({"model":"llama3.2","max_tokens":9,)" + messages + "}");
  EXPECT_EQ(anthropic.status, 503);
  EXPECT_TRUE(anthropic.body.contains("overloaded_error")) << anthropic.body;
}

TEST(Failure, ABadRequestIsTheClientsAndHarmsNoNode) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(
        fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x","think":true})")
            .status,
        400);
  }
  EXPECT_EQ(fleet.state("a"), "healthy");
  EXPECT_EQ(fleet.state("b"), "healthy");
}

TEST(Failure, AClientThatLeavesCancelsTheNodesWork) {
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.time_scale = 1;
  config.nodes[0].models[0].decode_tokens_per_s = 20;
  TestFleet fleet(std::move(config));
  {
    RawClient client(fleet.port());
    client.send(
        request_text("POST", "/api/generate",
                     R"({"model":"llama3.2","prompt":"Hello","options":{"num_predict":500}})"));
    ASSERT_TRUE(client.receive_until("\"response\""));
  }
  EXPECT_TRUE(
      fleet.nodes().wait_until([&] { return fleet.nodes().counters("a").client_gone == 1; }));
  EXPECT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 0; }));
  EXPECT_EQ(fleet.state("a"), "healthy");
}

TEST(Failure, ANodeThatStopsIsLeftAndTakenAgain) {
  TestFleet fleet(equal_nodes(2, {chat_model()}));
  fleet.nodes().kill("b");
  for (int i = 0; i < 20; ++i) EXPECT_EQ(fleet.ask("POST", "/api/generate", whole).status, 200);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("b") == "down"; }));
  fleet.nodes().restart("b");
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("b") == "healthy"; }));
}

TEST(Failure, AStartingNodeIsToldFromADeadOne) {
  sim::FleetConfig config = equal_nodes(2, {chat_model()});
  config.nodes[1].faults = {{.kind = FaultKind::starting, .scope = sim::FaultScope::all}};
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.probe.timeout = 200ms;
    options.health.dead_after = 200ms;
  });
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("b") == "starting"; })) << fleet.state("b");
  fleet.nodes().set_fault("b", {});
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("b") == "healthy"; }));
}

TEST(Failure, ASlowListOfLoadedModelsEjectsNobody) {
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.nodes[0].faults = {
      {.kind = FaultKind::slow_ps, .delay = 100s, .scope = sim::FaultScope::all}};
  TestFleet fleet(std::move(config),
                  [](gateway::Options& options) { options.probe.ps_timeout = 200ms; });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(fleet.ask("POST", "/api/generate", whole).status, 200);
  EXPECT_EQ(fleet.state("a"), "healthy");
}

TEST(Failure, ALyingNodeIsEjectedThoughItsProbesAreGood) {
  TestFleet fleet(equal_nodes(3, {chat_model()}),
                  [](gateway::Options& options) { options.policy = routing::Policy::round_robin; });
  fleet.nodes().set_fault("b", {.kind = FaultKind::empty});
  for (int i = 0; i < 60; ++i) EXPECT_EQ(fleet.ask("POST", "/api/generate", whole).status, 200);
  EXPECT_NE(fleet.state("b"), "healthy");
  EXPECT_LE(fleet.nodes().counters("b").of("POST /api/generate"), 5u);
}

TEST(Failure, ASleepingMachineHoldsNoRequest) {
  TestFleet fleet(equal_nodes(2, {chat_model()}), [](gateway::Options& options) {
    options.nodes[1].tier = 1;
    options.probe.timeout = 300ms;
    options.health.suspect_after = 100ms;
    options.health.dead_after = 300ms;
  });
  // From now on node a takes requests and says nothing more, as a machine that froze.
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .scope = sim::FaultScope::all});
  const Answer answer = fleet.ask("POST", "/api/generate", whole);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
}

/// A pull goes to every node: one that freezes in the meantime fails its part, and no more.
TEST(Failure, ANodeThatFreezesDoesNotHoldAChangeOfAllNodes) {
  TestFleet fleet(equal_nodes(2, {chat_model()}), [](gateway::Options& options) {
    options.probe.timeout = 300ms;
    options.health.suspect_after = 100ms;
    options.health.dead_after = 300ms;
  });
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .scope = sim::FaultScope::all});
  const Answer pull = fleet.ask("POST", "/api/pull", R"({"model":"new"})");
  EXPECT_EQ(pull.status, 200);
  EXPECT_TRUE(last_record(pull.body).contains("error")) << pull.body;
  EXPECT_TRUE(pull.body.contains("a: no longer answers")) << pull.body;
  const Answer blob = fleet.ask("HEAD", "/api/blobs/sha256:" + std::string(64, 'a'));
  EXPECT_NE(blob.status, 0);
}

/// What another program says at a node's address is no node's word about a pull or a blob.
TEST(Failure, APageOfAnotherProgramIsNotPassedOnAsANodesError) {
  TestFleet fleet(equal_nodes(2, {chat_model()}),
                  [](gateway::Options& options) { options.probe.interval = 1h; });
  fleet.nodes().set_fault("a", {.kind = FaultKind::foreign, .scope = sim::FaultScope::all});
  const Answer pull = fleet.ask("POST", "/api/pull", R"({"model":"new","stream":false})");
  EXPECT_EQ(pull.status, 500) << pull.body;
  EXPECT_FALSE(pull.body.contains("html>")) << pull.body;
  const Answer blob = fleet.ask("POST", "/api/blobs/sha256:" + std::string(64, 'a'), "x");
  EXPECT_TRUE(blob.body.starts_with("{\"error\":")) << blob.body;
}

TEST(Failure, ChangesWithoutAnyNodeSayWhenToComeBack) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  fleet.nodes().kill("a");
  ASSERT_TRUE(fleet.eventually([&] { return fleet.state("a") == "down"; }));
  for (const char* path : {"/api/pull", "/api/create", "/api/copy"}) {
    const Answer answer = fleet.ask("POST", path, R"({"model":"new","from":"llama3.2"})");
    EXPECT_EQ(answer.status, 503) << path;
    EXPECT_NE(answer.field("retry-after"), "") << path;
  }
}

}  // namespace
}  // namespace sollol::test

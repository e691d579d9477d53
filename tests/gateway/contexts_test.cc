// Contexts: pinned by the operator, and loads that undo each other.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "harness.h"

namespace sollol::test {
namespace {

std::string with_options(const std::string& options) {
  return R"({"model":"llama3.2", "prompt":"Hi","stream":false)" +
         (options.empty() ? options : R"(,"options":)" + options) + "}";
}
std::string with_context(unsigned num_ctx) {
  return with_options(R"({"num_ctx":)" + std::to_string(num_ctx) + "}");
}

/// Bodies of the requests that the node got from clients, in their order.
std::vector<std::string> seen(TestFleet& fleet, std::string_view path = "/api/generate") {
  std::vector<std::string> bodies;
  for (const sim::SeenRequest& request : fleet.nodes().requests("a")) {
    if (request.path == path && !request.head.contains("(preload)")) bodies.push_back(request.body);
  }
  return bodies;
}

bool has_metric(TestFleet& fleet, const std::string& line) {
  return fleet.ask("GET", "/metrics").body.contains("\n" + line + "\n");
}

boost::json::array thrashing(TestFleet& fleet) {
  return boost::json::parse(fleet.ask("GET", "/sollol/v1/status").body)
      .as_object()
      .at("thrashing")
      .as_array();
}

TestFleet::Change pinned(std::string models) {
  return [models](gateway::Options& options) { options.context_pins = {{models, 8192}}; };
}

TEST(PinnedContext, IsWhatTheNodeGetsWhateverClientsAsk) {
  TestFleet fleet(equal_nodes(1, {chat_model()}), pinned("llama3*"));
  const auto header = [&](const std::string& body) {
    const Answer answer = fleet.ask("POST", "/api/generate", body);
    EXPECT_EQ(answer.status, 200) << answer.body;
    return answer.field("x-sollol-num-ctx");
  };
  EXPECT_EQ(header(with_options("")), "8192");
  EXPECT_EQ(header(with_context(2048)), "8192");
  EXPECT_EQ(header(with_context(131072)), "8192");
  EXPECT_EQ(header(with_context(8192)), "");
  EXPECT_EQ(seen(fleet),
            (std::vector<std::string>{
                R"({"options":{"num_ctx":8192},"model":"llama3.2", "prompt":"Hi","stream":false})",
                with_context(8192), with_context(8192), with_context(8192)}));
  EXPECT_EQ(fleet.nodes().counters("a").model.loads, 1u);
  EXPECT_TRUE(fleet.eventually(
      [&] { return has_metric(fleet, R"(sollol_contexts_pinned_total{asked="more"} 1)"); }));
  EXPECT_TRUE(fleet.eventually(
      [&] { return has_metric(fleet, R"(sollol_contexts_pinned_total{asked="less"} 2)"); }));
}

TEST(PinnedContext, LeavesOtherModelsAndApisAsTheyAre) {
  TestFleet fleet(equal_nodes(1, {chat_model(), chat_model("qwen3")}), pinned("qwen*"));
  const Answer other = fleet.ask("POST", "/api/generate", with_context(2048));
  EXPECT_EQ(other.status, 200);
  EXPECT_EQ(other.field("x-sollol-num-ctx"), "");
  EXPECT_EQ(seen(fleet), std::vector<std::string>{with_context(2048)});
  const std::string chat = R"({"model":"qwen3","messages":[{"role":"user","content":"Hi"}]})";
  const Answer openai = fleet.ask("POST", "/v1/chat/completions", chat);
  EXPECT_EQ(openai.status, 200);
  EXPECT_EQ(openai.field("x-sollol-num-ctx"), "");
  EXPECT_EQ(seen(fleet, "/v1/chat/completions"), std::vector<std::string>{chat});
}

TEST(PinnedContext, LeavesOptionsThatAreNoneToTheNodesOwnError) {
  TestFleet fleet(equal_nodes(1, {chat_model()}), pinned("*"));
  const std::string body = with_options("[1]");
  const Answer direct = ask(fleet.node_port("a"), "POST", "/api/generate", body);
  const Answer answer = fleet.ask("POST", "/api/generate", body);
  EXPECT_GE(answer.status, 400);
  EXPECT_EQ(answer.status, direct.status);
  EXPECT_EQ(answer.body, direct.body);
}

TestFleet::Change told_after(std::uint32_t loads) {
  return [loads](gateway::Options& options) { options.load.thrash.loads_max = loads; };
}

TEST(Thrashing, SaysWhoCausesItWhereThereIsOneNode) {
  TestFleet fleet(equal_nodes(1, {chat_model()}), told_after(3));
  for (int i = 0; i < 4; ++i) fleet.ask("POST", "/api/generate", with_context(i % 2 ? 4096 : 8192));
  EXPECT_EQ(thrashing(fleet).size(), 0u);
  for (int i = 0; i < 2; ++i) fleet.ask("POST", "/api/generate", with_context(i % 2 ? 4096 : 8192));
  const boost::json::array found = thrashing(fleet);
  ASSERT_EQ(found.size(), 1u);
  const boost::json::object& one = found[0].as_object();
  EXPECT_EQ(one.at("node"), "a");
  EXPECT_EQ(one.at("loads"), 5);
  const boost::json::array& clients = one.at("clients").as_array();
  ASSERT_EQ(clients.size(), 2u);
  EXPECT_EQ(clients[0].at("client"), "127.0.0.1");
  EXPECT_EQ(clients[0].at("num_ctx"), 8192);
  EXPECT_EQ(clients[1].at("num_ctx"), 4096);
  EXPECT_TRUE(std::string(one.at("text").as_string()).contains(R"(pin_num_ctx = ["llama3.2)"))
      << one.at("text");
  EXPECT_TRUE(fleet.eventually([&] { return has_metric(fleet, "sollol_reloads_total 5"); }));
  EXPECT_TRUE(fleet.eventually([&] { return has_metric(fleet, "sollol_thrashing 1"); }));
}

TEST(Thrashing, EndsWhereAnotherNodeTakesOneOfTheContexts) {
  TestFleet fleet(equal_nodes(2, {chat_model()}), told_after(1));
  for (int i = 0; i < 4; ++i) {
    fleet.ask("POST", "/api/generate", with_context(i % 2 ? 4096 : 8192), "X-Sollol-Node: a\r\n");
  }
  EXPECT_TRUE(fleet.eventually([&] { return has_metric(fleet, "sollol_reloads_total 3"); }));
  EXPECT_EQ(thrashing(fleet).size(), 0u);
}

TEST(Thrashing, SaysWhichModelsPushEachOtherOut) {
  sim::FleetConfig config = equal_nodes(1, {chat_model(), chat_model("qwen3")});
  config.nodes[0].max_loaded = 1;
  TestFleet fleet(std::move(config), told_after(1));
  const auto is_loaded = [&](std::string_view name) {
    for (const boost::json::value& model : fleet.node("a").at("models").as_array()) {
      if (model.at("name").as_string().starts_with(name)) return model.at("loaded").as_bool();
    }
    return false;
  };
  for (int i = 0; i < 4; ++i) {
    const std::string model = i % 2 ? "qwen3" : "llama3.2", other = i % 2 ? "llama3.2" : "qwen3";
    ASSERT_EQ(fleet
                  .ask("POST", "/api/generate",
                       R"({"model":")" + model + R"(","prompt":"Hi","stream":false})")
                  .status,
              200);
    ASSERT_TRUE(fleet.eventually([&] { return !is_loaded(other); }));
  }
  const boost::json::array found = thrashing(fleet);
  ASSERT_EQ(found.size(), 1u);
  const std::string text(found[0].at("text").as_string());
  EXPECT_TRUE(text.contains("llama3.2") && text.contains("qwen3")) << text;
}

}  // namespace
}  // namespace sollol::test

// Which models are in the memory of which nodes, over sockets.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "gateway/residency.h"
#include "harness.h"

namespace sollol::test {
namespace {

using Mode = gateway::ResidencyOptions::Mode;
namespace json = boost::json;

/// Nodes that take a while to load a model, and a gateway that looks at them often.
struct Placing {
  Mode mode = Mode::advised;
  bool auto_pull = false;
  Duration pause = 10min;
};
TestFleet::Change placing(Placing how) {
  return [how](gateway::Options& options) {
    options.residency.mode = how.mode;
    options.residency.auto_pull = how.auto_pull;
    options.residency.limits.pause = how.pause;
    options.residency.interval = 50ms;
    options.probe.ps_interval = 50ms;
  };
}

json::object models(TestFleet& fleet) {
  return json::parse(fleet.ask("GET", "/sollol/v1/models").body).as_object();
}
json::object model(TestFleet& fleet, std::string_view name) {
  const json::object all = models(fleet);
  for (const json::value& value : all.at("models").as_array()) {
    if (value.as_object().at("name").as_string().starts_with(name)) return value.as_object();
  }
  return {};
}
std::int64_t count(const json::object& model, std::string_view field) {
  return model.empty() ? -1 : model.at(field).to_number<std::int64_t>();
}
Answer warm(TestFleet& fleet, std::string_view name, int replicas) {
  return fleet.ask(
      "POST", "/sollol/v1/models/warm",
      R"({"model":")" + std::string(name) + R"(","replicas":)" + std::to_string(replicas) + "}");
}
std::uint64_t loads(TestFleet& fleet, unsigned nodes) {
  std::uint64_t sum = 0;
  for (unsigned i = 0; i < nodes; ++i)
    sum += fleet.nodes().counters(std::string(1, static_cast<char>('a' + i))).model.loads;
  return sum;
}
std::string generate(std::string_view more = {}) {
  return R"({"model":"llama3.2","prompt":"hello","stream":false,"options":{"num_predict":4})" +
         std::string(more) + "}";
}

class Warm : public testing::TestWithParam<Mode> {};

TEST_P(Warm, LoadsOnAsManyNodesAsWished) {
  TestFleet fleet(slow_loaders(3, 300ms), placing({GetParam()}));
  const Answer answer = warm(fleet, "llama3.2", 2);
  ASSERT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(json::parse(answer.body).as_object().at("model").as_string().starts_with("llama3.2"));
  EXPECT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 2; }));
  EXPECT_EQ(loads(fleet, 3), 2u);
  EXPECT_FALSE(model(fleet, "llama3.2").at("asked").as_bool());
  EXPECT_EQ(count(model(fleet, "llama3.2"), "wish"), 2);
  // The next request finds it warm.
  const Answer served = fleet.ask("POST", "/api/generate", generate());
  EXPECT_EQ(served.status, 200);
  EXPECT_EQ(loads(fleet, 3), 2u);
  const std::string metrics = fleet.ask("GET", "/metrics").body;
  EXPECT_TRUE(metrics.contains(R"(sollol_model_steps_total{cause="wish",step="load"} 2)"))
      << metrics;
}

INSTANTIATE_TEST_SUITE_P(Modes, Warm, testing::Values(Mode::off, Mode::advised, Mode::automatic),
                         [](const auto& row) { return std::string(gateway::name(row.param)); });

TEST(Residency, EmbeddingModelsAreWarmedAsSuch) {
  TestFleet fleet(slow_loaders(1, 300ms), placing({}));
  ASSERT_EQ(warm(fleet, "nomic-embed-text", 1).status, 200);
  EXPECT_TRUE(
      fleet.eventually([&] { return count(model(fleet, "nomic-embed-text"), "resident") == 1; }));
}

TEST(Residency, RefusesWhatCannotBe) {
  TestFleet fleet(slow_loaders(2, 300ms), placing({}));
  const Answer unknown = warm(fleet, "nowhere", 1);
  EXPECT_EQ(unknown.status, 404);
  EXPECT_TRUE(unknown.body.contains("auto_pull")) << unknown.body;
  const Answer many = warm(fleet, "llama3.2", 3);
  EXPECT_EQ(many.status, 409);
  EXPECT_TRUE(many.body.contains("more than the nodes that have llama3.2: a, b")) << many.body;
  for (const std::string_view bad :
       {"", "[]", R"({"replicas":1})", R"({"model":"llama3.2"})", R"({"model":"","replicas":1})",
        R"({"model":"llama3.2","replicas":-1})", R"({"model":"llama3.2","replicas":"2"})"}) {
    EXPECT_EQ(fleet.ask("POST", "/sollol/v1/models/warm", bad).status, 400) << bad;
  }
  EXPECT_EQ(fleet.ask("GET", "/sollol/v1/models/warm").status, 405);
}

TEST(Residency, WishIsKeptOnlyWhereThatIsAutomatic) {
  for (const Mode mode : {Mode::advised, Mode::automatic}) {
    TestFleet fleet(slow_loaders(2, 20ms), placing({mode, false, 50ms}));
    ASSERT_EQ(warm(fleet, "llama3.2", 1).status, 200);
    ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 1; }));
    ASSERT_TRUE(fleet.eventually([&] { return !model(fleet, "llama3.2").at("asked").as_bool(); }));
    const Answer unloaded =
        fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","keep_alive":0})");
    ASSERT_EQ(unloaded.status, 200);
    if (mode == Mode::automatic) {
      EXPECT_TRUE(fleet.eventually([&] { return loads(fleet, 2) >= 2; }));
    } else {
      // It is only told.
      EXPECT_TRUE(fleet.eventually([&] {
        const json::object now = models(fleet);
        const json::array& steps = now.at("steps").as_array();
        return steps.size() == 1 && steps[0].at("state").as_string() == "advised";
      }));
      EXPECT_EQ(loads(fleet, 2), 1u);
    }
  }
}

TEST(Residency, WithdrawnWishIsForgotten) {
  TestFleet fleet(slow_loaders(1, 20ms), placing({}));
  ASSERT_EQ(warm(fleet, "llama3.2", 1).status, 200);
  ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 1; }));
  ASSERT_EQ(warm(fleet, "llama3.2", 0).status, 200);
  EXPECT_EQ(count(model(fleet, "llama3.2"), "wish"), 0);
}

TEST(Residency, RequestsJoinThePlannedLoad) {
  TestFleet fleet(slow_loaders(1, 500ms), placing({}));
  ASSERT_EQ(warm(fleet, "llama3.2", 1).status, 200);
  ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "loading") == 1; }));
  EXPECT_EQ(fleet.ask("POST", "/api/generate", generate(R"(,"keep_alive":"1h")")).status, 200);
  EXPECT_LE(loads(fleet, 1), 2u);  // its options are others than none
}

TEST(Residency, LoadsWithTheOptionsThatWereLastAskedFor) {
  TestFleet fleet(slow_loaders(2, 20ms), placing({}));
  const std::string body =
      R"({"model":"llama3.2","prompt":"hello","stream":false,"options":{"num_ctx":8192,"num_predict":4}})";
  const Answer first = fleet.ask("POST", "/api/generate", body);
  ASSERT_EQ(first.status, 200);
  ASSERT_EQ(warm(fleet, "llama3.2", 2).status, 200);
  ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 2; }));
  for (const std::string_view node : {"a", "b"}) {
    const Answer served =
        fleet.ask("POST", "/api/generate", body, "X-Sollol-Node: " + std::string(node) + "\r\n");
    EXPECT_EQ(served.status, 200);
    EXPECT_EQ(fleet.nodes().counters(std::string(node)).model.loads, 1u) << node;
  }
}

TEST(Residency, AnotherNodeTakesOverWhenALoadFails) {
  sim::FleetConfig config = slow_loaders(2, 300ms);
  TestFleet fleet(std::move(config), placing({}));
  ASSERT_EQ(warm(fleet, "llama3.2", 1).status, 200);
  std::string at;
  ASSERT_TRUE(fleet.eventually([&] {
    const json::object now = models(fleet);
    for (const json::value& step : now.at("steps").as_array()) {
      if (step.at("state").as_string() == "under way") at = step.at("node").as_string();
    }
    return !at.empty();
  }));
  fleet.nodes().kill(at);
  EXPECT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 1; }));
  EXPECT_EQ(fleet.nodes().counters(at == "a" ? "b" : "a").model.loads, 1u);
}

TEST(Residency, HotModelIsLoadedWhereItsNodeDied) {
  TestFleet fleet(slow_loaders(2, 20ms), [](gateway::Options& options) {
    placing({Mode::automatic})(options);
    options.residency.limits.hot_per_hour = 1;
  });
  const Answer first = fleet.ask("POST", "/api/generate", generate());
  ASSERT_EQ(first.status, 200);
  const std::string at(first.field("x-sollol-node"));
  const std::string other = at == "a" ? "b" : "a";
  ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "need") == 1; }));
  EXPECT_EQ(fleet.nodes().counters(other).model.loads, 0u);
  fleet.nodes().kill(at);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.nodes().counters(other).model.loads == 1; }));
}

TEST(Residency, GrowingDemandLoadsItAtOneMoreNodeOrSaysSo) {
  for (const Mode mode : {Mode::automatic, Mode::advised, Mode::off}) {
    sim::FleetConfig config = slow_loaders(2, 20ms);
    TestFleet fleet(std::move(config), [mode](gateway::Options& options) {
      placing({mode})(options);
      options.residency.limits.utilisation = 0.0001;  // any request is too much for one node
      options.residency.limits.hot_per_hour = 1;
      options.policy = routing::Policy::priority;  // requests themselves do not spread
    });
    ASSERT_EQ(fleet.ask("POST", "/api/generate", generate()).status, 200);
    ASSERT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "need") == 2; }));
    if (mode == Mode::automatic) {
      EXPECT_TRUE(
          fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 2; }));
    } else {
      EXPECT_EQ(models(fleet).at("steps").as_array().size(), mode == Mode::advised ? 1u : 0u);
      EXPECT_EQ(loads(fleet, 2), 1u);
    }
  }
}

TEST(Residency, HotModelIsKeptBeyondItsTime) {
  sim::FleetConfig config = slow_loaders(1, 20ms);
  for (sim::NodeSpec& node : config.nodes) node.keep_alive = 1s;
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    placing({Mode::automatic})(options);
    options.residency.limits.hot_per_hour = 1;
  });
  ASSERT_EQ(fleet.ask("POST", "/api/generate", generate()).status, 200);
  const auto kept = [&] {
    const std::string metrics = fleet.ask("GET", "/metrics").body;
    const std::string_view line = R"(sollol_model_steps_total{cause="demand",step="keep"} )";
    return std::stoi(metrics.substr(metrics.find(line) + line.size()));
  };
  // So often that its second has passed several times.
  ASSERT_TRUE(fleet.eventually([&] { return kept() > 40; }));
  EXPECT_EQ(loads(fleet, 1), 1u);
}

TEST(Residency, PullsWhereThatIsAllowed) {
  sim::FleetConfig config = slow_loaders(2, 20ms);
  config.nodes[1].pull_bytes_per_s = 1e12;
  std::erase_if(config.nodes[1].models,
                [](const sim::ModelSpec& spec) { return spec.name == "llama3.2"; });
  {
    TestFleet fleet(config, placing({}));
    EXPECT_EQ(warm(fleet, "llama3.2", 2).status, 409);
  }
  TestFleet fleet(config, placing({Mode::advised, true}));
  ASSERT_EQ(warm(fleet, "llama3.2", 2).status, 200);
  EXPECT_TRUE(fleet.eventually([&] { return count(model(fleet, "llama3.2"), "resident") == 2; }));
  const auto pulls =
      std::ranges::count_if(fleet.nodes().requests("b"),
                            [](const sim::SeenRequest& seen) { return seen.path == "/api/pull"; });
  EXPECT_EQ(pulls, 1);
}

}  // namespace
}  // namespace sollol::test

// Which simulated nodes slow each other, as the gateway finds out by asking them.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <sstream>

#include "gateway/state_file.h"
#include "harness.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

constexpr std::string_view route = "/sollol/v1/locality/measure";

sim::NodeSpec on(std::string name, std::string host, std::string device, double rate) {
  auto model = chat_model();
  model.decode_tokens_per_s = rate;
  return {.name = std::move(name),
          .models = {model},
          .host = std::move(host),
          .device = std::move(device),
          .host_slowdown = 0.15};
}

/// a and b share a device, c has another of that machine, d is elsewhere.
sim::FleetConfig mixed() {
  return {.nodes = {on("a", "desktop", "left", 250), on("b", "desktop", "left", 180),
                    on("c", "desktop", "right", 300), on("d", "laptop", "only", 200)},
          .time_scale = 4};
}

void quick(gateway::Options& options) { options.locality.work = 200ms; }

void load(const sim::Fleet& nodes, TestFleet& fleet, const std::string& name) {
  ASSERT_TRUE(nodes.names().size() > 0);
  const Answer answer = ask(fleet.node_port(name), "POST", "/api/generate",
                            R"({"model":"llama3.2","prompt":"x","stream":false,)"
                            R"("options":{"num_predict":1}})");
  ASSERT_EQ(answer.status, 200) << answer.body;
}

void load_all(TestFleet& fleet) {
  for (const std::string& name : fleet.nodes().names()) load(fleet.nodes(), fleet, name);
}

std::string relation(const json::object& report, std::string_view a, std::string_view b) {
  for (const json::value& pair : report.at("pairs").as_array()) {
    if (pair.at("a").as_string() == json::string_view(a) &&
        pair.at("b").as_string() == json::string_view(b))
      return std::string(pair.at("relation").as_string());
  }
  return "absent";
}

std::size_t generated(TestFleet& fleet) {
  std::size_t all = 0;
  for (const std::string& name : fleet.nodes().names())
    all += fleet.nodes().counters(name).of("POST /api/generate");
  return all;
}

TEST(Measuring, TellsDeviceMachineAndNeitherApart) {
  TestFleet fleet(mixed(), quick);
  load_all(fleet);
  const std::size_t before = generated(fleet);
  const Answer answer = fleet.ask("POST", route);
  ASSERT_EQ(answer.status, 200) << answer.body;
  const json::object report = last_record(answer.body);
  EXPECT_EQ(report.at("ended").as_string(), "") << answer.body;
  EXPECT_EQ(relation(report, "a", "b"), "same_device") << answer.body;
  EXPECT_EQ(relation(report, "a", "c"), "same_host") << answer.body;
  EXPECT_EQ(relation(report, "b", "c"), "same_host") << answer.body;
  EXPECT_EQ(relation(report, "a", "d"), "independent") << answer.body;
  EXPECT_EQ(relation(report, "c", "d"), "independent") << answer.body;
  EXPECT_EQ(generated(fleet) - before, report.at("requests").to_number<std::size_t>());
  for (const std::string& name : fleet.nodes().names())
    EXPECT_EQ(fleet.nodes().counters(name).model.loads, 1u) << "of " << name;

  const json::value found = json::parse(fleet.ask("GET", "/sollol/v1/locality").body);
  EXPECT_EQ(found.at("width").to_number<int>(), 3) << json::serialize(found);
  EXPECT_EQ(found.at("measured").as_array().size(), 6u);
  EXPECT_TRUE(std::string(found.at("text").as_string()).contains("measured")) << found;
  EXPECT_EQ(json::parse(fleet.ask("GET", route).body).at("done"), true);
}

TEST(Measuring, IsRefusedWhileRequestsAreUnderWay) {
  sim::FleetConfig config = mixed();
  config.nodes[3].faults = {{.kind = sim::FaultKind::stall}};
  TestFleet fleet(std::move(config), quick);
  RawClient held(fleet.port());
  held.send(request_text("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x"})",
                         "X-Sollol-Node: d\r\n"));
  ASSERT_TRUE(fleet.nodes().wait_until(
      [&] { return fleet.nodes().counters("d").of("POST /api/generate") == 1; }));
  const Answer refused = fleet.ask("POST", route);
  EXPECT_EQ(refused.status, 409);
  EXPECT_TRUE(refused.body.contains("at rest")) << refused.body;
  EXPECT_EQ(generated(fleet), 1u);
}

TEST(Measuring, EndsWhenTrafficComesAndKeepsWhatItKnows) {
  TestFleet fleet(mixed(), [](gateway::Options& options) { options.locality.work = 1s; });
  load_all(fleet);
  RawClient measuring(fleet.port());
  measuring.send(request_text("POST", route));
  const std::size_t loads = 4;
  ASSERT_TRUE(fleet.nodes().wait_until([&] { return generated(fleet) > loads + 2; }));
  EXPECT_EQ(
      fleet.ask("POST", "/api/generate", R"({"model":"llama3.2","prompt":"x","stream":false})")
          .status,
      200);
  const json::object report = last_record(measuring.receive().body);
  EXPECT_TRUE(std::string(report.at("ended").as_string()).contains("requests are at the nodes"))
      << report;
  EXPECT_EQ(report.at("pairs").as_array().size(), 6u);
}

TEST(Measuring, NeverLoadsAModelUnlessToldTo) {
  TestFleet fleet(mixed(), quick);
  load(fleet.nodes(), fleet, "a");
  load(fleet.nodes(), fleet, "b");
  const json::object report = last_record(fleet.ask("POST", route).body);
  EXPECT_EQ(relation(report, "a", "b"), "same_device") << report;
  EXPECT_EQ(relation(report, "a", "c"), "unknown") << report;
  EXPECT_EQ(fleet.nodes().counters("c").model.loads, 0u);
  EXPECT_TRUE(json::serialize(report).contains("--load")) << report;
  const json::object loaded = last_record(fleet.ask("POST", route, R"({"load":true})").body);
  EXPECT_EQ(relation(loaded, "a", "c"), "same_host") << loaded;
  EXPECT_EQ(fleet.nodes().counters("c").model.loads, 1u);
}

TEST(Measuring, ANodeThatFailsIsLeftOutAndTheOthersAreTold) {
  TestFleet fleet(mixed(), quick);
  load_all(fleet);
  fleet.nodes().set_fault("c", {.kind = sim::FaultKind::garbage});
  fleet.nodes().set_fault("d", {.kind = sim::FaultKind::error, .status = 500});
  const json::object report = last_record(fleet.ask("POST", route).body);
  EXPECT_EQ(relation(report, "a", "b"), "same_device") << report;
  EXPECT_EQ(relation(report, "a", "c"), "unknown") << report;
  EXPECT_EQ(relation(report, "a", "d"), "unknown") << report;
  EXPECT_EQ(report.at("ended").as_string(), "");
}

TEST(Measuring, StaysWithinItsRequests) {
  TestFleet fleet(mixed(), quick);
  load_all(fleet);
  const std::size_t before = generated(fleet);
  const json::object report = last_record(fleet.ask("POST", route, R"({"requests":7})").body);
  EXPECT_LE(generated(fleet) - before, 7u);
  EXPECT_TRUE(std::string(report.at("ended").as_string()).contains("used up")) << report;
  EXPECT_EQ(fleet.ask("POST", route, R"({"requests":0})").status, 400);
  EXPECT_EQ(fleet.ask("POST", route, R"({"model":7})").status, 400);
  EXPECT_EQ(fleet.ask("DELETE", route).status, 405);
}

/// A request to that node through the gateway, begun now.
std::unique_ptr<RawClient> begin(TestFleet& fleet, const std::string& node) {
  auto client = std::make_unique<RawClient>(fleet.port());
  client->send(request_text(
      "POST", "/api/generate",
      R"({"model":"llama3.2","prompt":"Count.","options":{"num_predict":40,"num_ctx":4096}})",
      "X-Sollol-Node: " + node + "\r\n"));
  return client;
}

/// So many requests at each of two nodes, alone and at the same time.
void serve(TestFleet& fleet, const std::string& a, const std::string& b, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    EXPECT_EQ(begin(fleet, a)->receive().status, 200);
    EXPECT_EQ(begin(fleet, b)->receive().status, 200);
    const auto one = begin(fleet, a), other = begin(fleet, b);
    EXPECT_EQ(one->receive().status, 200);
    EXPECT_EQ(other->receive().status, 200);
  }
}

std::string found(TestFleet& fleet, std::string_view a, std::string_view b) {
  const json::value locality = json::parse(fleet.ask("GET", "/sollol/v1/locality").body);
  for (const json::value& each : locality.at("measured").as_array()) {
    const auto& one = each.at("a").as_string();
    const auto& other = each.at("b").as_string();
    const bool both = (one == json::string_view(a) && other == json::string_view(b)) ||
                      (one == json::string_view(b) && other == json::string_view(a));
    if (both && each.at("source").as_string() == "traffic")
      return std::string(each.at("relation").as_string());
  }
  return "unknown";
}

/// Equal rates, so that two requests of one length begin and end together.
sim::FleetConfig pairs_for_traffic() {
  return {.nodes = {on("a", "desktop", "left", 200), on("b", "desktop", "left", 200),
                    on("c", "desktop", "right", 200), on("d", "laptop", "only", 200)},
          .time_scale = 2};
}

bool watched(TestFleet& fleet) {
  const std::string metrics = fleet.ask("GET", "/metrics").body;
  return metrics.contains("sollol_contention_watched_nodes 4");
}

struct TrafficCase {
  const char* name;
  const char *a, *b;
  const char* want;
};
class NormalTraffic : public testing::TestWithParam<TrafficCase> {};

TEST_P(NormalTraffic, ShowsWhatNodesShareWithoutARequestMore) {
  const auto& row = GetParam();
  TestFleet fleet(pairs_for_traffic());
  ASSERT_TRUE(fleet.eventually([&] { return watched(fleet); }));
  int rounds = 0;
  for (int turn = 0; turn < 4 && found(fleet, row.a, row.b) == "unknown"; ++turn) {
    serve(fleet, row.a, row.b, 14);
    rounds += 14;
    fleet.eventually([&] { return found(fleet, row.a, row.b) != "unknown"; });
  }
  EXPECT_EQ(found(fleet, row.a, row.b), row.want) << rounds << " rounds";
  EXPECT_LE(generated(fleet), static_cast<std::size_t>(4 * rounds + 2));  // two cold loads
}

INSTANTIATE_TEST_SUITE_P(Table, NormalTraffic,
                         testing::Values(TrafficCase{"one_device", "a", "b", "same_device"},
                                         TrafficCase{"one_machine", "a", "c", "same_host"},
                                         TrafficCase{"neither", "a", "d", "independent"}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(NormalTraffic, IsNotJudgedWhenThatIsTurnedOff) {
  TestFleet fleet(pairs_for_traffic(),
                  [](gateway::Options& options) { options.locality.passive = false; });
  serve(fleet, "a", "b", 12);
  EXPECT_EQ(found(fleet, "a", "b"), "unknown");
  EXPECT_FALSE(watched(fleet));
}

TEST(Measuring, WhatWasFoundOutlivesTheGatewayAndNotTheNode) {
  const std::string file = testing::TempDir() + "measured-" + std::to_string(::getpid()) + ".json";
  const auto keep = [&](gateway::Options& options) {
    quick(options);
    options.state.file = file;
  };
  sim::FleetConfig config = mixed();
  config.nodes.resize(2);
  std::vector<std::string> urls;
  {
    TestFleet fleet(config, keep);
    load_all(fleet);
    ASSERT_EQ(relation(last_record(fleet.ask("POST", route).body), "a", "b"), "same_device");
    for (const auto& url : fleet.nodes().urls()) urls.push_back(url.substr(url.find("//") + 2));
    fleet.gateway().save_state();
  }
  const auto measured = [](TestFleet& fleet) {
    const json::value found = json::parse(fleet.ask("GET", "/sollol/v1/locality").body);
    return found.at("measured").as_array().size();
  };
  for (std::size_t i = 0; i < 2; ++i) config.nodes[i].address = urls[i];
  {
    TestFleet again(config, keep);
    EXPECT_EQ(measured(again), 1u);
  }
  {
    TestFleet later(config, [&](gateway::Options& options) {
      keep(options);
      options.locality.remember = 1ns;
      options.state.file.clear();
    });
    EXPECT_EQ(measured(later), 0u);
  }
  config.nodes[1].version = "0.99.0";
  TestFleet another(config, keep);
  EXPECT_EQ(measured(another), 0u);
  std::remove(file.c_str());
}

}  // namespace
}  // namespace sollol::test

// Backpressure: limits per node and model, the queue, its order and its end.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "harness.h"

namespace sollol::test {
namespace {

std::string numbered(int i, int tokens = 10) {
  return R"({"model":"llama3.2","prompt":"number )" + std::to_string(i) +
         R"(","stream":false,"options":{"num_predict":)" + std::to_string(tokens) + "}}";
}

/// One node with one slot, slow enough that requests pile up.
sim::FleetConfig one_slow_node() {
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.time_scale = 1;
  config.nodes[0].models[0].decode_tokens_per_s = 100;
  config.nodes[0].models[0].load_time = 1ms;
  return config;
}

/// The fault that holds the slot is to meet a request, not the load before it.
void one_slot(gateway::Options& options) {
  options.nodes[0].slots = 1;
  options.load.owner = gateway::LoadOptions::Owner::request;
}

std::unique_ptr<RawClient> begin(TestFleet& fleet, int i, std::string_view fields = {}) {
  auto client = std::make_unique<RawClient>(fleet.port());
  client->send(request_text("POST", "/api/generate", numbered(i), fields));
  return client;
}

std::int64_t queued(TestFleet& fleet) {
  return boost::json::parse(fleet.ask("GET", "/sollol/v1/status").body)
      .at("queued")
      .to_number<std::int64_t>();
}

TEST(Limits, ANodeNeverGetsMoreThanItsLimit) {
  TestFleet fleet(one_slow_node(), [](gateway::Options& options) { options.nodes[0].slots = 2; });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 8; ++i) clients.push_back(begin(fleet, i));
  for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
  EXPECT_EQ(fleet.nodes().counters("a").max_in_flight, 2u);
  EXPECT_EQ(queued(fleet), 0);
}

TEST(Limits, AFullQueueIsA503ThatSaysWhenToComeAgain) {
  TestFleet fleet(one_slow_node(), [](gateway::Options& options) {
    options.nodes[0].slots = 1;
    options.queue.waiting_max = 2;
  });
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(begin(fleet, i));
    ASSERT_TRUE(fleet.eventually([&] { return queued(fleet) >= std::min(i, 2); }));
  }
  ASSERT_TRUE(fleet.eventually([&] { return queued(fleet) == 2; }));
  const Answer refused = fleet.ask("POST", "/api/generate", numbered(9));
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.field("retry-after"), "");
  EXPECT_TRUE(refused.body.contains("queue")) << refused.body;
  for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
}

TEST(Limits, WaitingTooLongIsA503) {
  sim::FleetConfig config = one_slow_node();
  config.nodes[0].faults = {{.kind = sim::FaultKind::stall, .count = 1}};
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.nodes[0].slots = 1;
    options.queue.wait_max = 100ms;
  });
  const auto holder = begin(fleet, 0);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 1; }));
  const Answer refused = fleet.ask("POST", "/api/generate", numbered(1));
  EXPECT_EQ(refused.status, 503);
  EXPECT_EQ(queued(fleet), 0);
}

TEST(Limits, AQueuedClientThatLeavesFreesItsPlace) {
  sim::FleetConfig config = one_slow_node();
  config.nodes[0].faults = {{.kind = sim::FaultKind::stall, .count = 1}};
  TestFleet fleet(std::move(config), one_slot);
  auto holder = begin(fleet, 0);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 1; }));
  auto waiting = begin(fleet, 1);
  ASSERT_TRUE(fleet.eventually([&] { return queued(fleet) == 1; }));
  waiting->close();
  EXPECT_TRUE(fleet.eventually([&] { return queued(fleet) == 0; }));
  holder->close();
  EXPECT_EQ(fleet.ask("POST", "/api/generate", numbered(2)).status, 200);
}

TEST(Limits, TheQueueServesUrgentRequestsFirstAndKeepsOrder) {
  sim::FleetConfig config = one_slow_node();
  config.nodes[0].faults = {{.kind = sim::FaultKind::stall, .count = 1}};
  TestFleet fleet(std::move(config), one_slot);
  auto holder = begin(fleet, 0);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 1; }));
  std::vector<std::unique_ptr<RawClient>> clients;
  const char* const fields[] = {"X-Sollol-Priority: low\r\n", "", "",
                                "X-Sollol-Priority: high\r\n"};
  for (int i = 0; i < 4; ++i) {
    clients.push_back(begin(fleet, i + 1, fields[i]));
    ASSERT_TRUE(fleet.eventually([&] { return queued(fleet) == i + 1; }));
  }
  holder->close();
  for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
  std::string order;
  for (const sim::SeenRequest& seen : fleet.nodes().requests("a")) {
    const auto at = seen.body.find("number ");
    if (at != std::string::npos) order += seen.body[at + 7];
  }
  EXPECT_EQ(order, "04231");
}

TEST(Limits, SlotsAreLearnt) {
  sim::FleetConfig config = one_slow_node();
  config.nodes[0].slots = 3;
  config.nodes[0].models[0].decode_tokens_per_s =
      100;  // 0.1 s each: well above what counts as no wait
  TestFleet fleet(std::move(config));
  for (int round = 0; round < 6; ++round) {
    // Of different lengths, as real requests are: equal ones would all end at the same moment.
    std::vector<std::unique_ptr<RawClient>> clients;
    for (int i = 0; i < 8; ++i) {
      clients.push_back(std::make_unique<RawClient>(fleet.port()));
      clients.back()->send(
          request_text("POST", "/api/generate", numbered(i, 6 + 3 * ((i * 5 + round) % 8))));
    }
    for (auto& client : clients) EXPECT_EQ(client->receive().status, 200);
  }
  const auto limit = fleet.node("a").at("models").at(0).at("limit").to_number<int>();
  EXPECT_GE(limit, 2);
  EXPECT_LE(limit, 4);
}

}  // namespace
}  // namespace sollol::test

// The gateway asks the agents on its nodes' machines.
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "agent/server.h"
#include "discovery/files.h"
#include "discovery/temporary_folder.h"
#include "gateway/agent_sight.h"
#include "harness.h"
#include "net/network.h"
#include "net/tcp.h"

namespace sollol::test {
namespace {

using agent::AgentReport;
using agent::Gpu;
using agent::LocalNode;
using gateway::AgentOptions;
using gateway::Nearness;

constexpr std::uint64_t gigabyte = 1'000'000'000;

Gpu gpu(std::string uuid, std::optional<std::uint32_t> foreign = {}, std::uint64_t held = 0) {
  return {.uuid = std::move(uuid),
          .name = "Test GPU",
          .vendor = "nvidia",
          .memory_total = 10 * gigabyte,
          .memory_free = 10 * gigabyte - held,
          .foreign_memory = held,
          .foreign_utilisation = foreign};
}

/// A report of a machine where a server listens at each port, on the GPU beside it.
AgentReport report_of(std::vector<std::pair<std::uint16_t, std::string>> nodes,
                      std::vector<Gpu> gpus) {
  AgentReport report{.agent = "test", .gpus = std::move(gpus)};
  report.machine = {.id = std::string(32, 'a'), .boot_id = std::string(32, 'b'), .hostname = "box"};
  for (auto& [port, uuid] : nodes)
    report.nodes.push_back({.pid = port, .port = port, .gpus_known = true, .gpus = {uuid}});
  return report;
}

/// An agent that tells what a test says, on a thread of its own.
class FakeAgent {
 public:
  explicit FakeAgent(std::string token = {}) {
    auto opened = agent::Server::open(context_, scheduler_,
                                      {.at = {"127.0.0.1", 0}, .token = std::move(token)},
                                      [this] { return told(); });
    EXPECT_TRUE(opened.has_value()) << opened.error().detail;
    server_ = std::move(*opened);
    thread_ = std::thread([this] { context_.run(); });
  }
  ~FakeAgent() { stop(); }

  std::uint16_t port() const { return server_->address().port; }
  void tell(const AgentReport& report) {
    const std::scoped_lock lock(mutex_);
    report_ = to_json(report);
  }
  void stop() {
    if (!thread_.joinable()) return;
    net::asio::post(context_, [this] { server_->stop(); });
    thread_.join();
  }

 private:
  std::string told() {
    const std::scoped_lock lock(mutex_);
    return report_;
  }

  net::asio::io_context context_{1};
  net::AsioScheduler scheduler_{context_};
  std::mutex mutex_;
  std::string report_ = "{}";
  std::unique_ptr<agent::Server> server_;
  std::thread thread_;
};

std::function<void(gateway::Options&)> asking(const FakeAgent& agent,
                                              bool pause_for_owner = false) {
  return [port = agent.port(), pause_for_owner](gateway::Options& options) {
    options.agents.port = port;
    options.agents.interval = 50ms;
    options.agents.pause_for_owner = pause_for_owner;
  };
}

const std::string prompt = R"({"model":"llama3.2","prompt":"Hello","stream":false})";

/// The number of machines, and of nodes known to have a device of their own.
std::pair<std::int64_t, std::size_t> places(TestFleet& fleet) {
  const auto told = boost::json::parse(fleet.ask("GET", "/sollol/v1/locality").body).as_object();
  std::size_t known = 0;
  for (const auto& host : told.at("hosts").as_array()) {
    for (const auto& device : host.at("devices").as_array())
      known += device.at("known").as_bool() ? 1 : 0;
  }
  return {told.at("unique_physical_hosts").as_int64(), known};
}

TEST(Agents, TellWhichNodesOfAMachineHaveAGpuOfTheirOwn) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(2, {chat_model()}), asking(agent));
  EXPECT_EQ(places(fleet).second, 0u);
  agent.tell(report_of({{fleet.node_port("a"), "GPU-1"}, {fleet.node_port("b"), "GPU-2"}},
                       {gpu("GPU-1"), gpu("GPU-2")}));
  EXPECT_TRUE(fleet.eventually([&] { return places(fleet) == std::pair{1l, 2ul}; }))
      << fleet.ask("GET", "/sollol/v1/locality").body;
  const auto told = fleet.node("a").at("agent").as_object();
  EXPECT_EQ(told.at("hostname"), "box");
  ASSERT_EQ(told.at("gpus").as_array().size(), 1u);
  EXPECT_EQ(told.at("gpus").at(0).at("uuid"), "GPU-1");
}

TEST(Agents, ForeignLoadMakesANodeDearer) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(2, {chat_model()}), asking(agent));
  const auto tell = [&](std::uint32_t load_of_a) {
    agent.tell(report_of({{fleet.node_port("a"), "GPU-1"}, {fleet.node_port("b"), "GPU-2"}},
                         {gpu("GPU-1", load_of_a), gpu("GPU-2", 0)}));
  };
  tell(75);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("foreign_slowdown") == 4.0; }));
  EXPECT_EQ(fleet.node("b").at("foreign_slowdown"), 1.0);
  for (int i = 0; i < 6; ++i) ASSERT_EQ(fleet.ask("POST", "/api/generate", prompt).status, 200);
  EXPECT_LE(fleet.node("a").at("requests").to_number<int>(), 1) << "at most the try of a new node";
  tell(0);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.node("a").at("foreign_slowdown") == 1.0; }));
}

TEST(Agents, ANodeWhoseOwnerWorksThereTakesNothingNewByTheRule) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(2, {chat_model()}), asking(agent, true));
  AgentReport report = report_of({{fleet.node_port("a"), "GPU-1"}}, {gpu("GPU-1")});
  report.owner = {.in_use = true, .idle_s = 3, .sessions = 1};
  agent.tell(report);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("paused").as_bool(); }));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).status, 200);
  EXPECT_EQ(fleet.node("a").at("requests"), 0);
  EXPECT_EQ(fleet.node("b").at("requests"), 4);
  report.owner = {.in_use = false, .idle_s = 400, .sessions = 1};
  agent.tell(report);
  EXPECT_TRUE(fleet.eventually([&] { return !fleet.node("a").at("paused").as_bool(); }));
}

TEST(Agents, WhereAllArePausedTheAnswerSaysSo) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(1, {chat_model()}), asking(agent, true));
  AgentReport report = report_of({{fleet.node_port("a"), "GPU-1"}}, {gpu("GPU-1")});
  report.owner = {.in_use = true, .idle_s = 3, .sessions = 1};
  agent.tell(report);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("paused").as_bool(); }));
  const Answer answer = fleet.ask("POST", "/api/generate", prompt);
  EXPECT_EQ(answer.status, 503);
  EXPECT_TRUE(answer.body.contains("paused")) << answer.body;
}

TEST(Agents, WithoutTheRuleTheOwnerIsToldAndNothingMore) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(1, {chat_model()}), asking(agent));
  AgentReport report = report_of({{fleet.node_port("a"), "GPU-1"}}, {gpu("GPU-1")});
  report.owner = {.in_use = true, .idle_s = 3, .sessions = 1};
  agent.tell(report);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").contains("agent"); }));
  EXPECT_EQ(fleet.node("a").at("agent").at("owner").at("in_use"), true);
  EXPECT_EQ(fleet.node("a").at("paused"), false);
}

TEST(Agents, WhatOneToldGoesWhenItIsGone) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(1, {chat_model()}), asking(agent, true));
  AgentReport report = report_of({{fleet.node_port("a"), "GPU-1"}}, {gpu("GPU-1", 50)});
  report.owner = {.in_use = true, .idle_s = 1, .sessions = 1};
  agent.tell(report);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("paused").as_bool(); }));
  agent.stop();
  EXPECT_TRUE(fleet.eventually([&] { return !fleet.node("a").contains("agent"); }));
  EXPECT_EQ(fleet.node("a").at("paused"), false);
  EXPECT_EQ(fleet.node("a").at("foreign_slowdown"), 1.0);
}

TEST(Agents, AnAgentOfAnotherMachineOrWithoutSenseTellsNothing) {
  FakeAgent agent;
  TestFleet fleet(equal_nodes(2, {chat_model()}), asking(agent));
  // Of "b" alone: that address leads to "a" by some router.
  agent.tell(report_of({{fleet.node_port("b"), "GPU-1"}}, {gpu("GPU-1", 50)}));
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("b").contains("agent"); }));
  EXPECT_FALSE(fleet.node("a").contains("agent"));
}

TEST(Agents, TheTokenIsShownAndARefusalHarmsNothing) {
  const std::string token = "0123456789abcdef0123456789abcdef";
  TemporaryFolder folder;
  const std::string file = folder / "token";
  ASSERT_TRUE(discovery::write_file_atomically(file, token + "\n").has_value());
  FakeAgent agent(token);
  TestFleet without(equal_nodes(1, {chat_model()}), asking(agent));
  TestFleet with(equal_nodes(1, {chat_model()}), [&](gateway::Options& options) {
    asking(agent)(options);
    options.agents.token_file = file;
  });
  agent.tell(report_of({{with.node_port("a"), "GPU-1"}, {without.node_port("a"), "GPU-1"}},
                       {gpu("GPU-1")}));
  ASSERT_TRUE(with.eventually([&] { return with.node("a").contains("agent"); }));
  EXPECT_FALSE(without.node("a").contains("agent"));
  EXPECT_EQ(without.ask("POST", "/api/generate", prompt).status, 200);
}

TEST(AgentAddress, IsAskedOnlyWhereItMayBe) {
  const auto allowed = net::Network::parse("10.1.0.0/16");
  ASSERT_TRUE(allowed.has_value());
  const std::vector<net::Network> networks{*allowed};
  struct Case {
    const char* name;
    gateway::AgentWay way;
    std::optional<std::string> ip;
  };
  for (const Case& c : {
           Case{"loopback", {.ip = "127.0.9.1", .near = Nearness::loopback}, "127.0.9.1"},
           Case{"own", {.ip = "192.168.1.2", .near = Nearness::this_machine}, "127.0.0.1"},
           Case{"no_token", {.ip = "192.168.1.3"}, std::nullopt},
           Case{"token", {.ip = "192.168.1.3", .has_token = true}, "192.168.1.3"},
           Case{"public", {.ip = "8.8.8.8", .has_token = true}, std::nullopt},
           Case{"metadata", {.ip = "169.254.169.254", .has_token = true}, std::nullopt},
           Case{"http_allowed",
                {.ip = "10.1.2.3", .has_token = true, .over_http = true, .allowed = networks},
                "10.1.2.3"},
           Case{"http_elsewhere",
                {.ip = "10.2.2.3", .has_token = true, .over_http = true, .allowed = networks},
                std::nullopt},
       }) {
    const auto at = gateway::agent_address(c.way, 11436);
    EXPECT_EQ(at.has_value(), c.ip.has_value()) << c.name;
    if (at && c.ip) {
      EXPECT_EQ(at->ip, *c.ip) << c.name;
    }
    EXPECT_FALSE(gateway::agent_address(c.way, 0).has_value()) << c.name;
  }
}

TEST(ForeignSlowdown, FollowsTheGpusThatTheNodeUses) {
  AgentReport report = report_of({{1, "GPU-1"}, {2, "GPU-2"}}, {gpu("GPU-1", 50), gpu("GPU-2", 0)});
  const auto of = [&](std::size_t i) {
    return gateway::foreign_slowdown(report, &report.nodes[i]);
  };
  EXPECT_DOUBLE_EQ(of(0), 2);
  EXPECT_DOUBLE_EQ(of(1), 1);
  report.nodes[1].gpus = {"GPU-1", "GPU-2"};
  EXPECT_DOUBLE_EQ(of(1), 1) << "it can take the free one";
  report.nodes[1].gpus_in_use = {"GPU-1", "GPU-2"};
  EXPECT_DOUBLE_EQ(of(1), 2) << "it waits for the slower one";
  report.gpus = {gpu("GPU-1", std::nullopt, 5 * gigabyte)};
  EXPECT_DOUBLE_EQ(of(0), 1 / 0.75) << "a game that rests holds memory";
  report.gpus = {gpu("GPU-1", 100)};
  EXPECT_DOUBLE_EQ(of(0), 5) << "bounded";
  report.machine.cpu_foreign = 0.8;
  report.gpus = {gpu("GPU-1", 0)};
  EXPECT_DOUBLE_EQ(of(0), 1 / 0.8) << "the processors count less beside a GPU";
  report.gpus.clear();
  EXPECT_DOUBLE_EQ(of(0), 5) << "and whole without one";
}

TEST(OwnerRule, GoesByInputAndElseBySessions) {
  EXPECT_TRUE(gateway::owner_works({.in_use = true, .idle_s = 10}, 300s));
  EXPECT_FALSE(gateway::owner_works({.in_use = true, .idle_s = 300}, 300s));
  EXPECT_TRUE(gateway::owner_works({.in_use = false, .idle_s = 400}, 600s));
  EXPECT_TRUE(gateway::owner_works({.in_use = true}, 300s));
  EXPECT_FALSE(gateway::owner_works({.in_use = false}, 300s));
  EXPECT_FALSE(gateway::owner_works({}, 300s)) << "nothing is known";
}

}  // namespace
}  // namespace sollol::test

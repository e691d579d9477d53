// Many nodes: names, addresses, counters, and the file that describes them.
#include "sim/fleet.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "sim/client.h"
#include "sim/demo.h"
#include "sim/faults.h"
#include "sim/fleet_fields.h"
#include "sim/fleet_file.h"
#include "sim/models.h"

namespace sollol::sim {
namespace {

using namespace std::chrono_literals;

TEST(Fleet, NodesWithoutNameOrAddressGetOne) {
  Fleet fleet{{.nodes = {{.models = {llama()}}, {.models = {llama()}}}}};
  EXPECT_EQ(fleet.names(), (std::vector<std::string>{"node1", "node2"}));
  EXPECT_NE(fleet.url("node1"), fleet.url("node2"));
  EXPECT_THROW(fleet.url("node3"), std::out_of_range);
}

TEST(Fleet, AnAddressThatIsTakenIsNamed) {
  Fleet first{{.nodes = {{.name = "a"}}}};
  const auto address = first.url("a").substr(std::string_view("http://").size());
  try {
    Fleet second{{.nodes = {{.name = "b", .address = address}}}};
    FAIL() << "two nodes at " << address;
  } catch (const std::runtime_error& error) {
    EXPECT_TRUE(std::string(error.what()).contains("node b: cannot listen at " + address))
        << error.what();
  }
}

TEST(Fleet, WhatIsNoAddressIsRefused) {
  for (const char* address : {"127.0.0.1:http", "127.0.0.1:99999", "nowhere", "[::1"}) {
    EXPECT_THROW(Fleet({.nodes = {{.name = "a", .address = address}}}), std::runtime_error)
        << address;
  }
}

TEST(Fleet, CountsWhatItIsAsked) {
  Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}}, .time_scale = 1000}};
  post(fleet.url("a"), "/api/generate",
       {{"model", "llama3.2"}, {"prompt", "x"}, {"options", {{"num_predict", 4}}}});
  get(fleet.url("a"), "/api/tags");
  EXPECT_TRUE(fleet.wait_until(
      [&] { return fleet.counters("a").completed == 1 && fleet.counters("a").open == 0; }));
  const auto counters = fleet.counters("a");
  EXPECT_EQ(counters.of("POST /api/generate"), 1U);
  EXPECT_EQ(counters.total(), 2U);
  EXPECT_EQ(counters.accepted, 2U);
  EXPECT_EQ(counters.tokens, 4U);
  EXPECT_EQ(counters.max_in_flight, 1U);
  EXPECT_EQ(counters.model.loads, 1U);
}

TEST(Fleet, StopsWithRequestsUnderWayAndStartsAgain) {
  Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}}, .time_scale = 0.001}};
  TestConnection client(fleet.url("a"));
  client.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").in_flight == 1; }));
  fleet.stop();
  EXPECT_EQ(fleet.counters("a").in_flight, 0U);
  fleet.start();
  EXPECT_EQ(get(fleet.url("a"), "/api/version").status, 200);
}

TEST(Fleet, NodesOfOneDeviceSlowEachOtherDown) {
  NodeSpec a{.name = "a", .models = {llama()}, .host = "pc", .device = "gpu0"};
  auto b = a;
  b.name = "b";
  auto apart = a;
  apart.name = "apart";
  apart.host = "elsewhere";
  Fleet fleet{{.nodes = {a, b, apart}, .time_scale = 200}};
  for (const auto& name : fleet.names())
    post(fleet.url(name), "/api/generate", {{"model", "llama3.2"}});
  fleet.set_fault("a", {.kind = FaultKind::stall_after_tokens, .tokens = 1});
  TestConnection busy(fleet.url("a"));  // generates until it leaves
  busy.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  ASSERT_TRUE(fleet.wait_until([&] { return fleet.counters("a").tokens > 0; }));
  const auto per_token = [&](std::string_view name) {
    const auto end = post(fleet.url(name), "/api/generate",
                          {{"model", "llama3.2"},
                           {"prompt", "y"},
                           {"stream", false},
                           {"options", {{"num_predict", 5}}}})
                         .json();
    return end.at("eval_duration").as_int64() / end.at("eval_count").as_int64();
  };
  EXPECT_EQ(per_token("b"), 20'000'000);
  EXPECT_EQ(per_token("apart"), 10'000'000);
}

TEST(FleetFile, ReadsUnitsSharedModelsAndFaults) {
  const auto fleet = read_fleet(R"(
time_scale = 2
[[model]]
name = "llama3.2"
decode_rate = 30
[[node]]
name = "fast"
listen = "127.0.1.1:11434"
memory = "24 GiB"
keep_alive = "-1s"
models = ["llama3.2:latest", { name = "qwen3:4b", size = "2.5 GB", load_time = 1.5 }]
faults = ["die_after_tokens:7", { kind = "error", status = 503, count = 2, scope = "all" }]
[[node]]
models = [{ name = "llama3.2", decode_rate = 60 }]
)",
                                "f.toml");
  ASSERT_TRUE(fleet.has_value()) << fleet.error().detail;
  EXPECT_EQ(fleet->time_scale, 2);
  const auto& node = fleet->nodes.at(0);
  EXPECT_EQ(node.memory_bytes, 24ULL << 30);
  EXPECT_EQ(node.keep_alive, -1s);
  EXPECT_EQ(node.models.at(0).decode_tokens_per_s, 30);
  EXPECT_EQ(node.models.at(1).size_bytes, 2'500'000'000U);
  EXPECT_EQ(node.models.at(1).load_time, 1500ms);
  EXPECT_EQ(node.faults.at(0).tokens, 7U);
  EXPECT_EQ(node.faults.at(1).count, 2U);
  EXPECT_EQ(fleet->nodes.at(1).name, "node2");
  EXPECT_EQ(fleet->nodes.at(1).models.at(0).decode_tokens_per_s, 60);
}

struct BadFile {
  const char* name;
  const char* toml;
  const char* wanted;  // part of the message
};
class BadFiles : public testing::TestWithParam<BadFile> {};
TEST_P(BadFiles, AreRefusedWithLineFieldAndMend) {
  const auto fleet = read_fleet(GetParam().toml, "f.toml");
  ASSERT_FALSE(fleet.has_value());
  EXPECT_TRUE(fleet.error().detail.contains(GetParam().wanted)) << fleet.error().detail;
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadFiles,
    testing::Values(
        BadFile{"syntax", "[[node]\n", "f.toml:1: "},
        BadFile{"no_node", "seed = 1\n", "no node; begin with [[node]]"},
        BadFile{"unknown_field", "[[node]]\nslot = 1\n",
                "f.toml:2: a node has no field 'slot'; it has: "},
        BadFile{"wrong_type", "[[node]]\nslots = \"many\"\n",
                "f.toml:2: 'slots' must be a whole number"},
        BadFile{"negative", "[[node]]\nslots = -1\n",
                "f.toml:2: 'slots' must be a whole number, 0 or more"},
        BadFile{"size", "[[node]]\nmemory = \"24 gigs\"\n", "such as 2000000000, \"2 GB\""},
        BadFile{"time", "[[node]]\nkeep_alive = \"long\"\n", "a time such as 2.5 (seconds)"},
        BadFile{"fault", "[[node]]\nfaults = [\"explode\"]\n", "'explode' is no fault; one of: "},
        BadFile{"fault_kind", "[[node]]\nfaults = [{ kind = \"explode\" }]\n",
                "'kind' must be one of: "},
        BadFile{"model_name", "[[node]]\nmodels = [\"-\"]\n", "f.toml:2: a model needs a name"},
        BadFile{"digest", "[[node]]\nmodels = [{ name = \"a\", digest = \"12\" }]\n",
                "64 hexadecimal digits"},
        BadFile{"rate", "[[node]]\nmodels = [{ name = \"a\", decode_rate = 0 }]\n",
                "'decode_rate' must be greater than 0"},
        BadFile{"twice", "[[node]]\nname = \"a\"\n[[node]]\nname = \"a\"\n",
                "two nodes are called 'a'"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(FleetFile, WhatIsWrittenReadsBackTheSame) {
  auto fleet = demo_fleet();
  fleet.nodes[0].faults = {{.kind = FaultKind::error,
                            .status = 503,
                            .text = "a \"b\"",
                            .count = 3,
                            .scope = FaultScope::all}};
  fleet.nodes[1].network_delay = 20ms;
  const auto again = read_fleet(to_toml(fleet), "written");
  ASSERT_TRUE(again.has_value()) << again.error().detail;
  EXPECT_EQ(to_toml(*again), to_toml(fleet));
  EXPECT_EQ(again->nodes[0].faults[0].text, "a \"b\"");
}

TEST(FleetFile, TheManualNamesEveryField) {
  std::ifstream file(SOLLOL_DOCS "/sim.md");
  std::ostringstream manual;
  manual << file.rdbuf();
  const auto check = [&](auto spec) {
    visit_fields(spec, [&](std::string_view key, auto&&) {
      EXPECT_TRUE(manual.str().contains("`" + std::string(key) + "`"))
          << key << " is missing in docs/sim.md";
    });
  };
  check(ModelSpec{});
  check(NodeSpec{});
  check(FaultSpec{});
  for (int kind = 0; kind <= static_cast<int>(FaultKind::foreign); ++kind) {
    const auto name = std::string(fault_name(static_cast<FaultKind>(kind)));
    EXPECT_TRUE(manual.str().contains("`" + name + "`")) << name << " is missing in docs/sim.md";
  }
}

}  // namespace
}  // namespace sollol::sim

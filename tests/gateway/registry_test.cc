// Nodes that are added, probed and saved at run time.
#include <gtest/gtest.h>

#include <utility>

#include "discovery/node_file.h"
#include "discovery/temporary_folder.h"
#include "gateway/capabilities.h"
#include "harness.h"
#include "sollol/node_registry.h"

namespace sollol::test {
namespace {

const std::string prompt = R"({"model":"llama3.2","prompt":"Hello","stream":false})";

TEST(Registry, ANodeIsAskedBeforeItIsAddedAndSavedWhenWished) {
  TemporaryFolder folder;
  const std::string path = folder / "nodes.json";
  sim::Fleet nodes(equal_nodes(1, {chat_model()}));
  TestFleet fleet(sim::FleetConfig{}, [&](gateway::Options& options) { options.node_file = path; });
  const Answer refused =
      fleet.ask("POST", "/sollol/v1/nodes", R"({"url":"http://127.0.0.1:1","auto_probe":true})");
  EXPECT_EQ(refused.status, 502);
  EXPECT_TRUE(refused.body.contains("OLLAMA_HOST=0.0.0.0")) << refused.body;
  EXPECT_FALSE(fleet.ask("GET", "/sollol/v1/nodes").body.contains("127.0.0.1:1\""));

  const Answer added =
      fleet.ask("POST", "/sollol/v1/nodes",
                R"({"url":")" + nodes.url("a") +
                    R"(","name":"late","host":"rack","device":"0","auto_probe":true,"save":true})");
  ASSERT_EQ(added.status, 201) << added.body;
  const auto told = boost::json::parse(added.body).at("capabilities");
  EXPECT_EQ(told.at("models"), 1);
  EXPECT_GT(told.at("disk_bytes").to_number<double>(), 0);
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt).status, 200)
      << "its models are known at once";
  EXPECT_EQ(fleet.node("late").at("host"), "rack");

  const auto file = discovery::NodeFile::load(path);
  ASSERT_TRUE(file.has_value()) << file.error().detail;
  ASSERT_EQ(file->nodes().size(), 1u);
  EXPECT_EQ(file->nodes()[0].name, "late");
  EXPECT_EQ(file->nodes()[0].physical_host, "rack");
  EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes/save").status, 200);
  EXPECT_EQ(discovery::NodeFile::load(path)->text(), file->text());
}

TEST(Registry, AWrongFieldIsNamed) {
  TestFleet fleet(sim::FleetConfig{});
  for (const auto& [body, field] : std::initializer_list<std::pair<const char*, const char*>>{
           {R"({"name":"x"})", "url"},
           {R"({"url":"ftp://x"})", "url"},
           {R"({"url":"http://127.0.0.1:1","priority":-1})", "priority"},
           {R"({"url":"http://127.0.0.1:1","slots":"many"})", "slots"},
           {R"({"url":"http://127.0.0.1:1","name":5})", "name"},
           {R"({"url":"http://127.0.0.1:1","host":"a,b"})", "host"},
           {R"({"url":"http://127.0.0.1:1","auto_probe":1})", "auto_probe"}}) {
    const Answer answer = fleet.ask("POST", "/sollol/v1/nodes", body);
    EXPECT_EQ(answer.status, 400) << body;
    EXPECT_TRUE(answer.body.contains(std::string(field) + ":")) << answer.body;
  }
}

TEST(Registry, WhetherAGpuDoesTheWorkIsToldByWhatIsLoaded) {
  using enum gateway::GpuWork;
  for (const auto& [vram, want] :
       {std::pair{0u, none}, std::pair{40u, partly}, std::pair{100u, all}}) {
    gateway::NodeListing listing;
    api::LoadedModel model;
    model.size_bytes = 100;
    model.vram_bytes = vram;
    listing.loaded.push_back(model);
    EXPECT_EQ(gateway::capabilities_of(listing).gpu, want);
  }
  EXPECT_EQ(gateway::capabilities_of({}).gpu, unknown);
}

TEST(NodeRegistryLibrary, DoesWhatTheRoutesDo) {
  TemporaryFolder folder;
  sim::Fleet nodes(equal_nodes(2, {chat_model()}));
  NodeRegistry registry;
  EXPECT_TRUE(registry.list().empty());
  EXPECT_FALSE(registry.should_use_parallel_execution(3));

  const auto dead = registry.add({.url = "http://127.0.0.1:1"});
  ASSERT_FALSE(dead.has_value());
  EXPECT_TRUE(dead.error().unreachable) << dead.error().text;
  const auto wrong = registry.add({.url = nodes.url("a"), .host = "a,b"});
  ASSERT_FALSE(wrong.has_value());
  EXPECT_TRUE(wrong.error().text.starts_with("host:")) << wrong.error().text;
  EXPECT_FALSE(wrong.error().unreachable);

  const auto first = registry.add({.url = nodes.url("a"), .name = "one", .host = "rack"});
  ASSERT_TRUE(first.has_value()) << first.error().text;
  ASSERT_EQ(first->models.size(), 1u);
  EXPECT_FALSE(first->version.empty());
  const auto again = registry.add({.url = nodes.url("a"), .name = "other"});
  ASSERT_TRUE(again.has_value()) << again.error().text;
  EXPECT_EQ(again->name, "one") << "a known address is the node that is there";
  ASSERT_TRUE(registry.add({.url = nodes.url("b"), .host = "attic", .auto_probe = false}));
  EXPECT_EQ(registry.count_unique_physical_hosts(), 2u) << registry.explain();
  EXPECT_TRUE(registry.should_use_parallel_execution(3));
  EXPECT_FALSE(registry.should_use_parallel_execution(1));

  EXPECT_EQ(registry.save(folder / "n.json").value(), 2u);
  EXPECT_EQ(registry.save(folder / "n.json").value(), 0u);
  EXPECT_TRUE(registry.remove("one"));
  EXPECT_FALSE(registry.remove("one"));
  EXPECT_EQ(registry.load(folder / "n.json").value(), 1u);
  EXPECT_EQ(registry.list().size(), 2u);
  EXPECT_FALSE(registry.load(folder / "none.json").has_value());
}

TEST(NodeRegistryLibrary, DiscoversOnTheNetworksThatAreNamed) {
  sim::FleetConfig config = equal_nodes(2, {chat_model()});
  config.nodes[0].address = "127.0.21.1:0";
  config.nodes.resize(1);
  sim::Fleet nodes(std::move(config));
  const std::string url = nodes.url("a");
  const auto port = static_cast<std::uint16_t>(std::stoul(url.substr(url.rfind(':') + 1)));
  NodeRegistry registry;
  const DiscoverOptions how{.ports = {port}, .subnets = {"127.0.21.0/29"}};
  EXPECT_EQ(registry.discover(how).value(), 1u);
  EXPECT_EQ(registry.discover(how).value(), 0u);
  ASSERT_EQ(registry.list().size(), 1u);
  EXPECT_EQ(registry.list()[0].url, url);
  EXPECT_FALSE(registry.discover({.subnets = {"8.8.8.0/24"}}).has_value());
}

}  // namespace
}  // namespace sollol::test

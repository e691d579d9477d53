#include "discovery/import.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <algorithm>

namespace sollol::discovery {
namespace {

/// Nodes as "name url priority", one a line.
std::string nodes_of(const Imported& imported) {
  std::string text;
  for (const auto& node : imported.nodes)
    text += fmt::format("{} {} {}\n", node.name, node.url, node.priority);
  return text;
}

bool left_out(const Imported& imported, std::string_view words) {
  return std::ranges::any_of(
      imported.left_out, [&](const auto& note) { return note.find(words) != std::string::npos; });
}

bool has_setting(const Imported& imported, std::string_view toml) {
  return to_toml(imported, "x").find(fmt::format("\n{}\n", toml)) != std::string::npos;
}

Imported import(std::string_view yaml) {
  auto imported = import_settings(yaml, "their.yaml");
  EXPECT_TRUE(imported.has_value()) << imported.error().detail;
  return *std::move(imported);
}

constexpr auto olla = R"(server:
  host: "localhost"
  port: 40114
  idle_timeout: 2m
  request_logging: true
  write_timeout: 0s
  request_limits:
    max_body_size: 1
    max_header_size: 32768
proxy:
  engine: "sherpa"
  load_balancer: "priority"
  connection_timeout: 1500ms
  response_timeout: 900s
discovery:
  type: "static"
  static:
    endpoints:
      - url: "http://localhost:11434"
        name: "here"
        type: "ollama"
        priority: 100
        check_interval: 5s
      - url: "http://192.168.0.7"
        name: "slow"
        type: "ollama"
        priority: 50
      - url: "http://192.168.0.8:8000"
        name: "v"
        type: "vllm"
      - url: "http://192.168.0.9:11434"
        type: "ollama"
logging:
  level: "WARN"
  format: "json"
engineering:
  show_nerdstats: false
)";

TEST(ImportOlla, TurnsPrioritiesRoundIntoTiers) {
  EXPECT_EQ(nodes_of(import(olla)),
            "here http://localhost:11434 0\nslow http://192.168.0.7:80 1\n192.168.0.9 "
            "http://192.168.0.9:11434 0\n");
}

TEST(ImportOlla, TakesTheSettingsThatSollolHas) {
  const auto imported = import(olla);
  EXPECT_EQ(imported.format, "olla");
  const std::string_view want = R"(# Made from olla.yaml by `sollol import` (olla format).

listen = "127.0.0.1:40114"
policy = "priority"

[limits]
idle_timeout_s = 120
head_bytes = 32768

[log]
access = "on"
level = "warn"

[upstream]
connect_timeout_s = 1.5
response_timeout_s = 900

[[nodes]]
url = "http://localhost:11434"
name = "here"
priority = 0
)";
  EXPECT_EQ(to_toml(imported, "olla.yaml").substr(0, want.size()), want);
}

TEST(ImportOlla, SaysWhatIsLeftOutAndWhere) {
  const auto imported = import(olla);
  for (const auto* words :
       {"line 11: proxy.engine", "server.write_timeout", "max_body_size", "vllm",
        "line 23: endpoints[0].check_interval", "logging.format", "engineering"}) {
    EXPECT_TRUE(left_out(imported, words)) << words;
  }
}

TEST(ImportOlla, DropsPrioritiesThatItsBalancerIgnores) {
  const auto imported = import(R"(
proxy: {load_balancer: round-robin}
discovery: {static: {endpoints: [{url: "http://a:1", type: ollama, priority: 1}, {url: "http://b:1", type: ollama}]}}
)");
  EXPECT_EQ(nodes_of(imported), "a:1 http://a:1 0\nb:1 http://b:1 0\n");
  EXPECT_TRUE(has_setting(imported, "policy = \"round_robin\""));
  EXPECT_TRUE(left_out(imported, "endpoints[0].priority"));
}

constexpr auto litellm = R"(model_list:
  - model_name: llama3
    litellm_params: {model: ollama_chat/llama3, api_base: "http://gpu1:11434", order: 2, api_key: x}
  - model_name: fast
    litellm_params: {model: ollama/llama3, api_base: "http://gpu2:11434", order: 1}
  - model_name: llama3
    litellm_params: {model: ollama/qwen3}
  - model_name: compatible
    litellm_params: {model: openai/qwen3, api_base: "http://gpu3:11434/v1"}
  - model_name: gpt-4
    litellm_params: {model: azure/gpt-4, api_base: "https://example.com"}
  - model_name: hidden
    litellm_params: {model: ollama/hidden, api_base: os.environ/OLLAMA_API_BASE}
  - model_name: llama3
    litellm_params: {model: ollama/llama3, api_base: "http://gpu1:11434/", order: 1}
litellm_settings:
  request_timeout: 600
  drop_params: true
router_settings:
  routing_strategy: least-busy
  num_retries: 3
general_settings:
  master_key: sk-1234
)";

TEST(ImportLitellm, TakesTheOllamaDeployments) {
  EXPECT_EQ(nodes_of(import(litellm)),
            "gpu1 http://gpu1:11434 0\ngpu2 http://gpu2:11434 0\n"
            "localhost http://localhost:11434 1\ngpu3 http://gpu3:11434 1\n");
}

TEST(ImportLitellm, TakesTheSettingsThatSollolHas) {
  const auto imported = import(litellm);
  EXPECT_EQ(imported.format, "litellm");
  for (const auto* line :
       {"policy = \"least_connections\"", "attempts = 3", "response_timeout_s = 600"}) {
    EXPECT_TRUE(has_setting(imported, line)) << line;
  }
}

TEST(ImportLitellm, SaysWhatIsLeftOut) {
  const auto imported = import(litellm);
  for (const auto* words :
       {"azure/gpt-4 is not served", "variable OLLAMA_API_BASE", "ask for llama3 instead of fast",
        "general_settings.master_key", "litellm_settings.drop_params", "litellm_params.api_key",
        "another priority"}) {
    EXPECT_TRUE(left_out(imported, words)) << words;
  }
}

constexpr auto llama_swap = R"(logLevel: debug
startPort: 10001
macros:
  box: 192.168.1.9
models:
  started:
    cmd: llama-server --port ${PORT}
  fixed:
    cmd: run-it
    proxy: http://127.0.0.1:8999
  boxed:
    macros: {port: "9000"}
    proxy: http://${box}:${port}
peers:
  other:
    proxy: http://192.168.1.23
    models: [a]
  cloud:
    proxy: https://example.com/api
    apiKey: ${env.KEY}
)";

TEST(ImportLlamaSwap, TakesUpstreamsOfAFixedAddressAndPeers) {
  const auto imported = import(llama_swap);
  EXPECT_EQ(imported.format, "llama-swap");
  EXPECT_EQ(nodes_of(imported),
            "fixed http://127.0.0.1:8999 0\nboxed http://192.168.1.9:9000 0\nother "
            "http://192.168.1.23:80 0\n");
  EXPECT_TRUE(has_setting(imported, "level = \"debug\""));
}

TEST(ImportLlamaSwap, SaysWhatIsLeftOut) {
  const auto imported = import(llama_swap);
  for (const auto* words : {"models.started: llama-swap starts it", "models.fixed.cmd",
                            "peers.cloud: it wants a key", "line 2: startPort"}) {
    EXPECT_TRUE(left_out(imported, words)) << words;
  }
}

struct StrangeCase {
  const char* name;
  const char* yaml;
  const char* says;
};
class ImportErrors : public testing::TestWithParam<StrangeCase> {};
TEST_P(ImportErrors, SayWhatWasExpected) {
  const auto imported = import_settings(GetParam().yaml, "their.yaml");
  ASSERT_FALSE(imported.has_value());
  EXPECT_NE(imported.error().detail.find(GetParam().says), std::string::npos)
      << imported.error().detail;
}
INSTANTIATE_TEST_SUITE_P(Table, ImportErrors,
                         testing::Values(StrangeCase{"empty", "", "none of the known formats"},
                                         StrangeCase{"text", "hello", "none of the known formats"},
                                         StrangeCase{"list", "[1, 2]", "none of the known formats"},
                                         StrangeCase{"other", "services: {a: {image: b}}",
                                                     "none of the known formats"},
                                         StrangeCase{"no_yaml", "a: [\n}", "their.yaml, line 2"}),
                         [](const auto& row) { return std::string(row.param.name); });

/// Keys where a value of another type than usual stands: nothing is fatal.
class ImportOddities : public testing::TestWithParam<const char*> {};
TEST_P(ImportOddities, AreLeftOutNotFatal) {
  EXPECT_TRUE(import_settings(GetParam(), "f").has_value());
}
INSTANTIATE_TEST_SUITE_P(
    Table, ImportOddities,
    testing::Values("model_list: 7",
                    "model_list: [7, {}, {litellm_params: 7}, {litellm_params: {model: [a]}}]",
                    "model_list: []\nrouter_settings: 1\nlitellm_settings: [a]\ngeneral_settings:",
                    "discovery: {static: 7}", "discovery: {static: {endpoints: {a: b}}}",
                    "discovery: {static: }",
                    "discovery: {static: {endpoints: [7, {}, {url: []}, {url: 'a b'}]}}\nserver: "
                    "7\nlogging: []",
                    "proxy: {load_balancer: }",
                    "proxy: {load_balancer: [x], connection_timeout: soon}",
                    "models: {a: {cmd: x}, b: 7, c: {proxy: [], macros: 7}}\nmacros: 7",
                    "peers: {a: 7, b: {proxy: ''}}", "peers: {? [a] : {proxy: 'http://a'}}"));

TEST(ToToml, EscapesWhatTextMayHold) {
  Imported imported{
      .format = "olla", .nodes = {parse_node_url("a").value()}, .settings = {}, .left_out = {}};
  imported.nodes[0].name = "q\"b\\s\x7f";
  EXPECT_NE(to_toml(imported, "bad\nname").find("# Made from bad?name by"), std::string::npos);
  EXPECT_NE(to_toml(imported, "x").find(R"(name = "q\"b\\s\u007F")"), std::string::npos);
}

}  // namespace
}  // namespace sollol::discovery

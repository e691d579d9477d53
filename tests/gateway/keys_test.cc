// API keys: the file, the tokens, what they let through; and who may drive the gateway without.
#include "gateway/keys.h"

#include <gtest/gtest.h>

#include <fstream>

#include "discovery/temporary_folder.h"
#include "gateway/access.h"
#include "harness.h"

namespace sollol::test {
namespace {

using gateway::KeyRecord;

constexpr std::string_view prompt = R"({"model":"llama3.2","prompt":"why is the sky blue"})";

constexpr std::string_view short_prompt =
    R"({"model":"llama3.2","prompt":"a","stream":false,"options":{"num_predict":2}})";

KeyRecord named(std::string name) {
  KeyRecord record;
  record.name = std::move(name);
  return record;
}

TEST(Keys, AFileReadsBackAsItWasWritten) {
  KeyRecord a = named("alice");
  a.models = {"llama3.2", "qwen*"};
  a.urgency = cluster::Urgency::batch;
  a.rate_per_minute = 60;
  a.concurrency = 4;
  gateway::make_token(a);
  KeyRecord b = named("operator");
  b.admin = true;
  gateway::make_token(b);
  const std::string text = gateway::keys_text(std::vector{a, b});
  const auto read = gateway::parse_keys(text, "keys.toml");
  ASSERT_TRUE(read.has_value()) << read.error().detail;
  EXPECT_EQ(gateway::keys_text(*read), text);
}

TEST(Keys, OnlyTheTokenItselfIsTheKeys) {
  KeyRecord record = named("alice");
  const std::string token = gateway::make_token(record);
  EXPECT_TRUE(token.starts_with("sk-sollol-" + record.id + "-"));
  EXPECT_EQ(token.size(), 10 + 16 + 1 + 64u);
  EXPECT_TRUE(gateway::is_token_of(record, token));
  EXPECT_FALSE(gateway::keys_text({&record, 1}).contains(token.substr(27)));
  const gateway::KeyRing ring({record}, nullptr);
  EXPECT_NE(ring.find(token), nullptr);
  std::string changed = token;
  changed.back() = changed.back() == '0' ? '1' : '0';
  for (const std::string& wrong :
       {changed, token + "0", token.substr(0, token.size() - 1), std::string(),
        std::string("sk-sollol-"), "sk-sollol-0000000000000000" + token.substr(26),
        std::string(10000, 'x')}) {
    EXPECT_EQ(ring.find(wrong), nullptr) << wrong.substr(0, 100);
  }
}

struct BadFile {
  const char* name;
  const char* text;
  const char* says;
};
class BadKeysFile : public testing::TestWithParam<BadFile> {};
TEST_P(BadKeysFile, IsRefusedWithLineAndField) {
  const auto read = gateway::parse_keys(GetParam().text, "keys.toml");
  ASSERT_FALSE(read.has_value());
  EXPECT_TRUE(read.error().detail.contains(GetParam().says)) << read.error().detail;
}
INSTANTIATE_TEST_SUITE_P(
    Table, BadKeysFile,
    testing::Values(BadFile{"syntax", "[[keys]]\nname = ", "keys.toml, line 2"},
                    BadFile{"other_table", "[key]\n", "line 1: key: expected [[keys]]"},
                    BadFile{"short_id", "[[keys]]\nid = \"12\"", "line 2: id: expected 16 hex"},
                    BadFile{"missing_hash",
                            "[[keys]]\nid = \"0123456789abcdef\"\nname = \"a\"\n"
                            "salt = \"00112233445566778899aabbccddeeff\"",
                            "line 1: hash: missing"},
                    BadFile{"unknown", "[[keys]]\nname = \"a\"\nmodel = \"x\"",
                            "line 3: model: unknown field"},
                    BadFile{"priority", "[[keys]]\npriority = \"urgent\"", "high, normal or low"},
                    BadFile{"rate", "[[keys]]\nrate_per_minute = -1", "a whole number"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Keys, ModelsAreComparedAsOllamaNamesThem) {
  KeyRecord record = named("a");
  record.models = {"llama3.2", "qwen*", "hf.co/team/*"};
  for (const char* good : {"registry.ollama.ai/library/llama3.2:latest",
                           "registry.ollama.ai/library/qwen2.5:7b", "hf.co/team/model:q4"})
    EXPECT_TRUE(gateway::may_use(record, good)) << good;
  for (const char* bad :
       {"registry.ollama.ai/library/llama3.2:70b", "evil.example/library/qwen2:1b",
        "registry.ollama.ai/other/qwen2:1b", "hf.co/teammate/model:q4"})
    EXPECT_FALSE(gateway::may_use(record, bad)) << bad;
}

TEST(Keys, ARateIsAMinutesWorthAndFillsWithTime) {
  gateway::RateLimit limit(60);
  const TimePoint start = TimePoint{} + 1h;
  for (int i = 0; i < 60; ++i) EXPECT_FALSE(limit.take(start).has_value());
  const auto wait = limit.take(start);
  ASSERT_TRUE(wait.has_value());
  EXPECT_NEAR(to_seconds(*wait), 1, 0.01);
  EXPECT_FALSE(limit.take(start + 1100ms).has_value());
  EXPECT_TRUE(limit.take(start + 1100ms).has_value());
}

/// A gateway that asks for keys, and some.
struct KeyedGateway : testing::Test {
  TemporaryFolder folder;
  std::vector<KeyRecord> records;
  std::string admin = add([](KeyRecord& key) { key.admin = true; });

  std::string add(const std::function<void(KeyRecord&)>& change) {
    KeyRecord record = named("key" + std::to_string(records.size()));
    change(record);
    std::string token = gateway::make_token(record);
    records.push_back(std::move(record));
    return token;
  }
  static std::string bearer(const std::string& token) {
    return "Authorization: Bearer " + token + "\r\n";
  }
  void save() { std::ofstream(folder / "keys.toml") << gateway::keys_text(records); }
  TestFleet start(sim::FleetConfig config, const TestFleet::Change& change = {}) {
    save();
    return TestFleet(std::move(config),
                     [&](gateway::Options& options) {
                       options.access.keys_file = folder / "keys.toml";
                       if (change) change(options);
                     },
                     {.ca_file = {}, .fields = bearer(admin)});
  }
};

TEST_F(KeyedGateway, AsksForAKeyInTheCallersForm) {
  TestFleet fleet = start(equal_nodes(1, {chat_model()}));
  const std::string wrong = bearer("sk-sollol-0123456789abcdef-" + std::string(64, '0'));
  const std::string none = "X-Nothing: 1\r\n";
  for (const std::string& fields : {wrong, none}) {
    const Answer native = fleet.ask("POST", "/api/generate", prompt, fields);
    EXPECT_EQ(native.status, 401);
    EXPECT_TRUE(native.field("www-authenticate").starts_with("Bearer")) << native.raw;
    EXPECT_TRUE(native.body.starts_with("{\"error\":\"")) << native.body;
    EXPECT_TRUE(fleet.ask("POST", "/v1/chat/completions", prompt, fields)
                    .body.starts_with("{\"error\":{\"message\""));
    EXPECT_TRUE(
        fleet.ask("POST", "/v1/messages", prompt, fields).body.contains("authentication_error"));
    for (const char* path : {"/api/tags", "/api/ps", "/v1/models", "/metrics", "/sollol/v1/nodes",
                             "/sollol/v1/status", "/sollol/v1/decisions"})
      EXPECT_EQ(fleet.ask("GET", path, {}, fields).status, 401) << path;
    for (const char* path : {"/", "/api/version"})
      EXPECT_EQ(fleet.ask("GET", path, {}, fields).status, 200) << path;
  }
  EXPECT_TRUE(fleet.nodes().requests("a").empty() ||
              !fleet.nodes().requests("a").back().body.contains("sky"));
}

TEST_F(KeyedGateway, TakesAKeyInEitherFieldAndKeepsItFromTheNodes) {
  const std::string user = add([](KeyRecord&) {});
  TestFleet fleet = start(equal_nodes(1, {chat_model()}));
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt, bearer(user)).status, 200);
  EXPECT_EQ(
      fleet
          .ask("POST", "/v1/messages",
               R"({"model":"llama3.2","max_tokens":5,"messages":[{"role":"user","content":"a"}]})",
               "x-api-key: " + user + "\r\n")
          .status,
      200);
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(user) + "x-api-key: other\r\n").status, 401);
  for (const sim::SeenRequest& seen : fleet.nodes().requests("a")) {
    EXPECT_FALSE(seen.head.contains("sk-sollol")) << seen.head;
  }
}

TEST_F(KeyedGateway, AnOrdinaryKeyNeitherAdministersNorChangesNodes) {
  const std::string user = add([](KeyRecord&) {});
  const std::string manager = add([](KeyRecord& key) { key.manage = true; });
  TestFleet fleet = start(equal_nodes(1, {chat_model()}));
  const std::string copy = R"({"source":"llama3.2","destination":"other"})";
  EXPECT_EQ(fleet.ask("POST", "/api/copy", copy, bearer(user)).status, 403);
  EXPECT_EQ(fleet.ask("POST", "/api/copy", copy, bearer(manager)).status, 200);
  for (const char* path : {"/metrics", "/sollol/v1/nodes", "/sollol/v1/status"}) {
    EXPECT_EQ(fleet.ask("GET", path, {}, bearer(user)).status, 403) << path;
    EXPECT_EQ(fleet.ask("GET", path, {}, bearer(manager)).status, 403) << path;
    EXPECT_EQ(fleet.ask("GET", path).status, 200) << path;
  }
}

TEST_F(KeyedGateway, AKeySeesAndUsesItsModelsOnly) {
  const std::string user = add([](KeyRecord& key) { key.models = {"llama3.2"}; });
  TestFleet fleet = start(equal_nodes(1, {chat_model(), chat_model("secret")}));
  const std::string key = bearer(user);
  for (const char* path : {"/api/tags", "/v1/models"}) {
    const std::string body = fleet.ask("GET", path, {}, key).body;
    EXPECT_TRUE(body.contains("llama3.2")) << body;
    EXPECT_FALSE(body.contains("secret")) << body;
  }
  EXPECT_EQ(fleet.ask("POST", "/api/generate", prompt, key).status, 200);
  for (const char* body :
       {R"({"model":"secret","prompt":"a"})", R"({"model":"llama3.2","MODEL":"secret"})",
        R"({"model":"SECRET:latest"})", R"({"model":"nowhere"})", "not JSON", R"(["secret"])"}) {
    const Answer answer = fleet.ask("POST", "/api/generate", body, key);
    EXPECT_EQ(answer.status, 403) << body << " " << answer.body;
  }
  EXPECT_EQ(fleet.ask("POST", "/api/show", R"({"model":"secret"})", key).status, 403);
  EXPECT_EQ(fleet.ask("GET", "/v1/models/secret", {}, key).status, 403);
  EXPECT_EQ(fleet.ask("GET", "/v1/models/llama3.2", {}, key).status, 200);
}

TEST_F(KeyedGateway, RateAndConcurrencyAre429WithRetryAfter) {
  const std::string rated = add([](KeyRecord& key) { key.rate_per_minute = 2; });
  const std::string single = add([](KeyRecord& key) { key.concurrency = 1; });
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.time_scale = 1;
  config.nodes[0].models[0].decode_tokens_per_s = 50;
  TestFleet fleet = start(std::move(config));
  RawClient first(fleet.port());
  first.send(request_text("POST", "/api/generate",
                          R"({"model":"llama3.2","prompt":"a","options":{"num_predict":5000}})",
                          bearer(single)));
  ASSERT_TRUE(fleet.eventually([&] { return fleet.node("a").at("in_flight") == 1; }));
  const Answer second = fleet.ask("POST", "/api/generate", prompt, bearer(single));
  EXPECT_EQ(second.status, 429);
  EXPECT_EQ(second.field("retry-after"), "1");
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(single)).status, 200);
  first.close();  // however a request ends, its place is free again
  EXPECT_TRUE(fleet.eventually([&] {
    return fleet.ask("POST", "/api/generate", short_prompt, bearer(single)).status == 200;
  }));
  for (int i = 0; i < 50; ++i) {  // one after the other, never two at once
    ASSERT_EQ(fleet.ask("POST", "/api/generate", short_prompt, bearer(single)).status, 200) << i;
    ASSERT_EQ(fleet.ask("POST", "/api/embed", R"({"model":"llama3.2","input":"a"})", bearer(single))
                  .status,
              200)
        << i;
  }
  for (const int want : {200, 200, 429}) {
    const Answer answer = fleet.ask("POST", "/api/generate", short_prompt, bearer(rated));
    EXPECT_EQ(answer.status, want);
    if (want == 429) {
      EXPECT_GE(std::stoi("0" + answer.field("retry-after")), 20);
    }
  }
}

TEST_F(KeyedGateway, AReloadTakesKeysInAndOut) {
  const std::string user = add([](KeyRecord&) {});
  gateway::Options again;
  TestFleet fleet =
      start(equal_nodes(1, {chat_model()}), [&](gateway::Options& options) { again = options; });
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(user)).status, 200);
  records.erase(records.begin() + 1);
  const std::string later = add([](KeyRecord&) {});
  save();
  ASSERT_TRUE(fleet.gateway().reload(again).has_value());
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(user)).status, 401);
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(later)).status, 200);
  std::ofstream(folder / "keys.toml") << "[[keys]]\nname = 1\n";
  EXPECT_FALSE(fleet.gateway().reload(again).has_value());
  EXPECT_EQ(fleet.ask("GET", "/api/tags", {}, bearer(later)).status, 200);
}

// ---- without keys: other sites, other names, other addresses

TEST(OtherSites, CannotDriveTheAdminRoutesOrChangeNodes) {
  TestFleet fleet(equal_nodes(1, {chat_model()}), [](gateway::Options& options) {
    options.cors_origins = {"https://panel.example"};
  });
  const std::string node = R"({"url":"http://127.0.0.1:1"})";
  const std::string copy = R"({"source":"llama3.2","destination":"other"})";
  for (const char* fields :
       {"Origin: https://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"}) {
    EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes", node, fields).status, 403) << fields;
    EXPECT_EQ(fleet.ask("GET", "/metrics", {}, fields).status, 403) << fields;
    EXPECT_EQ(fleet.ask("POST", "/api/copy", copy, fields).status, 403) << fields;
  }
  // A page of another program on this machine is another site to the admin routes.
  EXPECT_EQ(fleet.ask("GET", "/sollol/v1/nodes", {}, "Origin: http://localhost:3000\r\n").status,
            403);
  for (const char* fields : {"Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n",
                             "Origin: https://panel.example\r\n", "Sec-Fetch-Site: none\r\n"})
    EXPECT_EQ(fleet.ask("GET", "/sollol/v1/nodes", {}, fields).status, 200) << fields;
  EXPECT_EQ(fleet.ask("GET", "/sollol/v1/nodes").body.contains("127.0.0.1:1\""), false);
}

struct HostRow {
  const char* host;
  bool accepted;
};
class HostField : public testing::TestWithParam<HostRow> {};
TEST_P(HostField, IsAcceptedAsOllamaDoes) {
  gateway::Options options;
  options.access.hosts = {"*.corp.example"};
  EXPECT_EQ(gateway::host_accepted(GetParam().host, options), GetParam().accepted)
      << GetParam().host;
}
INSTANTIATE_TEST_SUITE_P(
    Table, HostField,
    testing::Values(HostRow{"", true}, HostRow{"localhost", true}, HostRow{"LOCALHOST:11434", true},
                    HostRow{"127.0.0.1:11434", true}, HostRow{"[::1]:11434", true},
                    HostRow{"192.168.1.5", true}, HostRow{"gpu.local:80", true},
                    HostRow{"a.localhost", true}, HostRow{"host.docker.internal:11434", true},
                    HostRow{"ai.corp.example:443", true}, HostRow{"evil.example", false},
                    HostRow{"evil.example:11434", false}, HostRow{"local", false},
                    HostRow{".local", false}, HostRow{"8.8.8.8", false},
                    HostRow{"127.0.0.1.evil.example", false},
                    HostRow{"localhost.evil.example", false}));

TEST(Rebinding, AnotherHostIs403OnEveryRouteOfALoopbackGateway) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  for (const char* path : {"/", "/api/tags", "/sollol/v1/nodes", "/metrics", "/nowhere"}) {
    RawClient client(fleet.port());
    client.send("GET " + std::string(path) + " HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    const Answer answer = client.receive();
    EXPECT_EQ(answer.status, 403) << path;
    EXPECT_EQ(answer.body, "") << path;
  }
}

TEST(NodesOverHttp, MayNotBeAtSpecialAddresses) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  for (const char* url : {"http://169.254.169.254", "http://[fe80::1]:80", "http://224.0.0.1",
                          "http://255.255.255.255", "http://[::ffff:169.254.169.254]",
                          "http://[fd00:ec2::254]", "http://100.100.100.200"}) {
    const Answer answer =
        fleet.ask("POST", "/sollol/v1/nodes", R"({"url":")" + std::string(url) + "\"}");
    EXPECT_EQ(answer.status, 403) << url << answer.body;
  }
  const std::string node = R"({"url":"http://127.0.0.1:1"})";
  EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes", node, "X-Forwarded-For: 8.8.8.8\r\n").status,
            403);
  EXPECT_EQ(fleet.ask("POST", "/sollol/v1/nodes", node).status, 201);
}

/// A name is not what is allowed: the address that it leads to is, each time it is connected to.
TEST(NodesOverHttp, ANameThatLeadsElsewhereIsNotConnectedTo) {
  TestFleet fleet(equal_nodes(1, {chat_model()}), [](gateway::Options& options) {
    options.access.node_networks = {net::Network::parse("10.0.0.0/8").value()};
  });
  const std::string url = "http://localhost:" + std::to_string(fleet.node_port("a"));
  // The configured node has another name and the same address; only the added one is checked.
  EXPECT_EQ(
      fleet.ask("POST", "/sollol/v1/nodes", R"({"url":")" + url + R"(","name":"named"})").status,
      201);
  ASSERT_TRUE(fleet.eventually([&] { return fleet.state("named") == "down"; }));
  EXPECT_TRUE(
      std::string(fleet.node("named").at("reason").as_string()).contains("access.node_networks"));
  EXPECT_EQ(fleet.state("a"), "healthy");
}

}  // namespace
}  // namespace sollol::test

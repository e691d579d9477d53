// The library's pool: a gateway inside the program that uses it.
#include "sollol/pool.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "harness.h"

namespace sollol::test {
namespace {

const std::string one_answer = R"({"model":"llama3.2","prompt":"Hello","stream":false})";
const std::string stream = R"({"model":"llama3.2","prompt":"Hello","options":{"num_predict":50}})";

PoolOptions options_of(sim::Fleet& fleet) {
  PoolOptions options;
  for (const std::string& name : fleet.names())
    options.nodes.push_back({.url = fleet.url(name), .name = name});
  return options;
}

CallAnswer ask(Pool& pool, std::string target, std::string body) {
  auto call = pool.call({.target = std::move(target), .body = std::move(body)});
  EXPECT_TRUE(call.has_value()) << call.error().text;
  auto answer = call->finish();
  EXPECT_TRUE(answer.has_value()) << answer.error().text;
  return *answer;
}

boost::json::value get(Pool& pool, std::string target) {
  auto call = pool.call({.method = "GET", .target = std::move(target)});
  return boost::json::parse(call->finish()->body);
}

std::uint64_t in_flight(Pool& pool) {
  return get(pool, "/sollol/v1/status").at("in_flight").to_number<std::uint64_t>();
}

TEST(Pool, AnswersAtOnceWithoutAnAddress) {
  sim::Fleet nodes(equal_nodes(2, {chat_model()}));
  auto pool = Pool::open(options_of(nodes));
  ASSERT_TRUE(pool.has_value()) << pool.error().text;
  const CallAnswer answer = ask(*pool, "/api/generate", one_answer);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(answer.node == "a" || answer.node == "b") << answer.node;
  EXPECT_EQ(last_record(answer.body).at("done"), true);
  EXPECT_EQ(ask(*pool, "/api/generate", R"({"model":"none"})").status, 404);
}

TEST(Pool, StreamsPieceByPieceAndAbandonsWhatIsDropped) {
  sim::ModelSpec slow = chat_model();
  slow.decode_tokens_per_s = 20;
  sim::Fleet nodes(equal_nodes(1, {slow}));
  auto pool = Pool::open(options_of(nodes));
  ASSERT_TRUE(pool.has_value());
  {
    auto call = pool->call({.target = "/api/generate", .body = stream});
    ASSERT_TRUE(call.has_value());
    std::string seen;
    while (std::ranges::count(seen, '\n') < 2) {
      ASSERT_TRUE(call->wait(10));
      const auto state = call->advance();
      ASSERT_TRUE(state.has_value()) << state.error().text;
      ASSERT_NE(*state, Call::State::ended) << seen;
      seen += call->take();
    }
    EXPECT_EQ(call->status(), 200);
    EXPECT_EQ(in_flight(*pool), 1u);
  }
  const auto limit = std::chrono::steady_clock::now() + 10s;
  while (in_flight(*pool) != 0 && std::chrono::steady_clock::now() < limit)
    std::this_thread::yield();
  EXPECT_EQ(in_flight(*pool), 0u);
}

TEST(Pool, AnotherNodeAnswersForOneThatIsDead) {
  sim::Fleet nodes(equal_nodes(1, {chat_model()}));
  PoolOptions options = options_of(nodes);
  options.nodes.insert(options.nodes.begin(), NewNode{.url = "http://127.0.0.1:1", .name = "dead"});
  auto pool = Pool::open(options);
  ASSERT_TRUE(pool.has_value());
  for (int i = 0; i < 3; ++i) EXPECT_EQ(ask(*pool, "/api/generate", one_answer).node, "a");
}

TEST(Pool, ThreadsCallAtOnce) {
  sim::Fleet nodes(equal_nodes(3, {chat_model()}));
  PoolOptions options = options_of(nodes);
  options.workers = 2;
  auto pool = Pool::open(options);
  ASSERT_TRUE(pool.has_value());
  std::atomic<int> answered = 0;
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 8; ++i) {
      threads.emplace_back([&] {
        for (int k = 0; k < 5; ++k)
          answered += ask(*pool, "/api/generate", one_answer).status == 200 ? 1 : 0;
      });
    }
  }
  EXPECT_EQ(answered, 40);
}

TEST(Pool, ItsNodesAreARegistry) {
  sim::Fleet nodes(equal_nodes(2, {chat_model()}));
  auto pool = Pool::open({});
  ASSERT_TRUE(pool.has_value());
  EXPECT_EQ(ask(*pool, "/api/generate", one_answer).status, 503);
  ASSERT_TRUE(pool->nodes().add({.url = nodes.url("a"), .host = "rack"}).has_value());
  ASSERT_TRUE(pool->nodes().add({.url = nodes.url("b"), .host = "attic"}).has_value());
  EXPECT_EQ(ask(*pool, "/api/generate", one_answer).status, 200);
  EXPECT_TRUE(pool->nodes().should_use_parallel_execution(2));
  EXPECT_TRUE(pool->nodes().remove(nodes.url("a")));
  EXPECT_EQ(get(*pool, "/sollol/v1/nodes").at("nodes").as_array().size(), 1u);
}

TEST(Pool, WrongOptionsAreNamed) {
  const auto refused = [](PoolOptions options, std::string_view field) {
    const auto pool = Pool::open(options);
    return !pool.has_value() && pool.error().text.contains(field);
  };
  EXPECT_TRUE(refused({.nodes = {{.url = "ftp://x"}}}, "url"));
  EXPECT_TRUE(refused({.policy = "best"}, "best"));
  EXPECT_TRUE(refused({.workers = 0}, "workers"));
}

TEST(Pool, AFieldThatWouldEndTheHeadIsRefused) {
  auto pool = Pool::open({});
  EXPECT_FALSE(pool->call({.target = "/api/tags\r\nX: y"}).has_value());
  EXPECT_FALSE(pool->call({.target = "/api/tags", .fields = {{"X-A", "b\nX-C: d"}}}).has_value());
}

TEST(Pool, ACallThatOutlivesItsPoolBreaksOff) {
  sim::ModelSpec slow = chat_model();
  slow.decode_tokens_per_s = 5;
  sim::Fleet nodes(equal_nodes(1, {slow}));
  std::optional<Call> call;
  {
    auto pool = Pool::open(options_of(nodes));
    auto begun = pool->call({.target = "/api/generate", .body = stream});
    ASSERT_TRUE(begun.has_value());
    while (begun->status() == 0) {
      ASSERT_TRUE(begun->wait(10));
      ASSERT_TRUE(begun->advance().has_value());
    }
    call = std::move(*begun);
  }
  EXPECT_FALSE(call->finish().has_value());
}

TEST(CallBatch, RunsAllOverAllNodesNeverMoreThanItsWidth) {
  sim::Fleet nodes(equal_nodes(2, {chat_model()}));
  auto pool = Pool::open(options_of(nodes));
  ASSERT_TRUE(pool.has_value());
  CallBatch batch([&](CallRequest request) { return pool->call(std::move(request)); }, 4);
  for (std::uint64_t i = 0; i < 20; ++i) {
    batch.add(i, {.target = "/api/generate",
                  .body = i == 7 ? std::string(R"({"model":"none"})") : one_answer});
  }
  EXPECT_FALSE(batch.has_room());
  std::set<std::uint64_t> seen;
  std::set<std::string> by;
  while (!batch.empty()) {
    const auto done = batch.next(10);
    if (!done) continue;
    ASSERT_TRUE(done->answer.has_value()) << done->answer.error().text;
    EXPECT_EQ(done->answer->status, done->tag == 7 ? 404 : 200) << done->answer->body;
    if (done->tag != 7) by.insert(done->answer->node);
    EXPECT_TRUE(seen.insert(done->tag).second);
    EXPECT_LE(in_flight(*pool), 4u);
  }
  EXPECT_EQ(seen.size(), 20u);
  EXPECT_EQ(by, (std::set<std::string>{"a", "b"}));
}

TEST(GatewayClient, AsksAGatewayThatRuns) {
  TestFleet fleet(equal_nodes(1, {chat_model()}));
  auto client = GatewayClient::open("http://localhost:" + std::to_string(fleet.port()));
  ASSERT_TRUE(client.has_value()) << client.error().text;
  for (int i = 0; i < 2; ++i) {
    auto call = client->call({.target = "/api/generate", .body = one_answer});
    ASSERT_TRUE(call.has_value()) << call.error().text;
    const auto answer = call->finish();
    ASSERT_TRUE(answer.has_value()) << answer.error().text;
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->node, "a");
  }
  EXPECT_FALSE(GatewayClient::open("https://localhost:1").has_value());
  const auto nobody = GatewayClient::open("http://127.0.0.1:1");
  ASSERT_FALSE(nobody.has_value());
  EXPECT_TRUE(nobody.error().unreachable);
  EXPECT_TRUE(nobody.error().text.contains("sollol up")) << nobody.error().text;
}

TEST(NodeRegistryLibrary, ChecksAndLetsGoOfWhoFailsTooOften) {
  sim::Fleet nodes(equal_nodes(1, {chat_model()}));
  NodeRegistry registry;
  ASSERT_TRUE(registry.add({.url = nodes.url("a")}));
  ASSERT_TRUE(registry.add({.url = "http://127.0.0.1:1", .name = "dead", .auto_probe = false}));
  for (unsigned round = 1; round <= 2; ++round) {
    const auto checked = registry.check({.remove = true, .failures_max = 2});
    ASSERT_EQ(checked.size(), 2u);
    EXPECT_EQ(checked[0].failed_checks, 0u);
    EXPECT_EQ(checked[0].checked_round_trips_s.size(), round);
    EXPECT_EQ(checked[1].failed_checks, round);
  }
  ASSERT_EQ(registry.list().size(), 1u);
  EXPECT_EQ(registry.list()[0].url, nodes.url("a"));
}

}  // namespace
}  // namespace sollol::test

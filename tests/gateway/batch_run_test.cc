// The library's batch over real sockets: a pool or a gateway, simulated nodes.
#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <thread>

#include "discovery/temporary_folder.h"
#include "harness.h"
#include "sollol/batch.h"
#include "sollol/pool.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

/// Ends its answers only where it is told to.
sim::ModelSpec long_model() {
  sim::ModelSpec model = chat_model();
  model.answer_tokens = 100'000;
  return model;
}

class BatchRunTest : public testing::Test {
 protected:
  void write(const std::vector<std::string>& lines) {
    std::ofstream file(folder_ / "in");
    for (const std::string& line : lines) file << line << '\n';
  }
  static std::string prompt(int number, int tokens) {
    return json::serialize(json::object{{"model", "llama3.2"},
                                        {"prompt", "line " + std::to_string(number)},
                                        {"options", {{"num_predict", tokens}}}});
  }
  BatchOptions options() const { return {.input = folder_ / "in", .output = folder_ / "out"}; }
  std::vector<json::object> results() const {
    std::ifstream file(folder_ / "out");
    std::vector<json::object> all;
    for (std::string line; std::getline(file, line);) all.push_back(json::parse(line).as_object());
    return all;
  }
  /// A pool whose nodes are machines of their own, by the operator's word; without that, all of
  /// them are on this one.
  enum class Machines : std::uint8_t { own, shared };
  static Pool pool_of(sim::Fleet& fleet, Machines machines = Machines::own) {
    PoolOptions wanted;
    for (const std::string& name : fleet.names()) {
      wanted.nodes.push_back({.url = fleet.url(name),
                              .name = name,
                              .host = machines == Machines::own ? name : std::string(),
                              .slots = 1});
    }
    auto pool = Pool::open(wanted);
    EXPECT_TRUE(pool.has_value());
    return std::move(*pool);
  }
  static CallStarter starter(Pool& pool) {
    return [&pool](CallRequest request) { return pool.call(std::move(request)); };
  }
  static CallStarter starter(GatewayClient& gateway) {
    return [&gateway](CallRequest request) { return gateway.call(std::move(request)); };
  }
  TemporaryFolder folder_;
};

std::string word(const json::object& record, std::string_view key) {
  return std::string(record.at(key).as_string());
}

TEST_F(BatchRunTest, AnswersAllLinesInOrderOverAllNodes) {
  sim::Fleet nodes(equal_nodes(3, {long_model()}));
  Pool pool = pool_of(nodes);
  std::vector<std::string> lines;
  for (int i = 0; i < 60; ++i) lines.push_back(prompt(i, 5 + i % 7 * 10));
  write(lines);
  const auto report = run_batch(options(), starter(pool));
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->stopped, "");
  EXPECT_EQ(report->progress.done, 60u);
  EXPECT_EQ(report->progress.failed, 0u);
  EXPECT_EQ(report->progress.shares.size(), 3u);
  const auto all = results();
  ASSERT_EQ(all.size(), 60u);
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_EQ(all[i].at("line").to_number<std::size_t>(), i + 1);
    EXPECT_EQ(all[i].at("usage").at("output_tokens").to_number<std::size_t>(), 5 + i % 7 * 10);
  }
}

TEST_F(BatchRunTest, ALongListToEmbedGoesToAllNodesAndComesBackInOrder) {
  sim::Fleet nodes(equal_nodes(2, {embedding_model()}));
  Pool pool = pool_of(nodes);
  json::array texts;
  for (int i = 0; i < 200; ++i) texts.emplace_back("text number " + std::to_string(i));
  const std::string model = embedding_model().name;
  write({json::serialize(json::object{{"model", model}, {"input", texts}})});
  ASSERT_TRUE(run_batch(options(), starter(pool)).has_value());
  const auto all = results();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(std::set<std::string>({"a, b", "b, a"}).count(word(all[0], "node")), 1u);
  const json::array& vectors = all[0].at("response").at("embeddings").as_array();
  ASSERT_EQ(vectors.size(), 200u);
  for (const int index : {0, 15, 16, 199}) {
    const json::object body{{"model", model}, {"input", texts[static_cast<std::size_t>(index)]}};
    auto call = pool.call({.target = "/api/embed", .body = json::serialize(body)});
    const json::value alone = json::parse(call->finish()->body);
    EXPECT_EQ(alone.at("embeddings").at(0), vectors[static_cast<std::size_t>(index)]) << index;
  }
}

TEST_F(BatchRunTest, TheLastTaskOfASlowNodeIsAskedAtAFastOneAndTheLoserIsCancelled) {
  sim::FleetConfig config = equal_nodes(2, {long_model()});
  config.nodes[1].models[0].decode_tokens_per_s = 0.5;  // "b" would take minutes
  sim::Fleet nodes(std::move(config));
  Pool pool = pool_of(nodes);
  std::vector<std::string> lines;
  for (int i = 0; i < 12; ++i) lines.push_back(prompt(i, 40));
  write(lines);
  const auto report = run_batch(options(), starter(pool));
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->progress.done, 12u);
  EXPECT_GE(report->progress.hedges, 1u);
  for (const json::object& result : results()) EXPECT_EQ(word(result, "node"), "a");
  EXPECT_TRUE(nodes.wait_until([&] { return nodes.counters("b").client_gone >= 1; }));
}

TEST_F(BatchRunTest, InteractiveRequestsOvertakeABatch) {
  sim::ModelSpec model = long_model();
  model.decode_tokens_per_s = 100;
  sim::FleetConfig config = equal_nodes(1, {model});
  config.nodes[0].slots = 1;
  TestFleet fleet(std::move(config), [](gateway::Options& changed) {
    for (auto& node : changed.nodes) node.slots = 1;
  });
  auto client = GatewayClient::open("http://127.0.0.1:" + std::to_string(fleet.port()));
  ASSERT_TRUE(client.has_value());
  std::vector<std::string> lines;
  for (int i = 0; i < 10; ++i) lines.push_back(prompt(i, 50));
  write(lines);
  BatchOptions wanted = options();
  wanted.concurrency = 10;  // nine wait at the gateway
  std::optional<Call> interactive;
  std::size_t done_when_sent = 0;
  std::optional<std::size_t> done_when_answered;
  const auto report = run_batch(wanted, starter(*client), [&](const BatchProgress& at) {
    if (!interactive && at.done >= 2) {
      auto call = client->call({.target = "/api/generate", .body = prompt(99, 2)});
      EXPECT_TRUE(call.has_value());
      interactive = std::move(*call);
      done_when_sent = at.done;
    } else if (interactive && !done_when_answered) {
      const auto state = interactive->advance();
      EXPECT_TRUE(state.has_value());
      if (state && *state != Call::State::sending && *state != Call::State::waiting)
        done_when_answered = at.done;
    }
    return BatchWish::go_on;
  });
  ASSERT_TRUE(report.has_value());
  ASSERT_TRUE(done_when_answered.has_value()) << "it came after the whole batch";
  // The one that was running, and perhaps the next while this thread did not look.
  EXPECT_LE(*done_when_answered, done_when_sent + 2);
}

TEST_F(BatchRunTest, NodesThatShareAMachineAreTriedAloneAndTogether) {
  // On loopback all are this machine's: the advice is sequential, and it is wrong here.
  sim::Fleet nodes(equal_nodes(2, {long_model()}));
  Pool pool = pool_of(nodes, Machines::shared);
  std::vector<std::string> lines;
  for (int i = 0; i < 30; ++i) lines.push_back(prompt(i, 200));
  write(lines);
  std::vector<std::string> told;
  const auto report = run_batch(options(), starter(pool), [&](const BatchProgress& at) {
    if (told.empty() || told.back() != at.width) told.push_back(at.width);
    return BatchWish::go_on;
  });
  ASSERT_TRUE(report.has_value());
  EXPECT_EQ(report->progress.done, 30u);
  ASSERT_GE(told.size(), 2u);
  EXPECT_TRUE(told[0].starts_with("one at a time at first, then 2 at once")) << told[0];
  EXPECT_TRUE(told.back().starts_with("wide: ")) << told.back();
  EXPECT_TRUE(told.back().contains("as measured")) << told.back();
}

TEST_F(BatchRunTest, ANodeThatIsKeptBusyAndDiesLosesNothing) {
  sim::Fleet nodes(equal_nodes(2, {long_model()}));
  Pool pool = pool_of(nodes, Machines::shared);
  std::vector<std::string> lines;
  for (int i = 0; i < 40; ++i) lines.push_back(prompt(i, 200));
  write(lines);
  bool killed = false;
  const auto report = run_batch(options(), starter(pool), [&](const BatchProgress& at) {
    if (!killed && at.width.starts_with("wide: ")) {
      nodes.kill(nodes.names().front());
      killed = true;
    }
    return BatchWish::go_on;
  });
  ASSERT_TRUE(report.has_value());
  EXPECT_TRUE(killed);
  EXPECT_EQ(report->progress.done, 40u);
  EXPECT_EQ(report->progress.failed, 0u);
  EXPECT_EQ(results().size(), 40u);
}

TEST_F(BatchRunTest, WhatTheWatcherWantsIsDoneAndTheRestGoesOn) {
  sim::Fleet nodes(equal_nodes(1, {long_model()}));
  Pool pool = pool_of(nodes);
  std::vector<std::string> lines;
  for (int i = 0; i < 20; ++i) lines.push_back(prompt(i, 20));
  write(lines);
  const auto first = run_batch(options(), starter(pool), [](const BatchProgress& at) {
    return at.done >= 3 ? BatchWish::finish : BatchWish::go_on;
  });
  ASSERT_TRUE(first.has_value());
  EXPECT_NE(first->stopped, "");
  const std::size_t done = first->progress.done;
  EXPECT_LT(done, 20u);
  const auto second = run_batch(options(), starter(pool));
  ASSERT_TRUE(second.has_value());
  EXPECT_EQ(second->progress.resumed, done);
  EXPECT_EQ(second->progress.done, 20u);
  const auto third = run_batch(options(), starter(pool));
  ASSERT_TRUE(third.has_value());
  EXPECT_EQ(third->progress.resumed, 20u);
  // The load is a generation too.
  EXPECT_EQ(nodes.counters("a").of("POST /api/generate"), 20u + nodes.counters("a").model.loads);
}

TEST_F(BatchRunTest, AGatewayThatTellsNothingIsAskedAllTheSame) {
  sim::Fleet nodes(equal_nodes(2, {long_model()}));
  Pool pool = pool_of(nodes);
  std::vector<std::string> lines;
  for (int i = 0; i < 20; ++i) lines.push_back(prompt(i, 5));
  write(lines);
  const CallStarter deaf = [&pool](CallRequest request) {
    if (request.target.starts_with("/sollol/")) request.target = "/none";
    return pool.call(std::move(request));
  };
  const auto report = run_batch(options(), deaf);
  ASSERT_TRUE(report.has_value()) << report.error().text;
  EXPECT_EQ(report->progress.done, 20u);
  EXPECT_TRUE(report->progress.width.contains("does not tell")) << report->progress.width;
}

TEST_F(BatchRunTest, NoUsableNodeIsToldBeforeAnythingIsAsked) {
  auto pool = Pool::open({.nodes = {{.url = "http://127.0.0.1:1", .name = "dead"}}});
  ASSERT_TRUE(pool.has_value());
  write({prompt(1, 5)});
  const auto report = run_batch(options(), starter(*pool));
  ASSERT_FALSE(report.has_value());
  EXPECT_TRUE(report.error().unreachable);
}

}  // namespace
}  // namespace sollol::test

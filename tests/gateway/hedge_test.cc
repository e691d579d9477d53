// Hedges: a second node is asked in parallel where the first is unusually late.
#include <gtest/gtest.h>

#include <memory>
#include <thread>
#include <vector>

#include "cluster/retry_budget.h"
#include "harness.h"
#include "inference_calls.h"

namespace sollol::test {
namespace {

using sim::FaultKind;
using sim::FaultSpec;

const std::string embed = R"({"model":"nomic-embed-text","input":"Hello"})";

constexpr int reserve = cluster::RetryBudget::reserve_default;

/// Late by far, and answering in the end.
const FaultSpec late_once{.kind = FaultKind::slow, .factor = 400, .count = 1};

std::string generate(unsigned tokens = 4, std::string_view more = {}) {
  return R"({"model":"llama3.2","prompt":"Hello","stream":false,"options":{"num_predict":)" +
         std::to_string(tokens) + "}" + std::string(more) + "}";
}

/// Equal nodes of which "a" is always asked first. Some milliseconds are usual, 400 times as much
/// is some seconds.
class HedgedFleet : public TestFleet {
 public:
  using Setup = std::function<void(sim::FleetConfig&)>;
  explicit HedgedFleet(unsigned count = 2, const Change& change = {}, const Setup& config = {})
      : TestFleet(configured(count, config), [&change](gateway::Options& options) {
          options.policy = routing::Policy::priority;
          options.hedge.enabled = true;
          options.hedge.delay_min = 1ms;
          options.hedge.budget_percent = 100;
          if (change) change(options);
        }) {}

  /// Has every node load the models and "a" tell what is usual for each of the calls. On a busy
  /// machine that may change meanwhile, and is found out anew. `learnt`: false where such calls are
  /// not to be hedged, of which nothing is learnt.
  void warm_up(const std::vector<std::pair<std::string, std::string>>& calls, bool learnt = true) {
    constexpr int requests_max = 200;
    for (const auto& [target, body] : calls) {
      for (const std::string& name : nodes().names())
        ASSERT_EQ(ask("POST", target, body, "X-Sollol-Node: " + name + "\r\n").status, 200);
      const std::string model(boost::json::parse(body).at("model").as_string());
      for (int i = 0; i < 10 || (learnt && late_factor(model) == 0); ++i) {
        ASSERT_LT(i, requests_max) << "what is usual stays unknown";
        ASSERT_EQ(ask("POST", target, body).status, 200);
      }
    }
  }
  /// Of the model at "a".
  double late_factor(const std::string& model) {
    for (const auto& known : node("a").at("models").as_array()) {
      if (known.at("name").as_string().starts_with(model))
        return known.at("late_factor").to_number<double>();
    }
    return 0;
  }
  double metric(const std::string& name) {
    const std::string text = ask("GET", "/metrics").body;
    const auto at = text.find("\n" + name + " ");
    return at == std::string::npos ? -1 : std::stod(text.substr(at + name.size() + 2));
  }
  double hedges(const std::string& outcome) {
    return metric("sollol_hedges_total{outcome=\"" + outcome + "\"}");
  }
  std::uint64_t in_flight() {
    return node("a").at("in_flight").to_number<std::uint64_t>() +
           node("b").at("in_flight").to_number<std::uint64_t>();
  }
  std::uint64_t asked(std::string_view name, std::string_view path) {
    return nodes().counters(name).of("POST " + std::string(path));
  }
  std::unique_ptr<RawClient> begin(std::string_view target, std::string_view body) {
    auto client = std::make_unique<RawClient>(port());
    client->send(request_text("POST", target, body));
    return client;
  }
  /// The first node falls silent and then dies, the second answers with an error meanwhile.
  std::unique_ptr<RawClient> begin_where_both_fail() {
    warm_up({{"/api/embed", embed}});
    nodes().set_fault("a", {.kind = FaultKind::stall, .count = 1});
    nodes().set_fault("b", {.kind = FaultKind::error, .count = 1});
    auto client = begin("/api/embed", embed);
    EXPECT_TRUE(nodes().wait_until([&] { return nodes().counters("b").faults == 1; }));
    nodes().kill("a");
    return client;
  }

 private:
  static sim::FleetConfig configured(unsigned count, const Setup& change) {
    sim::FleetConfig config = equal_nodes(count, {chat_model(), embedding_model()});
    config.time_scale = 1;
    for (sim::NodeSpec& node : config.nodes) {
      for (sim::ModelSpec& model : node.models) model.load_time = 1ms;
    }
    if (change) change(config);
    return config;
  }
};

struct CallCase {
  const char* name;
  const char* target;
  std::string body;
};
const std::string messages = R"("messages":[{"role":"user","content":"Hello"}])";
std::vector<CallCase> short_calls() {
  const std::string chat = R"({"model":"llama3.2","stream":false,)" + messages;
  return {
      {"embed", "/api/embed", embed},
      {"embeddings", "/api/embeddings", R"({"model":"nomic-embed-text","prompt":"Hello"})"},
      {"openai_embeddings", "/v1/embeddings", embed},
      {"generate", "/api/generate", generate()},
      {"chat", "/api/chat", chat + R"(,"options":{"num_predict":4}})"},
      {"chat_completions", "/v1/chat/completions", chat + R"(,"max_tokens":4})"},
      {"completions", "/v1/completions", R"({"model":"llama3.2","prompt":"Hello","max_tokens":4})"},
      {"messages", "/v1/messages", chat + R"(,"max_tokens":4})"}};
}

class HedgedCall : public testing::TestWithParam<CallCase> {};

TEST_P(HedgedCall, IsAnsweredByTheSecondNodeWhenTheFirstIsSilent) {
  HedgedFleet fleet;
  const auto& [name, target, body] = GetParam();
  fleet.warm_up({{target, body}});
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .count = 1});
  const auto failures_before = fleet.node("a").at("failures");
  const Answer answer = fleet.ask("POST", target, body, "X-Sollol-Explain: 1\r\n");
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
  EXPECT_EQ(answer.field("x-sollol-reason"), "hedge");
  EXPECT_TRUE(fleet.nodes().wait_until([&] {
    return fleet.nodes().counters("a").client_gone == 1;
  })) << "the loser is not told";
  EXPECT_TRUE(fleet.eventually([&] { return fleet.in_flight() == 0; }));
  EXPECT_EQ(fleet.state("a"), "healthy");
  EXPECT_EQ(fleet.node("a").at("failures"), failures_before);
  EXPECT_EQ(fleet.hedges("won"), 1);
  EXPECT_EQ(fleet.metric("sollol_retries_total"), 0);
  const Answer decisions = fleet.ask("GET", "/sollol/v1/decisions");
  EXPECT_TRUE(decisions.body.contains("\"reason\":\"hedge\"")) << decisions.body;
}
INSTANTIATE_TEST_SUITE_P(Apis, HedgedCall, testing::ValuesIn(short_calls()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Hedge, IsGivenUpWhereTheFirstAnswersAfterAll) {
  HedgedFleet fleet;
  fleet.warm_up({{"/api/embed", embed}});
  fleet.nodes().set_fault("a", late_once);
  fleet.nodes().set_fault("b", {.kind = FaultKind::stall, .count = 1});
  const Answer answer = fleet.ask("POST", "/api/embed", embed);
  EXPECT_EQ(answer.status, 200);
  EXPECT_EQ(answer.field("x-sollol-node"), "a");
  EXPECT_TRUE(
      fleet.nodes().wait_until([&] { return fleet.nodes().counters("b").client_gone == 1; }));
  EXPECT_TRUE(fleet.eventually([&] { return fleet.in_flight() == 0; }));
  EXPECT_EQ(fleet.hedges("lost"), 1);
  EXPECT_EQ(fleet.state("b"), "healthy");
}

struct UnhedgedCase {
  const char* name;
  std::string target;
  std::string body;
  std::string fields = {};
  TestFleet::Change change = {};
  HedgedFleet::Setup config = {};
  bool learnt = true;
};
void PrintTo(const UnhedgedCase& row, std::ostream* out) { *out << row.name; }

class Unhedged : public testing::TestWithParam<UnhedgedCase> {};

/// The late first node answers, and the second is never asked.
TEST_P(Unhedged, WaitsForItsNode) {
  const UnhedgedCase& row = GetParam();
  HedgedFleet fleet(2, row.change, row.config);
  fleet.warm_up({{"/api/embed", embed}, {"/api/generate", generate()}}, row.learnt);
  const auto before = fleet.asked("b", row.target);
  fleet.nodes().set_fault("a", late_once);
  const Answer answer = fleet.ask("POST", row.target, row.body, row.fields);
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "a");
  EXPECT_EQ(fleet.asked("b", row.target), before);
  EXPECT_EQ(fleet.hedges("won") + fleet.hedges("lost") + fleet.hedges("failed"), 0);
}
INSTANTIATE_TEST_SUITE_P(
    Requests, Unhedged,
    testing::Values(UnhedgedCase{"turned_off_as_by_default",
                                 "/api/embed",
                                 embed,
                                 "",
                                 [](gateway::Options& options) {
                                   options.hedge.enabled = routing::HedgeOptions{}.enabled;
                                 },
                                 {},
                                 false},
                    UnhedgedCase{
                        "streamed", "/api/generate",
                        R"({"model":"llama3.2","prompt":"Hello","options":{"num_predict":4}})"},
                    UnhedgedCase{"long_answer",
                                 "/api/generate",
                                 generate(200, R"(,"raw":true)"),
                                 "",
                                 [](gateway::Options& options) { options.hedge.tokens_max = 3; },
                                 {},
                                 false},
                    UnhedgedCase{"pinned", "/api/embed", embed, "X-Sollol-Node: a\r\n"},
                    UnhedgedCase{"batch", "/api/embed", embed, "X-Sollol-Priority: batch\r\n"},
                    UnhedgedCase{"unloads", "/api/generate", generate(4, R"(,"keep_alive":0)")},
                    UnhedgedCase{"other_options_there", "/api/generate",
                                 R"({"model":"llama3.2","prompt":"Hello","stream":false,)"
                                 R"("options":{"num_predict":4,"num_ctx":2048}})"},
                    UnhedgedCase{"worse_tier", "/api/embed", embed, "",
                                 [](gateway::Options& options) { options.nodes[1].tier = 1; }},
                    UnhedgedCase{"another_digest",
                                 "/api/embed",
                                 embed,
                                 "",
                                 {},
                                 [](sim::FleetConfig& config) {
                                   config.nodes[1].models[1].digest = std::string(64, '7');
                                 }}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Hedge, NeverLoadsAModel) {
  HedgedFleet fleet;
  for (int i = 0; i < 12; ++i)
    ASSERT_EQ(fleet.ask("POST", "/api/embed", embed).field("x-sollol-node"), "a");
  fleet.nodes().set_fault("a", late_once);
  EXPECT_EQ(fleet.ask("POST", "/api/embed", embed).field("x-sollol-node"), "a");
  EXPECT_EQ(fleet.nodes().counters("b").model.loads, 0u);
}

TEST(Hedge, IsWithheldOnceItsBudgetIsSpent) {
  HedgedFleet fleet(2, [](gateway::Options& options) { options.hedge.budget_percent = 0; });
  fleet.warm_up({{"/api/embed", embed}});
  fleet.nodes().set_fault("a", {.kind = FaultKind::slow, .factor = 400});
  for (int i = 0; i < reserve; ++i)
    EXPECT_EQ(fleet.ask("POST", "/api/embed", embed).field("x-sollol-node"), "b") << i;
  EXPECT_EQ(fleet.ask("POST", "/api/embed", embed).field("x-sollol-node"), "a");
  EXPECT_EQ(fleet.hedges("won"), reserve);
  EXPECT_EQ(fleet.metric("sollol_hedges_withheld_total"), 1);
}

TEST(Hedge, GoesToAnotherMachineWhereThereIsOne) {
  HedgedFleet fleet(
      3,
      [](gateway::Options& options) {
        options.nodes[0].machine = options.nodes[1].machine = "box";
        options.nodes[2].machine = "other";
      },
      [](sim::FleetConfig& config) { config.nodes[2].models[1].prefill_tokens_per_s /= 4; });
  fleet.warm_up({{"/api/embed", embed}});
  ASSERT_TRUE(fleet.eventually([&] {
    return fleet.node("b").at("machine") == "box" && fleet.node("c").at("machine") == "other";
  }));
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .count = 1});
  EXPECT_EQ(fleet.ask("POST", "/api/embed", embed).field("x-sollol-node"), "c") << "the slower one";
}

TEST(Hedge, IsTheFailoverWhenTheFirstNodeDies) {
  HedgedFleet fleet;
  fleet.warm_up({{"/api/embed", embed}});
  const auto before = fleet.asked("b", "/api/embed");
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .count = 1});
  fleet.nodes().set_fault("b", late_once);
  auto client = fleet.begin("/api/embed", embed);
  ASSERT_TRUE(fleet.nodes().wait_until([&] { return fleet.asked("b", "/api/embed") > before; }));
  fleet.nodes().kill("a");
  const Answer answer = client->receive();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
  EXPECT_EQ(fleet.asked("b", "/api/embed"), before + 1);
  EXPECT_EQ(fleet.metric("sollol_retries_total"), 0);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("a") == "down"; }));
}

TEST(Hedge, ThatFailsWithTheFirstIsFollowedByARetry) {
  HedgedFleet fleet(3, [](gateway::Options& options) { options.nodes[2].tier = 1; });
  const auto client = fleet.begin_where_both_fail();
  const Answer answer = client->receive();
  EXPECT_EQ(answer.status, 200) << answer.body;
  EXPECT_EQ(answer.field("x-sollol-node"), "c");
  EXPECT_EQ(fleet.hedges("failed"), 1);
  EXPECT_EQ(fleet.metric("sollol_retries_total"), 1);
}

TEST(Hedge, BothNodesFailingIsOneError) {
  HedgedFleet fleet;
  const auto client = fleet.begin_where_both_fail();
  const Answer answer = client->receive();
  EXPECT_EQ(answer.status, 502) << answer.body;
  EXPECT_TRUE(answer.body.starts_with("{\"error\":\"")) << answer.body;
  client->send(request_text("GET", "/api/version"));
  EXPECT_TRUE(client->receive().body.starts_with("{\"version\""));
}

TEST(Hedge, BothAreCancelledWhenTheClientLeaves) {
  HedgedFleet fleet;
  fleet.warm_up({{"/api/embed", embed}});
  const auto before = fleet.metric("sollol_client_disconnects_total");
  for (const char* name : {"a", "b"}) fleet.nodes().set_fault(name, {.kind = FaultKind::stall});
  auto client = fleet.begin("/api/embed", embed);
  ASSERT_TRUE(fleet.nodes().wait_until([&] { return fleet.nodes().counters("b").faults == 1; }));
  client->close();
  EXPECT_TRUE(fleet.nodes().wait_until([&] {
    return fleet.nodes().counters("a").client_gone == 1 &&
           fleet.nodes().counters("b").client_gone == 1;
  }));
  EXPECT_TRUE(fleet.eventually([&] { return fleet.in_flight() == 0; }));
  EXPECT_TRUE(fleet.eventually([&] { return fleet.hedges("left") == 1; }));
  EXPECT_EQ(fleet.metric("sollol_client_disconnects_total"), before + 1);
  EXPECT_EQ(fleet.state("a"), "healthy");
  EXPECT_EQ(fleet.state("b"), "healthy");
}

TEST(Hedge, BothAreEndedWhenTheGatewayStops) {
  HedgedFleet fleet;
  fleet.warm_up({{"/api/embed", embed}});
  for (const char* name : {"a", "b"}) fleet.nodes().set_fault(name, {.kind = FaultKind::stall});
  auto client = fleet.begin("/api/embed", embed);
  ASSERT_TRUE(fleet.nodes().wait_until([&] { return fleet.nodes().counters("b").faults == 1; }));
  fleet.gateway().drain();
  fleet.gateway().end_running();
  const Answer answer = client->receive();
  EXPECT_EQ(answer.status, 503) << answer.body;
  EXPECT_TRUE(answer.complete);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.gateway().drained(); }));
}

TEST(Hedge, UnderWayDoesNotOutliveAGatewayThatIsDropped) {
  std::unique_ptr<RawClient> client;
  {
    HedgedFleet fleet;
    fleet.warm_up({{"/api/embed", embed}});
    for (const char* name : {"a", "b"}) fleet.nodes().set_fault(name, {.kind = FaultKind::stall});
    client = fleet.begin("/api/embed", embed);
    ASSERT_TRUE(fleet.nodes().wait_until([&] { return fleet.nodes().counters("b").faults == 1; }));
  }
  client->closed();
  EXPECT_FALSE(client->silent());
}

TEST(Hedge, ThatWinsWithALargeAnswerGivesItWhole) {
  std::string inputs;
  for (int i = 0; i < 400; ++i) inputs += (i == 0 ? "\"" : ",\"") + std::to_string(i) + "\"";
  const std::string body = R"({"model":"nomic-embed-text","input":[)" + inputs + "]}";
  HedgedFleet fleet(2, {}, [](sim::FleetConfig& config) {
    for (auto& node : config.nodes) {
      node.models[1].embedding_length = 512;
      node.models[1].prefill_tokens_per_s = 100'000;
    }
  });
  fleet.warm_up({{"/api/embed", body}});
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall, .count = 1});
  const Answer answer = fleet.ask("POST", "/api/embed", body);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.field("x-sollol-node"), "b");
  EXPECT_GT(answer.body.size(), std::size_t{1} << 20);
  EXPECT_EQ(boost::json::parse(answer.body).at("embeddings").as_array().size(), 400u);
  EXPECT_TRUE(
      fleet.nodes().wait_until([&] { return fleet.nodes().counters("a").client_gone == 1; }));
}

/// Faults that a whole answer meets.
constexpr FaultKind faults_of_answers[] = {FaultKind::reset_after_head,
                                           FaultKind::die_after_tokens,
                                           FaultKind::end_after_tokens,
                                           FaultKind::error,
                                           FaultKind::busy,
                                           FaultKind::content_type,
                                           FaultKind::garbage,
                                           FaultKind::empty,
                                           FaultKind::half_close,
                                           FaultKind::cut_in_chunk,
                                           FaultKind::bad_chunk,
                                           FaultKind::long_length,
                                           FaultKind::short_length,
                                           FaultKind::stall};

class FaultyHedge : public testing::TestWithParam<FaultKind> {};

bool is_hedged(const InferenceCall& call) {
  return !call.streams() && call.kind != InferenceCall::Kind::responses &&
         call.kind != InferenceCall::Kind::transcriptions;
}

/// The promises of the fault matrix, with the fault at the second node and the first late: for
/// every route one right answer, and nothing after it.
TEST_P(FaultyHedge, IsNotTheAnswer) {
  std::uint64_t met = 0;
  for (const InferenceCall& call : inference_calls()) {
    if (!is_hedged(call)) continue;
    SCOPED_TRACE(call.name);
    HedgedFleet fleet(2, [](gateway::Options& options) { options.hedge.tokens_max = 1000; });
    const std::string model = call.has_tokens() ? "llama3.2" : "nomic-embed-text";
    fleet.ask("POST", call.has_tokens() ? "/api/generate" : "/api/embed",
              R"({"model":")" + model + "\"}", "X-Sollol-Node: b\r\n");
    RawClient client(fleet.port());
    std::string words;
    for (int i = 0; i < 10; ++i) {
      client.send(call.request(model));
      words = read_answer(call, client.receive()).words;
    }
    fleet.nodes().set_fault(
        "a", {.kind = FaultKind::slow, .factor = call.has_tokens() ? 8. : 400., .count = 1});
    fleet.nodes().set_fault("b", {.kind = GetParam(), .tokens = 1, .count = 1});
    client.send(call.request(model));
    const Reading reading = read_answer(call, client.receive());
    EXPECT_EQ(reading.seen, Seen::whole) << text(reading.seen) << " " << reading.problem;
    EXPECT_EQ(reading.words, words);
    met += fleet.nodes().counters("b").faults;
    client.send(request_text("GET", "/api/version"));
    EXPECT_TRUE(client.receive().body.starts_with("{\"version\"")) << "a second answer follows";
    EXPECT_TRUE(fleet.eventually([&] { return fleet.in_flight() == 0; }));
  }
  // What is late is learnt from real times: on a machine that is busy elsewhere one may not be.
  EXPECT_GT(met, 0u);
}
INSTANTIATE_TEST_SUITE_P(Faults, FaultyHedge, testing::ValuesIn(faults_of_answers),
                         [](const auto& row) {
                           return "fault_" + std::to_string(static_cast<int>(row.param));
                         });

/// Nodes that are late, break off or fall silent at random: every request has one answer, its own.
TEST(Hedge, NeverGivesTwoAnswersNorAnothers) {
  HedgedFleet fleet(3);
  fleet.warm_up({{"/api/embed", embed}});
  const auto body_of = [](int who, int i) {
    return R"({"model":"nomic-embed-text","input":"number )" + std::to_string(who * 1000 + i) +
           "\"}";
  };
  const auto vector_of = [](const Answer& answer) {
    return boost::json::serialize(boost::json::parse(answer.body).at("embeddings"));
  };
  std::vector<FaultSpec> faults{{.kind = FaultKind::slow, .factor = 60, .probability = 0.2},
                                {.kind = FaultKind::reset_after_head, .probability = 0.02},
                                {.kind = FaultKind::cut_in_chunk, .probability = 0.02}};
  for (const char* name : {"a", "b"}) fleet.nodes().set_faults(name, faults);
  std::vector<std::jthread> clients;
  for (int who = 0; who < 4; ++who) {
    clients.emplace_back([&, who] {
      RawClient client(fleet.port());
      RawClient direct(fleet.node_port("c"));
      for (int i = 0; i < 60; ++i) {
        const std::string request = request_text("POST", "/api/embed", body_of(who, i));
        client.send(request);
        direct.send(request);
        const Answer answer = client.receive();
        ASSERT_EQ(answer.status, 200) << answer.body;
        EXPECT_EQ(vector_of(answer), vector_of(direct.receive()));
      }
    });
  }
  clients.clear();
  EXPECT_TRUE(fleet.eventually([&] { return fleet.in_flight() == 0; }));
}

}  // namespace
}  // namespace sollol::test

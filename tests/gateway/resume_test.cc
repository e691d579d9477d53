// Streams cut by their node go on at another one; the client sees one answer.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <random>
#include <sstream>

#include "harness.h"
#include "inference_calls.h"
#include "sim/faults.h"

namespace sollol::test {
namespace {

namespace json = boost::json;
using sim::FaultKind;

struct Api {
  const char* name;
  const char* target;
  enum class Form { generate, chat, openai, anthropic } form;
};
constexpr Api apis[] = {{"generate", "/api/generate", Api::Form::generate},
                        {"chat", "/api/chat", Api::Form::chat},
                        {"openai", "/v1/chat/completions", Api::Form::openai},
                        {"anthropic", "/v1/messages", Api::Form::anthropic}};

/// A greedy, streamed request; `limit` tokens at most, 0: as many as the model wishes.
std::string request_for(const Api& api, const std::string& prompt, unsigned limit = 0,
                        const std::string& more = "") {
  const std::string text = json::serialize(json::string(prompt));
  const std::string messages = R"("messages":[{"role":"user","content":)" + text + "}]";
  switch (api.form) {
    case Api::Form::generate:
      return fmt::format(
          R"({{"model":"llama3.2","prompt":{},"raw":true,"options":{{"temperature":0{}}}{}}})",
          text, limit > 0 ? fmt::format(",\"num_predict\":{}", limit) : "", more);
    case Api::Form::chat:
      return fmt::format(R"({{"model":"llama3.2",{},"options":{{"temperature":0{}}}{}}})", messages,
                         limit > 0 ? fmt::format(",\"num_predict\":{}", limit) : "", more);
    case Api::Form::openai:
      return fmt::format(
          R"({{"model":"llama3.2","stream":true,"temperature":0,{}{},"stream_options":{{"include_usage":true}}{}}})",
          messages, limit > 0 ? fmt::format(",\"max_tokens\":{}", limit) : "", more);
    case Api::Form::anthropic:
      break;
  }
  return fmt::format(R"({{"model":"llama3.2","stream":true,"temperature":0,{},"max_tokens":{}{}}})",
                     messages, limit > 0 ? limit : 5000, more);
}

/// A streamed answer as its client reads it; `problem` when it is not a proper one.
struct Seen {
  std::string text, reason, problem;
  std::uint64_t prompt = 0, output = 0, total = 0, eval = 0, load_and_work = 0;
  std::uint64_t resumed = 0;
  bool finished = false, error = false;
};

class Reader {
 public:
  Reader(const Api& api, const Answer& answer) : api_(api) {
    if (answer.status != 200) {
      fail("status " + std::to_string(answer.status));
      return;
    }
    if (!answer.complete) fail("the body does not end as its framing says");
    std::istringstream lines(answer.body);
    const bool events = api.form == Api::Form::openai || api.form == Api::Form::anthropic;
    for (std::string line; std::getline(lines, line);) {
      if (!events) {
        record(line);
      } else if (line.starts_with("event: ")) {
        event_ = line.substr(7);
      } else if (line.starts_with("data: ")) {
        record(line.substr(6));
      } else if (!line.empty()) {
        fail("no record: " + line);
      }
    }
  }
  Seen seen() && { return std::move(seen_); }

 private:
  void fail(std::string problem) {
    if (seen_.problem.empty()) seen_.problem = std::move(problem);
  }
  static std::uint64_t number(const json::object& object, const char* key) {
    const auto* value = object.if_contains(key);
    return value == nullptr ? 0 : value->to_number<std::uint64_t>();
  }

  void record(const std::string& data) {
    if (seen_.finished) fail("more after the end: " + data);
    if (data == "[DONE]") {
      seen_.finished = true;
      return;
    }
    boost::system::error_code bad;
    const json::value parsed = json::parse(data, bad);
    if (bad || !parsed.is_object()) return fail("not JSON: " + data);
    const json::object& object = parsed.get_object();
    if (object.contains("error")) {
      seen_.error = seen_.finished = true;
      return;
    }
    if (object.contains("sollol_resumed")) seen_.resumed = number(object, "sollol_resumed");
    switch (api_.form) {
      case Api::Form::generate:
      case Api::Form::chat:
        return native(object);
      case Api::Form::openai:
        return openai(object);
      case Api::Form::anthropic:
        return anthropic(object);
    }
  }

  void native(const json::object& object) {
    seen_.text += api_.form == Api::Form::chat ? object.at("message").at("content").as_string()
                                               : object.at("response").as_string();
    if (!object.at("done").as_bool()) return;
    seen_.finished = true;
    seen_.reason = object.at("done_reason").as_string();
    seen_.prompt = number(object, "prompt_eval_count");
    seen_.output = number(object, "eval_count");
    seen_.total = number(object, "total_duration");
    seen_.eval = number(object, "eval_duration");
    if (seen_.total < seen_.eval + number(object, "load_duration"))
      fail("durations do not add up: " + json::serialize(object));
  }

  void openai(const json::object& object) {
    const std::string id(object.at("id").as_string());
    if (id_.empty()) id_ = id;
    if (id != id_) fail("another id: " + id);
    if (const auto* usage = object.if_contains("usage")) {
      seen_.prompt = number(usage->as_object(), "prompt_tokens");
      seen_.output = number(usage->as_object(), "completion_tokens");
      if (number(usage->as_object(), "total_tokens") != seen_.prompt + seen_.output)
        fail("totals do not add up");
    }
    for (const json::value& choice : object.at("choices").as_array()) {
      if (!seen_.reason.empty()) fail("more after the reason");
      if (const auto* text = choice.at("delta").as_object().if_contains("content"))
        seen_.text += text->as_string();
      if (!choice.at("finish_reason").is_null())
        seen_.reason = choice.at("finish_reason").as_string();
    }
  }

  void anthropic(const json::object& object) {
    const std::string type(object.at("type").as_string());
    if (type != event_) fail("event " + event_ + " with type " + type);
    if (type == "message_start" && std::exchange(started_, true)) fail("two beginnings");
    if (type == "content_block_start" && std::exchange(open_, true)) fail("nested blocks");
    if (type == "content_block_stop" && !std::exchange(open_, false)) fail("no block to stop");
    if (type == "content_block_delta") {
      if (!open_ || object.at("index") != 0) fail("delta of no block");
      seen_.text += object.at("delta").at("text").as_string();
    }
    if (type == "message_delta") {
      if (open_) fail("a block stays open");
      seen_.reason = object.at("delta").at("stop_reason").as_string();
      seen_.prompt = number(object.at("usage").as_object(), "input_tokens");
      seen_.output = number(object.at("usage").as_object(), "output_tokens");
    }
    if (type == "message_stop") seen_.finished = true;
  }

  const Api& api_;
  Seen seen_;
  std::string event_, id_;
  bool started_ = false, open_ = false;
};

Seen read(const Api& api, const Answer& answer) { return Reader(api, answer).seen(); }

/// Nodes of one model with the same weights; "a" is always tried first.
sim::FleetConfig fleet_of(unsigned count) {
  sim::FleetConfig config = equal_nodes(count, {chat_model()});
  config.time_scale = 1;
  for (sim::NodeSpec& node : config.nodes) {
    node.slots = 8;
    node.models[0].decode_tokens_per_s = 20000;
    node.models[0].load_time = 1ms;
  }
  return config;
}

void first_node_first(gateway::Options& options) {
  for (std::size_t i = 1; i < options.nodes.size(); ++i)
    options.nodes[i].tier = static_cast<std::uint32_t>(i);
  // Every stream of these tests breaks: it is the resumes that are looked at.
  options.retry.budget_percent = 100;
  options.health.failures_to_eject = 1000000;
  options.health.window_requests = 100000;
  options.health.error_rate_percent = 100;
}

constexpr FaultKind cutting[] = {
    FaultKind::die_after_tokens,   FaultKind::stall_after_tokens, FaultKind::end_after_tokens,
    FaultKind::error_after_tokens, FaultKind::half_close,         FaultKind::cut_in_chunk,
    FaultKind::bad_chunk,          FaultKind::half_record,        FaultKind::garbage_record};

/// The proof of the whole: greedy streams cut at random points, by every kind of node that fails,
/// and continued elsewhere, end as the uncut answer does.
TEST(Resume, GreedyStreamsCutAnywhereEndAsTheUncutAnswer) {
  TestFleet fleet(fleet_of(3), [](gateway::Options& options) {
    first_node_first(options);
    options.stall.fixed = 200ms;
  });
  std::mt19937_64 random(20260824);
  std::uint64_t streams = 0, cut = 0, twice = 0, equal = 0, totals = 0, declined = 0;
  for (unsigned round = 0; round < 400; ++round) {
    const Api& api = apis[round % std::size(apis)];
    const FaultKind kind = cutting[(round / 4) % std::size(cutting)];
    const std::string prompt = fmt::format("Question {}: why?", random() % 1000);
    const unsigned limit = random() % 3 == 0 ? 20 + static_cast<unsigned>(random() % 60) : 0;
    const std::string body = request_for(api, prompt, limit);
    const Answer uncut = fleet.ask("POST", api.target, body);
    const Seen whole = read(api, uncut);
    ASSERT_EQ(whole.problem, "");
    ASSERT_TRUE(whole.finished && !whole.error);
    // The same node again, now with a fault; and in some rounds those that may go on fail as well.
    const std::string first = uncut.field("x-sollol-node");
    const auto tokens = 1 + static_cast<std::uint32_t>(random() % (whole.output + 2));
    for (const std::string& node : fleet.nodes().names()) {
      sim::FaultSpec fault{.kind = kind, .tokens = tokens};
      if (node != first) {
        fault = {.kind = round % 5 == 0 ? cutting[random() % std::size(cutting)] : FaultKind::none,
                 .tokens = 1 + static_cast<std::uint32_t>(random() % 9)};
        if (node == (first == "c" ? "b" : "c")) fault = {};
      }
      fleet.nodes().set_fault(node, fault);
    }
    const Answer answer = fleet.ask("POST", api.target, body);
    for (const std::string& node : fleet.nodes().names()) fleet.nodes().set_fault(node, {});
    const Seen seen = read(api, answer);
    SCOPED_TRACE(testing::Message() << api.name << " round " << round << " fault "
                                    << static_cast<int>(kind) << " after " << tokens << "\n"
                                    << answer.body);
    ++streams;
    cut += seen.resumed > 0;
    twice += seen.resumed > 1;
    EXPECT_EQ(seen.problem, "");
    EXPECT_TRUE(seen.finished);
    EXPECT_TRUE(whole.text.starts_with(seen.text)) << "a token is repeated, dropped or another";
    if (seen.error) {
      ++declined;  // a limit reached by the last token, with totals asked for: see docs
      continue;
    }
    equal += seen.text == whole.text && seen.reason == whole.reason;
    EXPECT_EQ(seen.text, whole.text);
    EXPECT_EQ(seen.reason, whole.reason);
    const bool cut_at_limit = seen.prompt == 0;  // no node is left that read the prompt
    totals += seen.output == whole.output && (cut_at_limit || seen.prompt == whole.prompt);
    EXPECT_EQ(seen.output, whole.output);
    if (!cut_at_limit) EXPECT_EQ(seen.prompt, whole.prompt);
    if (testing::Test::HasFailure()) break;
  }
  std::string faults;
  for (const FaultKind kind : cutting) faults += fmt::format(" {}", sim::fault_name(kind));
  fmt::print("faults:{}\n", faults);
  fmt::print(
      "{} streams: {} resumed, {} of them twice; {} byte-identical ({:.2f} %), {} with the "
      "totals of the uncut answer, {} ended by an error record\n",
      streams, cut, twice, equal, 100.0 * static_cast<double>(equal) / static_cast<double>(streams),
      totals, declined);
  EXPECT_GE(cut, streams / 2);
  EXPECT_GE(static_cast<double>(equal), 0.99 * static_cast<double>(streams));
}

/// One stream whose first node stops it after some tokens: what becomes of it, and why.
struct Cut {
  const char* name;
  const char* target = "/api/chat";
  std::string body = {};
  sim::FaultSpec fault = {.kind = FaultKind::die_after_tokens, .tokens = 4};
  const char* declined = "";  // the metric's reason; empty: it is continued
  std::string fields = {};
  std::function<void(gateway::Options&)> change = {};
  std::function<void(sim::FleetConfig&)> nodes = {};
};

const std::string hello = R"("model":"llama3.2","messages":[{"role":"user","content":"Hello"}])";
const std::string tools =
    R"("tools":[{"type":"function","function":{"name":"get_weather","description":"",)"
    R"("parameters":{"type":"object","properties":{"city":{"type":"string"}}}}}])";

std::vector<Cut> cuts() {
  std::vector<Cut> table = {
      {"chat", "/api/chat", "{" + hello + "}"},
      {"tools_that_were_not_called", "/api/chat", "{" + hello + "," + tools + "}"},
      {"stop_sequence", "/api/chat",
       "{" + hello + R"(,"options":{"temperature":0,"stop":["zzz"]}})"},
      {"logprobs", "/api/chat", "{" + hello + R"(,"logprobs":true})"},
      {"runner_died",
       "/api/chat",
       "{" + hello + "}",
       {.kind = FaultKind::error_after_tokens, .tokens = 4}},
      {"thinking_turned_off", "/api/chat", "{" + hello + R"(,"think":false})"},
  };
  const auto declined = [&table](const char* name, const char* target, std::string body,
                                 const char* reason) -> Cut& {
    table.push_back({name, target, std::move(body)});
    table.back().declined = reason;
    return table.back();
  };
  declined("thinking", "/api/chat", "{" + hello + "}", "thinking").nodes =
      [](sim::FleetConfig& config) {
        for (auto& node : config.nodes) node.models[0].capabilities.emplace_back("thinking");
      };
  declined("format", "/api/chat", "{" + hello + R"(,"format":"json"})", "format");
  declined("templated_prompt", "/api/generate", R"({"model":"llama3.2","prompt":"Hello"})", "api");
  declined("completions", "/v1/completions",
           R"({"model":"llama3.2","prompt":"Hello","stream":true})", "api");
  declined("responses", "/v1/responses", R"({"model":"llama3.2","input":"Hello","stream":true})",
           "api");
  declined("other_digest", "/api/chat", "{" + hello + "}", "no_node").nodes =
      [](sim::FleetConfig& config) { config.nodes[1].models[0].digest = std::string(64, 'f'); };
  declined("pinned", "/api/chat", "{" + hello + "}", "no_node").fields = "X-Sollol-Node: a\r\n";
  declined("turned_off_by_the_request", "/api/chat", "{" + hello + "}", "turned_off").fields =
      "X-Sollol-Resume: off\r\n";
  declined("turned_off", "/api/chat", "{" + hello + "}", "turned_off").change =
      [](gateway::Options& options) { options.resume.enabled = false; };
  declined("large_request", "/api/chat", "{" + hello + "}", "too_long").change =
      [](gateway::Options& options) { options.resume.body_max = 10; };
  declined("long_answer", "/api/chat", "{" + hello + "}", "too_long").change =
      [](gateway::Options& options) { options.resume.text_max = 5; };
  declined("no_attempts_left", "/api/chat", "{" + hello + "}", "retry_limits").change =
      [](gateway::Options& options) { options.retry.attempts_max = 0; };
  return table;
}

double metric(TestFleet& fleet, const std::string& name) {
  const std::string text = fleet.ask("GET", "/metrics").body;
  const auto at = text.find("\n" + name + " ");
  return at == std::string::npos ? 0 : std::stod(text.substr(at + name.size() + 2));
}

class OneCut : public testing::TestWithParam<Cut> {};

TEST_P(OneCut, IsContinuedOrEndedByTheApisError) {
  const Cut& cut = GetParam();
  sim::FleetConfig config = fleet_of(2);
  for (auto& node : config.nodes) node.models[0].decode_tokens_per_s = 300;  // one by one
  if (cut.nodes) cut.nodes(config);
  TestFleet fleet(std::move(config), [&](gateway::Options& options) {
    first_node_first(options);
    if (cut.change) cut.change(options);
  });
  fleet.nodes().set_fault("a", cut.fault);
  const Answer answer = fleet.ask("POST", cut.target, cut.body, cut.fields);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.complete);
  EXPECT_EQ(answer.field("x-sollol-node"), "a");
  const std::string reason =
      fmt::format("sollol_resume_declined_total{{reason=\"{}\"}}", cut.declined);
  if (*cut.declined != '\0') {
    EXPECT_TRUE(answer.body.contains("error")) << answer.body;
    EXPECT_FALSE(answer.raw.contains("X-Sollol-Resumed"));
    EXPECT_EQ(metric(fleet, "sollol_resumed_streams_total"), 0);
    EXPECT_EQ(metric(fleet, reason), 1) << fleet.ask("GET", "/metrics").body;
    return;
  }
  EXPECT_EQ(last_record(answer.body).at("sollol_resumed"), 1) << answer.body;
  EXPECT_TRUE(answer.raw.ends_with("0\r\nX-Sollol-Resumed: 1\r\n\r\n"));
  EXPECT_EQ(metric(fleet, "sollol_resumed_streams_total"), 1);
}
INSTANTIATE_TEST_SUITE_P(Table, OneCut, testing::ValuesIn(cuts()),
                         [](const auto& row) { return std::string(row.param.name); });

/// The second node breaks off inside a record: the third goes on where the last whole one ended.
TEST(Resume, HalfARecordOfTheSecondNodeReachesNobody) {
  for (const sim::FaultKind kind : {sim::FaultKind::half_record, sim::FaultKind::garbage_record,
                                    sim::FaultKind::cut_in_chunk}) {
    sim::ModelSpec model = chat_model();
    model.decode_tokens_per_s = 200;
    sim::FleetConfig config = equal_nodes(3, {model});
    config.time_scale = 1;
    config.nodes[0].faults = {{.kind = sim::FaultKind::end_after_tokens, .tokens = 3}};
    config.nodes[1].faults = {{.kind = kind, .tokens = 2}};
    TestFleet fleet(std::move(config), [](gateway::Options& options) {
      options.nodes[1].tier = 1;
      options.nodes[2].tier = 2;
      options.health.failures_to_eject = 100;  // each call takes the same way
    });
    for (const InferenceCall& call : inference_calls()) {
      if (!call.can_continue()) continue;
      RawClient direct(fleet.node_port("c"));
      direct.send(call.request("llama3.2"));
      const Reading right = read_answer(call, direct.receive());
      RawClient client(fleet.port());
      client.send(call.request("llama3.2"));
      const Answer answer = client.receive();
      const Reading reading = read_answer(call, answer);
      EXPECT_EQ(test::text(reading.seen), test::text(test::Seen::whole)) << call.name << answer.raw;
      EXPECT_EQ(reading.words, right.words) << call.name;
    }
  }
}

TEST(Resume, AToolCallThatWasSentIsNotRepeated) {
  // Two calls cannot be had from a simulated node, so the stream dies between call and end.
  TestFleet fleet(fleet_of(2), first_node_first);
  const std::string body =
      R"({"model":"llama3.2","messages":[{"role":"user","content":"What is the weather?"}],)" +
      tools + "}";
  const auto tokens = last_record(fleet.ask("POST", "/api/chat", body).body).at("eval_count");
  fleet.nodes().set_fault(
      "a", {.kind = FaultKind::die_after_tokens, .tokens = tokens.to_number<std::uint32_t>()});
  const Answer answer = fleet.ask("POST", "/api/chat", body);
  EXPECT_TRUE(answer.body.contains("get_weather")) << answer.body;
  EXPECT_TRUE(last_record(answer.body).contains("error")) << answer.body;
  EXPECT_EQ(metric(fleet, "sollol_resume_declined_total{reason=\"tool_call\"}"), 1);
}

/// A client of HTTP/1.0 gets its stream unframed, until the connection closes.
TEST(Resume, WorksWithoutChunks) {
  TestFleet fleet(fleet_of(2), first_node_first);
  const std::string body = request_for(apis[1], "Hello");
  const std::string whole = joined_text(fleet.ask("POST", "/api/chat", body).body);
  fleet.nodes().set_fault("a", {.kind = FaultKind::die_after_tokens, .tokens = 3});
  RawClient client(fleet.port());
  client.send(
      fmt::format("POST /api/chat HTTP/1.0\r\nContent-Length: {}\r\n\r\n{}", body.size(), body));
  const Answer answer = client.receive();
  EXPECT_EQ(joined_text(answer.body), whole);
  EXPECT_EQ(last_record(answer.body).at("sollol_resumed"), 1);
}

TEST(Resume, AnErrorAboutTheRequestIsTheClients) {
  TestFleet fleet(fleet_of(2), first_node_first);
  fleet.nodes().set_fault("a", {.kind = FaultKind::error_after_tokens,
                                .tokens = 3,
                                .text = "the prompt and answer exceed the context length"});
  const Answer answer = fleet.ask("POST", "/api/chat", request_for(apis[1], "Hello"));
  EXPECT_EQ(last_record(answer.body).at("error"),
            "the prompt and answer exceed the context length");
  EXPECT_EQ(fleet.nodes().counters("b").of("POST /api/chat"), 0u);
}

/// What is no stall: a cold load, a tool call in the making.
TEST(Stall, LegitimateSilenceIsWaitedFor) {
  sim::FleetConfig config = fleet_of(1);
  config.nodes[0].models[0].load_time = 700ms;
  config.nodes[0].models[0].decode_tokens_per_s = 40;
  TestFleet fleet(std::move(config),
                  [](gateway::Options& options) { options.stall.fixed = 200ms; });
  EXPECT_EQ(
      last_record(fleet.ask("POST", "/api/chat", request_for(apis[1], "Hi", 5)).body).at("done"),
      true);  // cold
  const std::string body =
      R"({"model":"llama3.2","messages":[{"role":"user","content":"What is the weather?"}],)" +
      tools + "}";
  const Answer call = fleet.ask("POST", "/api/chat", body);  // silent while the call is written
  EXPECT_TRUE(call.body.contains("get_weather")) << call.body;
  EXPECT_EQ(last_record(call.body).at("done"), true);
  EXPECT_EQ(metric(fleet, "sollol_stalled_streams_total"), 0);
}

TEST(Stall, ASilentNodeIsLeftAndTheStreamGoesOn) {
  TestFleet fleet(fleet_of(2), [](gateway::Options& options) {
    first_node_first(options);
    options.stall.least = 50ms;  // learnt from the first answers
    options.stall.most = 1h;
  });
  for (int i = 0; i < 3; ++i) fleet.ask("POST", "/api/chat", request_for(apis[1], "Hi"));
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall_after_tokens, .tokens = 3});
  const Answer answer = fleet.ask("POST", "/api/chat", request_for(apis[1], "Hello"));
  EXPECT_EQ(last_record(answer.body).at("sollol_resumed"), 1) << answer.body;
  EXPECT_EQ(metric(fleet, "sollol_stalled_streams_total"), 1);
  EXPECT_TRUE(fleet.nodes().wait_until([&] {
    return fleet.nodes().counters("a").client_gone == 1;
  })) << "the work at the silent node is cancelled";
}

TEST(Stall, WithoutAnotherNodeTheStreamEndsWithAnError) {
  TestFleet fleet(fleet_of(1), [](gateway::Options& options) {
    first_node_first(options);
    options.stall.fixed = 100ms;
  });
  fleet.nodes().set_fault("a", {.kind = FaultKind::stall_after_tokens, .tokens = 3});
  for (const Api& api : apis) {
    const Seen seen = read(api, fleet.ask("POST", api.target, request_for(api, "Hello")));
    EXPECT_TRUE(seen.error) << api.name;
    EXPECT_EQ(seen.problem, "") << api.name;
  }
}

}  // namespace
}  // namespace sollol::test

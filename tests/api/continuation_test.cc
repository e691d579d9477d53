// Answers cut anywhere and continued: the client sees one stream, as if nothing had happened.
#include "api/continuation.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>
#include <numeric>
#include <vector>

#include "api/json_text.h"

namespace sollol::api {
namespace {

namespace json = boost::json;
using namespace std::chrono_literals;
using Step = Continuation::Step;

std::string joined(const std::vector<std::string>& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), std::string());
}

/// A node that answers in one of the forms, as Ollama writes them.
struct Node {
  Operation operation;
  std::string id = "1";  // of OpenAI's chunks and Anthropic's message
  std::uint64_t prompt_tokens = 7;
  bool usage = true;

  std::string stream(const std::vector<std::string>& tokens, const std::string& reason) const {
    std::string out = begin();
    for (const auto& token : tokens) out += record(json_string(token, JsonEscape::html));
    return out + end(tokens.size(), reason);
  }

  std::string begin() const {
    if (operation != Operation::messages) return {};
    return event(
               "message_start",
               R"({"type":"message_start","message":{"id":"msg_)" + id +
                   R"(","model":"m","content":[],"usage":{"input_tokens":3,"output_tokens":0}}})") +
           event(
               "content_block_start",
               R"({"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}})");
  }
  std::string record(const std::string& text) const {
    switch (operation) {
      case Operation::generate:
        return R"({"model":"m","created_at":"t","response":)" + text + ",\"done\":false}\n";
      case Operation::chat:
        return R"({"model":"m","created_at":"t","message":{"role":"assistant","content":)" + text +
               "},\"done\":false}\n";
      case Operation::chat_completions:
        return chunk(R"([{"index":0,"delta":{"role":"assistant","content":)" + text +
                     R"(},"finish_reason":null}])");
      default:
        return event(
            "content_block_delta",
            R"({"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":)" +
                text + "}}");
    }
  }
  std::string end(std::size_t tokens, const std::string& reason) const {
    const std::string totals = fmt::format(
        R"("done":true,"done_reason":"{}","total_duration":100,"prompt_eval_count":{},"eval_count":{},"eval_duration":50}})",
        reason, prompt_tokens, tokens);
    switch (operation) {
      case Operation::generate:
        return R"({"model":"m","created_at":"t","response":"",)" + totals + "\n";
      case Operation::chat:
        return R"({"model":"m","created_at":"t","message":{"role":"assistant","content":""},)" +
               totals + "\n";
      case Operation::chat_completions:
        return chunk(R"([{"index":0,"delta":{},"finish_reason":")" + reason + R"("}])") +
               (usage ? chunk("[]",
                              fmt::format(R"(,"usage":{{"prompt_tokens":{},"completion_tokens":{},)"
                                          R"("total_tokens":{}}})",
                                          prompt_tokens, tokens, prompt_tokens + tokens))
                      : "") +
               "data: [DONE]\n\n";
      default:
        return event("content_block_stop", R"({"type":"content_block_stop","index":0})") +
               event("message_delta",
                     fmt::format(R"({{"type":"message_delta","delta":{{"stop_reason":"{}"}},)"
                                 R"("usage":{{"input_tokens":{},"output_tokens":{}}}}})",
                                 reason, prompt_tokens, tokens)) +
               event("message_stop", R"({"type":"message_stop"})");
    }
  }
  std::string chunk(const std::string& choices, const std::string& more = "") const {
    return "data: {\"id\":\"chatcmpl-" + id + "\",\"created\":" + id +
           ",\"model\":\"m\",\"choices\":" + choices + more + "}\n\n";
  }
  static std::string event(const std::string& name, const std::string& data) {
    return "event: " + name + "\ndata: " + data + "\n\n";
  }
};

/// A stream as a strict client reads it.
struct Seen {
  std::string text;
  std::vector<std::string> ids;
  std::uint64_t prompt = 0, output = 0, resumed = 0, records = 0, ends = 0, starts = 0;
  bool terminated = false;
  std::string reason;
};

Seen read_stream(Operation operation, std::string_view stream) {
  Seen seen;
  const bool lines = operation == Operation::generate || operation == Operation::chat;
  bool block_open = false;
  while (!stream.empty()) {
    const std::string_view end = lines ? "\n" : "\n\n";
    const auto at = stream.find(end);
    if (at == std::string_view::npos)
      throw std::runtime_error("not a record: " + std::string(stream));
    auto record = stream.substr(0, at);
    stream.remove_prefix(at + end.size());
    if (seen.terminated) throw std::runtime_error("more after the end");
    std::string event;
    if (record.starts_with("event: ")) {
      event = record.substr(7, record.find('\n') - 7);
      record.remove_prefix(record.find('\n') + 1);
    }
    if (!lines) {
      if (!record.starts_with("data: "))
        throw std::runtime_error("no data: " + std::string(record));
      record.remove_prefix(6);
    }
    ++seen.records;
    if (record == "[DONE]") {
      seen.terminated = true;
      continue;
    }
    const json::object object = json::parse(record).as_object();
    if (const auto* n = object.if_contains("sollol_resumed"))
      seen.resumed = n->to_number<std::uint64_t>();
    const auto count = [](const json::value& usage, const char* key) {
      const auto* value = usage.as_object().if_contains(key);
      return value == nullptr ? 0 : value->to_number<std::uint64_t>();
    };
    if (lines) {
      seen.text += operation == Operation::chat ? object.at("message").at("content").as_string()
                                                : object.at("response").as_string();
      if (!object.at("done").as_bool()) continue;
      seen.terminated = true;
      seen.reason = object.at("done_reason").as_string();
      seen.prompt = count(object, "prompt_eval_count");
      seen.output = count(object, "eval_count");
    } else if (operation == Operation::chat_completions) {
      seen.ids.emplace_back(object.at("id").as_string());
      if (const auto* usage = object.if_contains("usage")) {
        seen.prompt = count(*usage, "prompt_tokens");
        seen.output = count(*usage, "completion_tokens");
        if (count(*usage, "total_tokens") != seen.prompt + seen.output)
          throw std::runtime_error("totals do not add up");
      }
      for (const auto& choice : object.at("choices").as_array()) {
        if (const auto* text = choice.at("delta").as_object().if_contains("content"))
          seen.text += text->as_string();
        if (choice.at("finish_reason").is_null()) continue;
        ++seen.ends;
        seen.reason = choice.at("finish_reason").as_string();
      }
    } else {
      if (object.at("type").as_string() != json::string_view(event))
        throw std::runtime_error("event and type differ");
      if (event == "message_start") ++seen.starts;
      if (event == "content_block_start" || event == "content_block_stop") {
        if (block_open == (event == "content_block_start")) throw std::runtime_error("blocks nest");
        block_open = !block_open;
      }
      if (event == "content_block_delta") {
        if (!block_open) throw std::runtime_error("delta outside a block");
        seen.text += object.at("delta").at("text").as_string();
      }
      if (event == "message_delta") {
        if (block_open) throw std::runtime_error("a block stays open");
        ++seen.ends;
        seen.reason = object.at("delta").at("stop_reason").as_string();
        seen.prompt = count(object.at("usage"), "input_tokens");
        seen.output = count(object.at("usage"), "output_tokens");
      }
      if (event == "message_stop") seen.terminated = true;
    }
  }
  return seen;
}

constexpr Operation operations[] = {Operation::generate, Operation::chat,
                                    Operation::chat_completions, Operation::messages};
constexpr StreamForm form_of(Operation operation) { return stream_form(operation, true); }

std::string request_for(Operation operation, std::size_t limit) {
  switch (operation) {
    case Operation::generate:
      return fmt::format(
          R"({{"model":"m","prompt":"Say \"hi\"","raw":true,"options":{{"num_predict":{},"seed":1}}}})",
          limit);
    case Operation::chat:
      return fmt::format(
          R"({{"model":"m","messages":[{{"role":"user","content":"hi"}}],"options":{{"num_predict":{}}}}})",
          limit);
    default:
      return fmt::format(
          R"({{"model":"m","messages":[{{"role":"user","content":"hi"}}],"stream":true,"max_tokens":{}}})",
          limit);
  }
}

/// The text that a request asks to go on from, and the tokens it still allows.
struct Asked {
  std::string text;
  std::int64_t limit = 0;
};
Asked asked(Operation operation, const std::string& body) {
  const json::object request = json::parse(body).as_object();
  Asked out;
  if (operation == Operation::generate) {
    const std::string prompt(request.at("prompt").as_string());
    out.text = prompt.substr(std::string("Say \"hi\"").size());
  } else {
    const json::array& messages = request.at("messages").as_array();
    EXPECT_EQ(messages[0].at("content"), "hi");
    if (messages.size() > 1) {
      EXPECT_EQ(messages.size(), 2u);
      EXPECT_EQ(messages.back().at("role"), "assistant");
      out.text = messages.back().at("content").as_string();
    }
  }
  const bool native = operation == Operation::generate || operation == Operation::chat;
  out.limit = (native ? request.at("options").at("num_predict") : request.at("max_tokens"))
                  .to_number<std::int64_t>();
  return out;
}

/// Tokens as models write them: with quotes, backslashes, line ends, accents, markup and emoji.
std::vector<std::string> some_tokens() {
  static const std::vector<std::string> kinds = {
      "a",
      " word",
      "\"",
      "\\",
      "\n",
      "{\"done\":true}",
      "</b>",
      "\xc3\xa9",
      "\\\"",
      "data: x",
      "\xf0\x9f\x99\x82",
      "\t",
      "\"done\":false}",
      "\x7f",
      "}}",
      " \"content\":\"x\"",
  };
  const auto count = *rc::gen::inRange<std::size_t>(1, 12);
  std::vector<std::string> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(kinds[*rc::gen::inRange<std::size_t>(0, kinds.size())]);
  return tokens;
}

template <class Take>
void in_pieces(std::string_view bytes, std::size_t seed, Take&& take) {
  while (!bytes.empty()) {
    seed = seed * 31 + 7;
    const auto length = std::min<std::size_t>(bytes.size(), 1 + seed % 40);
    take(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
}

/// Cut at any byte, any number of times up to three, and continued each time by a node that goes on
/// exactly where it is asked to: the client reads the uncut answer.
RC_GTEST_PROP(Continuation, ACutAnywhereIsNotSeen, ()) {
  const auto operation = operations[*rc::gen::inRange(0, 4)];
  const auto tokens = some_tokens();
  const auto limit = tokens.size() + *rc::gen::inRange<std::size_t>(0, 3);
  const std::string body = request_for(operation, limit);
  const std::string uncut = Node{operation}.stream(tokens, "stop");
  Transcript transcript(operation, 1 << 20);
  std::string client, next_body = body;
  std::uint32_t resumes = 0;
  std::optional<Splice> splice;
  for (int round = 0;; ++round) {
    const Asked ask = asked(operation, next_body);
    RC_ASSERT(joined(tokens).starts_with(ask.text));
    std::size_t given = 0;
    for (std::string text; text.size() < ask.text.size(); ++given) text += tokens[given];
    RC_ASSERT(ask.limit == static_cast<std::int64_t>(limit - given));
    Node node{operation, std::to_string(round + 1)};
    node.prompt_tokens += given;  // the text is part of its prompt
    node.usage = true;
    std::string stream =
        node.stream({tokens.begin() + static_cast<std::ptrdiff_t>(given), tokens.end()}, "stop");
    const bool last = round == 3 || *rc::gen::arbitrary<bool>();
    if (!last) stream.resize(*rc::gen::inRange<std::size_t>(0, stream.size()));
    const auto seed = *rc::gen::inRange<std::size_t>(0, 1000);
    if (!splice) {
      StreamWatcher watcher(form_of(operation));
      watcher.record_to(&transcript);
      in_pieces(stream, seed, [&](std::string_view piece) { watcher.feed(piece); });
      if (watcher.finished()) {
        client = stream;
        break;
      }
      client = stream.substr(0, watcher.whole_bytes());
      client += watcher.missing_end();
    } else {
      in_pieces(stream, seed, [&](std::string_view piece) { splice->feed(piece, client); });
    }
    if (last) break;
    const auto next = continuation_of(body, transcript);
    if (!next) RC_FAIL(std::string(obstacle_text(next.error())));
    splice.emplace(form_of(operation), transcript, Contribution{++resumes, 1ms, 1ms});
    if (next->step == Step::close) {
      client += splice->closing_records("t");
      break;
    }
    next_body = next->body;
  }
  const Seen seen = read_stream(operation, client);
  const Seen wanted = read_stream(operation, uncut);
  RC_ASSERT(seen.text == wanted.text);
  RC_ASSERT(seen.terminated);
  RC_ASSERT(seen.ends == wanted.ends);
  RC_ASSERT(seen.starts == wanted.starts);
  RC_ASSERT(seen.resumed == resumes || seen.output == 0 || operation == Operation::messages ||
            operation == Operation::chat_completions);
  if (seen.output > 0) RC_ASSERT(seen.output == wanted.output);
  if (seen.prompt > 0) RC_ASSERT(seen.prompt == wanted.prompt);
  for (const auto& id : seen.ids) RC_ASSERT(id == seen.ids.front());
}

struct RequestCase {
  const char* name;
  Operation operation;
  const char* body;
  Obstacle obstacle;  // none: continued as
  const char* wanted = "";
};
class AfterTwoTokens : public testing::TestWithParam<RequestCase> {};

TEST_P(AfterTwoTokens, TheRequestIsContinuedOrDeclined) {
  const RequestCase& row = GetParam();
  Transcript transcript(row.operation, 1000);
  StreamWatcher watcher(form_of(row.operation));
  watcher.record_to(&transcript);
  const Node node{row.operation};
  watcher.feed(node.begin() + node.record(R"("a\"")") + node.record(R"("b\u003c")"));
  ASSERT_EQ(transcript.tokens(), 2u);
  const auto next = continuation_of(row.body, transcript);
  if (row.obstacle != Obstacle::none) {
    ASSERT_FALSE(next.has_value());
    EXPECT_EQ(obstacle_name(next.error()), obstacle_name(row.obstacle));
    return;
  }
  ASSERT_TRUE(next.has_value()) << obstacle_text(next.error());
  EXPECT_EQ(next->body, row.wanted);
}

INSTANTIATE_TEST_SUITE_P(
    Table, AfterTwoTokens,
    testing::Values(
        RequestCase{
            "chat", Operation::chat, R"( {"messages" : [ {"role":"user","content":"x"} ], "x":1})",
            Obstacle::none,
            R"( {"messages" : [ {"role":"user","content":"x"} ,{"role":"assistant","content":"a\"b\u003c"}], "x":1})"},
        RequestCase{"chat_begun_by_the_client", Operation::chat,
                    R"({"Messages":[{"role":"Assistant","content":"So: "}]})", Obstacle::none,
                    R"({"Messages":[{"role":"Assistant","content":"So: a\"b\u003c"}]})"},
        RequestCase{
            "chat_limit", Operation::chat,
            R"({"options":{"num_predict":9,"num_ctx":1},"messages":[{"role":"user"}]})",
            Obstacle::none,
            R"({"options":{"num_predict":7,"num_ctx":1},"messages":[{"role":"user"},{"role":"assistant","content":"a\"b\u003c"}]})"},
        RequestCase{
            "chat_endless", Operation::chat,
            R"({"options":{"num_predict":-1},"messages":[{"role":"user"}]})", Obstacle::none,
            R"({"options":{"num_predict":-1},"messages":[{"role":"user"},{"role":"assistant","content":"a\"b\u003c"}]})"},
        RequestCase{"chat_limit_reached", Operation::chat,
                    R"({"options":{"num_predict":2},"messages":[{"role":"user"}]})", Obstacle::none,
                    ""},
        RequestCase{
            "chat_tools_unused", Operation::chat,
            R"({"tools":[{"type":"function"}],"messages":[{"role":"user"}]})", Obstacle::none,
            R"({"tools":[{"type":"function"}],"messages":[{"role":"user"},{"role":"assistant","content":"a\"b\u003c"}]})"},
        RequestCase{"chat_format", Operation::chat,
                    R"({"format":"json","messages":[{"role":"user"}]})", Obstacle::format},
        RequestCase{
            "chat_empty_format", Operation::chat, R"({"format":"","messages":[{"role":"user"}]})",
            Obstacle::none,
            R"({"format":"","messages":[{"role":"user"},{"role":"assistant","content":"a\"b\u003c"}]})"},
        RequestCase{"chat_twice", Operation::chat,
                    R"({"messages":[{"role":"user"}],"Messages":[{"role":"user"}]})",
                    Obstacle::unreadable},
        RequestCase{"chat_escaped_key", Operation::chat, R"({"mess\u0061ges":[{"role":"user"}]})",
                    Obstacle::unreadable},
        RequestCase{"chat_parts", Operation::chat_completions,
                    R"({"messages":[{"role":"assistant","content":[{"type":"text","text":"x"}]}]})",
                    Obstacle::unreadable},
        RequestCase{
            "openai", Operation::chat_completions,
            R"({"max_tokens":5,"messages":[{"role":"user"}],"response_format":{"type":"text"}})",
            Obstacle::none,
            R"({"max_tokens":3,"messages":[{"role":"user"},{"role":"assistant","content":"a\"b\u003c"}],"response_format":{"type":"text"}})"},
        RequestCase{"openai_schema", Operation::chat_completions,
                    R"({"messages":[{"role":"user"}],"response_format":{"type":"json_schema"}})",
                    Obstacle::format},
        RequestCase{
            "openai_totals", Operation::chat_completions,
            R"({"max_tokens":2,"messages":[{"role":"user"}],"stream_options":{"include_usage":true}})",
            Obstacle::totals},
        RequestCase{
            "anthropic", Operation::messages,
            R"({"max_tokens":5,"messages":[{"role":"user","content":"x"}]})", Obstacle::none,
            R"({"max_tokens":3,"messages":[{"role":"user","content":"x"},{"role":"assistant","content":"a\"b\u003c"}]})"},
        RequestCase{"anthropic_web_search", Operation::messages,
                    R"({"messages":[{"role":"user"}],"tools":[{"type":"web_search_20250305"}]})",
                    Obstacle::tool_call},
        RequestCase{"generate_raw", Operation::generate, R"({"prompt":"x","raw":true})",
                    Obstacle::none, R"({"prompt":"xa\"b\u003c","raw":true})"},
        RequestCase{"generate_with_template", Operation::generate, R"({"prompt":"x"})",
                    Obstacle::api},
        RequestCase{"generate_suffix", Operation::generate,
                    R"({"prompt":"x","raw":true,"suffix":"y"})", Obstacle::suffix}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Transcript, GarbageIsToldFromRecordsAndNotPartOfThem) {
  const Node node{Operation::chat};
  const std::string good = node.record("\"a\"");
  StreamWatcher watcher(StreamForm::ndjson_answer);
  watcher.feed(good + "<html>\n" + good);
  EXPECT_TRUE(watcher.garbled());
  EXPECT_EQ(watcher.whole_bytes(), good.size());
  StreamWatcher events(StreamForm::sse_done);
  events.feed("data: {\"choices\":[]}\n\nHTTP/1.1 200 OK\n");
  EXPECT_TRUE(events.garbled());
}

TEST(Splice, ToolsAfterAContinuedTextGetABlockOfTheirOwn) {
  Transcript transcript(Operation::messages, 100);
  const Node node{Operation::messages};
  StreamWatcher watcher(StreamForm::sse_anthropic);
  watcher.record_to(&transcript);
  watcher.feed(node.begin() + node.record("\"a\""));
  Splice splice(StreamForm::sse_anthropic, transcript, {.resumes = 1});
  std::string out;
  splice.feed(
      Node::event("message_start", R"({"type":"message_start","message":{}})") +
          Node::event(
              "content_block_start",
              R"({"type":"content_block_start","index":0,"content_block":{"type":"tool_use"}})"),
      out);
  EXPECT_EQ(
      out,
      Node::event("content_block_stop", R"({"type":"content_block_stop","index":0})") +
          Node::event(
              "content_block_start",
              R"({"type":"content_block_start","index":1,"content_block":{"type":"tool_use"}})"));
}

}  // namespace
}  // namespace sollol::api

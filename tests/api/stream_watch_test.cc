#include "api/stream_watch.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>
#include <vector>

namespace sollol::api {
namespace {

using namespace std::chrono_literals;
using Form = StreamForm;

constexpr const char* native_tail =
    R"("done_reason":"stop","context":[1,2],"total_duration":100,"load_duration":10,"prompt_eval_count":7,)"
    R"("prompt_eval_duration":20,"eval_count":3,"eval_duration":30})";

struct StreamCase {
  const char* name;
  Form form;
  std::string bytes;
  bool finished = false;
  const char* error = "";  // not empty: failed
  std::uint64_t records = 0;
  std::uint64_t prompt_tokens = 0;
  std::uint64_t output_tokens = 0;
  bool mid_record = false;
};

std::vector<StreamCase> stream_table() {
  const std::string token = R"({"model":"m","created_at":"t","response":"Hel","done":false})"
                            "\n";
  const std::string done = R"({"model":"m","created_at":"t","response":"","done":true,)" +
                           std::string(native_tail) + "\n";
  const std::string chunk =
      R"(data: {"id":"chatcmpl-1","object":"chat.completion.chunk","model":"m","choices":[{"index":0,)"
      R"("delta":{"role":"assistant","content":"x"},"finish_reason":null}]})"
      "\n\n";
  const std::string finish =
      R"(data: {"id":"chatcmpl-1","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]})"
      "\n\n";
  const std::string usage =
      R"(data: {"id":"chatcmpl-1","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}})"
      "\n\n";
  const std::string delta =
      "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"delta\":{}}\n\n";
  const std::string start =
      "event: message_start\ndata: "
      "{\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":9,"
      "\"output_tokens\":0}}}\n\n";
  const std::string stop =
      "event: message_delta\ndata: "
      "{\"type\":\"message_delta\",\"usage\":{\"input_tokens\":11,\"output_tokens\":4}}\n\n"
      "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
  const std::string text_delta =
      "event: response.output_text.delta\ndata: "
      "{\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n";
  return {
      {"answer", Form::ndjson_answer, token + token + done, true, "", 2, 7, 3},
      {"answer_without_end", Form::ndjson_answer, token + token, false, "", 2},
      {"answer_cut_in_a_line", Form::ndjson_answer, token + token.substr(0, 20), false, "", 1, 0, 0,
       true},
      {"answer_end_not_whole", Form::ndjson_answer, token + done.substr(0, done.size() - 1), false,
       "", 1, 0, 0, true},
      {"answer_with_spaces", Form::ndjson_answer,
       "{\"response\": \"a\", \"done\": false}\r\n{\"response\":\"\", \"done\" : true}\r\n", true,
       "", 1},
      {"answer_error", Form::ndjson_answer, token + "{\"error\":\"runner \\\"x\\\" died\"}\n",
       false, "runner \"x\" died", 1},
      {"answer_error_object", Form::ndjson_answer,
       "{\"error\":{\"code\":500,\"message\":\"oops\"}}\n", false, "oops", 0},
      {"answer_text_on_last_line", Form::ndjson_answer,
       R"({"message":{"role":"assistant","content":"x"},"done":true})"
       "\n",
       true, "", 1},
      {"answer_tools_on_last_line", Form::ndjson_answer,
       R"({"message":{"content":"","tool_calls":[{"function":{"name":"f"}}]},"done":true})"
       "\n",
       true, "", 1},
      {"answer_done_in_tool_arguments", Form::ndjson_answer,
       R"({"message":{"content":"","tool_calls":[{"function":{"arguments":{"done":true}}}]},"done":false})"
       "\n",
       false, "", 1},
      {"answer_done_in_arguments_last", Form::ndjson_answer,
       R"({"done":false,"message":{"tool_calls":[{"function":{"arguments":{"error":"e","done":true}}}]}})"
       "\n",
       false, "", 1},
      {"answer_done_in_text", Form::ndjson_answer,
       R"({"response":"{\"done\":true,\"error\":\"x\"}","done":false})"
       "\n",
       false, "", 1},
      {"answer_not_done_in_arguments", Form::ndjson_answer,
       R"({"done":true,"message":{"tool_calls":[{"function":{"arguments":{"done":false}}}]}})"
       "\n",
       true, "", 1},
      {"answer_logprobs_after_done", Form::ndjson_answer,
       R"({"response":"a","done":false,"logprobs":[{"token":"a"}]})"
       "\n",
       false, "", 1},
      {"answer_null_error", Form::ndjson_answer,
       R"({"response":"a","error":null,"done":true})"
       "\n",
       true, "", 1},
      {"progress", Form::ndjson_progress,
       "{\"status\":\"pulling manifest\"}\n{\"status\":\"success\"}\n", true, "", 0},
      {"progress_error", Form::ndjson_progress,
       "{\"status\":\"pulling manifest\"}\n{\"error\":\"no such file\"}\n", false, "no such file",
       0},
      {"progress_not_yet", Form::ndjson_progress,
       "{\"status\":\"pulling success\",\"x\":{\"status\":\"success\"}}\n", false, "", 0},
      {"openai", Form::sse_done, chunk + chunk + finish + usage + "data: [DONE]\n\n", true, "", 2,
       5, 2},
      {"openai_without_done", Form::sse_done, chunk + finish, false, "", 1},
      {"openai_cut_between_lines", Form::sse_done, chunk + chunk.substr(0, chunk.size() - 1), false,
       "", 2, 0, 0, true},
      {"openai_done_in_text", Form::sse_done,
       R"(data: {"choices":[{"delta":{"content":"data: [DONE]"},"finish_reason":null}]})"
       "\n\n",
       false, "", 1},
      {"openai_error", Form::sse_done,
       "data: {\"error\":{\"message\":\"bad\",\"type\":\"api_error\"}}\n\n", false, "bad", 0},
      {"openai_completions", Form::sse_done,
       R"(data: {"choices":[{"text":"x","index":0,"finish_reason":null}],"model":"m","usage":{"prompt_tokens":0}})"
       "\r\n\r\ndata: [DONE]\r\n\r\n",
       true, "", 1},
      {"responses", Form::sse_responses,
       text_delta + text_delta +
           "event: response.completed\ndata: "
           "{\"type\":\"response.completed\",\"response\":{\"usage\":"
           "{\"input_tokens\":3,\"output_tokens\":2}}}\n\n",
       true, "", 2, 3, 2},
      {"responses_incomplete", Form::sse_responses,
       "event: response.incomplete\ndata: {\"type\":\"response.incomplete\",\"response\":{}}\n\n",
       true, "", 0},
      {"responses_failed", Form::sse_responses,
       "event: response.failed\ndata: {\"response\":{\"error\":{\"message\":\"no\"}}}\n\n", true,
       "no", 0},
      {"responses_error", Form::sse_responses,
       "event: error\ndata: {\"type\":\"error\",\"message\":\"no\"}\n\n", false, "no", 0},
      {"responses_without_event_lines", Form::sse_responses,
       "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\ndata: "
       "{\"type\":\"response.completed\"}\n\n",
       true, "", 1},
      {"responses_event_without_data", Form::sse_responses, "event: response.completed\n", false,
       "", 0, 0, 0, true},
      {"anthropic", Form::sse_anthropic, start + delta + delta + stop, true, "", 2, 11, 4},
      {"anthropic_without_stop", Form::sse_anthropic, start + delta, false, "", 1, 9, 0},
      {"anthropic_error", Form::sse_anthropic,
       "event: error\ndata: "
       "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"bad\"}}\n\n",
       false, "bad", 0},
      {"opaque", Form::opaque, "{\"error\":\"x\"}", true, "", 0},
  };
}

void expect_seen(const StreamCase& row, const StreamWatcher& watcher) {
  EXPECT_EQ(watcher.finished(), row.finished);
  EXPECT_EQ(watcher.failed(), *row.error != '\0');
  EXPECT_EQ(watcher.error(), row.error);
  EXPECT_EQ(watcher.records(), row.records);
  EXPECT_EQ(watcher.usage().prompt_tokens, row.prompt_tokens);
  EXPECT_EQ(watcher.usage().output_tokens, row.output_tokens);
  EXPECT_EQ(watcher.mid_record(), row.mid_record);
}

TEST(StreamWatcher, SeesTheSameHoweverTheBytesArrive) {
  for (const auto& row : stream_table()) {
    for (const std::size_t step :
         {std::size_t{1}, std::size_t{2}, std::size_t{7}, std::size_t{64}, row.bytes.size()}) {
      SCOPED_TRACE(testing::Message() << row.name << " in pieces of " << step);
      StreamWatcher watcher(row.form);
      for (std::size_t at = 0; at < row.bytes.size(); at += step) {
        watcher.feed(std::string_view(row.bytes).substr(at, step));
      }
      expect_seen(row, watcher);
    }
  }
}

RC_GTEST_PROP(StreamWatcherProperty, AnySplitSeesTheSame, ()) {
  const auto table = stream_table();
  const auto& row = table[*rc::gen::inRange<std::size_t>(0, table.size())];
  const auto cuts =
      *rc::gen::container<std::vector<std::size_t>>(rc::gen::inRange<std::size_t>(1, 200));
  StreamWatcher whole(row.form), split(row.form);
  whole.feed(row.bytes);
  std::string_view rest = row.bytes;
  for (const auto cut : cuts) {
    split.feed(rest.substr(0, cut));
    rest.remove_prefix(std::min(cut, rest.size()));
  }
  split.feed(rest);
  RC_ASSERT(split.finished() == whole.finished());
  RC_ASSERT(split.failed() == whole.failed());
  RC_ASSERT(split.error() == whole.error());
  RC_ASSERT(split.records() == whole.records());
  RC_ASSERT(split.mid_record() == whole.mid_record());
  RC_ASSERT(split.usage().output_tokens == whole.usage().output_tokens);
}

RC_GTEST_PROP(StreamWatcherProperty, AnyBytesAreSafe, ()) {
  const auto bytes =
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("{}[]\"\\:, \n\rdaten1eo")));
  for (const auto form : {Form::ndjson_answer, Form::ndjson_progress, Form::sse_done,
                          Form::sse_responses, Form::sse_anthropic}) {
    StreamWatcher watcher(form);
    watcher.feed("data:");
    watcher.feed(bytes);
    watcher.feed("\n\n");
    RC_ASSERT(!watcher.mid_record());
  }
}

TEST(StreamWatcher, ReadsTheNodesDurations) {
  StreamWatcher watcher(Form::ndjson_answer);
  watcher.feed(R"({"response":"","done":true,)" + std::string(native_tail) + "\n");
  const Usage& usage = watcher.usage();
  EXPECT_TRUE(usage.from_node_durations);
  EXPECT_EQ(usage.total, 100ns);
  EXPECT_EQ(usage.load, 10ns);
  EXPECT_EQ(usage.prompt_eval, 20ns);
  EXPECT_EQ(usage.eval, 30ns);
  EXPECT_EQ(usage.slot_wait(), 40ns);
}

TEST(StreamWatcher, FindsTheEndOfARecordTooLargeToKeep) {
  std::string context = "1";
  while (context.size() < 3 * StreamWatcher::carry_max) context += ",12345678";
  const std::string head = R"({"model":"m","response":"",)";
  const auto metrics = std::string(R"("eval_count":3,"total_duration":9})") + "\n";
  const std::string done_first = head + R"("done":true,"context":[)" + context + "]," + metrics;
  const std::string done_last = head + R"("context":[)" + context + R"(],"done":true,)" + metrics;
  const std::string not_done = head + R"("context":[)" + context + R"(],"done":false})" + "\n";
  for (const auto& [line, finished] :
       {std::pair{done_first, true}, {done_last, true}, {not_done, false}}) {
    StreamWatcher watcher(Form::ndjson_answer);
    for (std::size_t at = 0; at < line.size(); at += 100'000)
      watcher.feed(std::string_view(line).substr(at, 100'000));
    EXPECT_EQ(watcher.finished(), finished);
    EXPECT_EQ(watcher.usage().output_tokens, finished ? 3u : 0u);
    EXPECT_FALSE(watcher.mid_record());
    watcher.feed("{\"response\":\"\",\"done\":true}\n");
    EXPECT_TRUE(watcher.finished());
  }
}

TEST(StreamWatcher, CountsALastLineWithoutItsEnd) {
  StreamWatcher watcher(Form::ndjson_answer);
  watcher.feed(R"({"response":"","done":true})");
  EXPECT_FALSE(watcher.finished());
  watcher.end();
  EXPECT_TRUE(watcher.finished());
  watcher.end();
  EXPECT_FALSE(watcher.mid_record());
}

TEST(StreamForm, FollowsTheRoute) {
  EXPECT_EQ(stream_form(Operation::chat, true), Form::ndjson_answer);
  EXPECT_EQ(stream_form(Operation::chat, false), Form::opaque);
  EXPECT_EQ(stream_form(Operation::pull, true), Form::ndjson_progress);
  EXPECT_EQ(stream_form(Operation::completions, true), Form::sse_done);
  EXPECT_EQ(stream_form(Operation::responses, true), Form::sse_responses);
  EXPECT_EQ(stream_form(Operation::messages, true), Form::sse_anthropic);
  EXPECT_EQ(stream_form(Operation::embed, true), Form::opaque);
}

TEST(ErrorRecord, IsReadAsAnErrorAfterAnyBrokenStream) {
  for (const auto& row : stream_table()) {
    if (row.form == Form::opaque || *row.error != '\0' || row.finished) continue;
    SCOPED_TRACE(row.name);
    StreamWatcher watcher(row.form);
    watcher.feed(row.bytes);
    StreamWatcher ended = watcher;
    ended.end();
    if (ended.finished()) continue;  // all that is missing is the last line end
    watcher.feed(error_record(row.form, "node \"a\" left", watcher.mid_record()));
    EXPECT_TRUE(watcher.failed());
    EXPECT_FALSE(watcher.finished());
    EXPECT_FALSE(watcher.mid_record());
    EXPECT_EQ(watcher.error(), "node \"a\" left");
  }
}

TEST(ErrorRecord, HasEachApisForm) {
  EXPECT_EQ(error_record(Form::ndjson_answer, "x"), "{\"error\":\"x\"}\n");
  EXPECT_EQ(error_record(Form::ndjson_progress, "x", true), "\n{\"error\":\"x\"}\n");
  EXPECT_EQ(
      error_record(Form::sse_done, "x"),
      "data: "
      "{\"error\":{\"message\":\"x\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n");
  EXPECT_EQ(error_record(Form::sse_anthropic, "x", true),
            "\n\nevent: error\ndata: "
            "{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"x\"}}\n\n");
  EXPECT_TRUE(error_record(Form::sse_responses, "x")
                  .starts_with("event: error\ndata: {\"type\":\"error\","));
  EXPECT_EQ(error_record(Form::opaque, "x"), "");
}

TEST(UsageOfJson, ReadsTheTailOfAnAnswer) {
  const auto native = usage_of_json(
      std::string(R"(ed tail \"eval_count\":99","done":true,)") + native_tail, Operation::generate);
  EXPECT_EQ(native.prompt_tokens, 7u);
  EXPECT_EQ(native.output_tokens, 3u);
  EXPECT_EQ(native.total, 100ns);
  const auto openai = usage_of_json(
      R"(x"}}],"usage": {"prompt_tokens" : 5, "completion_tokens":6,"total_tokens":11}})",
      Operation::chat_completions);
  EXPECT_EQ(openai.prompt_tokens, 5u);
  EXPECT_EQ(openai.output_tokens, 6u);
  EXPECT_FALSE(openai.from_node_durations);
  const auto anthropic =
      usage_of_json(R"("usage":{"input_tokens":8,"output_tokens":9}})", Operation::messages);
  EXPECT_EQ(anthropic.prompt_tokens, 8u);
  EXPECT_EQ(anthropic.output_tokens, 9u);
  EXPECT_EQ(usage_of_json("", Operation::chat).output_tokens, 0u);
  EXPECT_EQ(usage_of_json(R"("eval_count")", Operation::chat).output_tokens, 0u);
  EXPECT_EQ(usage_of_json(R"("eval_count":)", Operation::chat).output_tokens, 0u);
}

TEST(Usage, SlotWaitIsNeverNegative) {
  EXPECT_EQ((Usage{.total = 10ns, .load = 20ns, .from_node_durations = true}).slot_wait(), 0ns);
  EXPECT_EQ((Usage{.total = 10ns}).slot_wait(), 0ns);
}

}  // namespace
}  // namespace sollol::api

#include "api/heartbeat.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace sollol::api {
namespace {

using Form = StreamForm;

struct HeartbeatCase {
  const char* name;
  Operation operation;
};
class Heartbeat : public testing::TestWithParam<HeartbeatCase> {};

/// The watcher judges a stream as clients do: a heartbeat ends nothing, fails nothing and leaves no
/// record open.
TEST_P(Heartbeat, IsAWholeRecordThatSaysNothing) {
  const Operation operation = GetParam().operation;
  const std::string record = heartbeat_record(operation, "a\"b\xE2\x80\xA8", WallTime{});
  ASSERT_FALSE(record.empty());
  StreamWatcher watcher(stream_form(operation, true));
  for (int i = 0; i < 3; ++i) watcher.feed(record);
  EXPECT_FALSE(watcher.mid_record());
  EXPECT_FALSE(watcher.finished());
  EXPECT_FALSE(watcher.failed());
}

INSTANTIATE_TEST_SUITE_P(Table, Heartbeat,
                         testing::Values(HeartbeatCase{"generate", Operation::generate},
                                         HeartbeatCase{"chat", Operation::chat},
                                         HeartbeatCase{"chat_completions",
                                                       Operation::chat_completions},
                                         HeartbeatCase{"completions", Operation::completions},
                                         HeartbeatCase{"responses", Operation::responses},
                                         HeartbeatCase{"messages", Operation::messages}),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(HeartbeatRecord, OfOllamaIsOneLineWithEveryFieldThatItsClientsDemand) {
  const std::string line = heartbeat_record(Operation::generate, "llama3.2", WallTime{});
  EXPECT_EQ(line,
            "{\"model\":\"llama3.2\",\"created_at\":\"1970-01-01T00:00:00.000000000Z\","
            "\"response\":\"\",\"done\":false}\n");
  const auto chat = boost::json::parse(heartbeat_record(Operation::chat, "m", WallTime{}));
  EXPECT_EQ(chat.at("message").at("content"), "");
  EXPECT_EQ(chat.at("message").at("role"), "assistant");
}

TEST(HeartbeatRecord, NothingThatIsNoStreamHasOne) {
  for (const Operation operation : {Operation::embed, Operation::show, Operation::pull,
                                    Operation::transcriptions, Operation::none}) {
    EXPECT_EQ(heartbeat_record(operation, "m", WallTime{}), "");
  }
}

struct RefusalCase {
  const char* name;
  Form form;
  int status;
  const char* body;
  const char* record;
};
class Refusal : public testing::TestWithParam<RefusalCase> {};

TEST_P(Refusal, BecomesTheRecordOfItsForm) {
  const RefusalCase& c = GetParam();
  EXPECT_EQ(refusal_record(c.form, c.status, c.body), c.record);
  StreamWatcher watcher(c.form);
  watcher.feed(c.record);
  EXPECT_TRUE(watcher.failed());
  EXPECT_FALSE(watcher.mid_record());
}

INSTANTIATE_TEST_SUITE_P(
    Table, Refusal,
    testing::Values(
        RefusalCase{"native", Form::ndjson_answer, 500, R"({"error":"x","signin_url":"u"})",
                    "{\"error\":\"x\",\"signin_url\":\"u\"}\n"},
        RefusalCase{"native_text", Form::ndjson_answer, 502, "bad\ngateway",
                    "{\"error\":\"bad\\ngateway\"}\n"},
        RefusalCase{
            "openai", Form::sse_done, 404,
            R"({"error":{"message":"m","type":"not_found_error","param":null,"code":null}})",
            "data: {\"error\":{\"message\":\"m\",\"type\":\"not_found_error\","
            "\"param\":null,\"code\":null}}\n\n"},
        RefusalCase{"openai_text", Form::sse_done, 404, "gone",
                    "data: {\"error\":{\"message\":\"gone\",\"type\":\"not_found_error\","
                    "\"param\":null,\"code\":null}}\n\n"},
        RefusalCase{"anthropic", Form::sse_anthropic, 503,
                    R"({"type":"error","error":{"type":"overloaded_error","message":"m"}})",
                    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":"
                    "\"overloaded_error\",\"message\":\"m\"}}\n\n"},
        RefusalCase{
            "responses", Form::sse_responses, 500,
            R"({"error":{"message":"m","type":"api_error","param":null,"code":null}})",
            "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"m\","
            "\"param\":null,\"error\":{\"message\":\"m\",\"type\":\"api_error\",\"param\":null,"
            "\"code\":\"server_error\"}}\n\n"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::api

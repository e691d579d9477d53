// What a stream has said, out of its records.
#include "api/transcript.h"

#include <gtest/gtest.h>

#include "api/stream_watch.h"

namespace sollol::api {
namespace {

struct RecordCase {
  const char* name;
  Operation operation;
  const char* stream;
  Obstacle obstacle;
  const char* text = "";
};
class WhatWasSaid : public testing::TestWithParam<RecordCase> {};
TEST_P(WhatWasSaid, IsKnown) {
  const RecordCase& row = GetParam();
  Transcript transcript(row.operation, 12);
  StreamWatcher watcher(stream_form(row.operation, true));
  watcher.record_to(&transcript);
  watcher.feed(row.stream);
  EXPECT_EQ(obstacle_name(transcript.obstacle()), obstacle_name(row.obstacle));
  EXPECT_EQ(transcript.text(), row.text);
}
INSTANTIATE_TEST_SUITE_P(
    Table, WhatWasSaid,
    testing::Values(
        RecordCase{"logprobs", Operation::chat,
                   "{\"message\":{\"content\":\"a\"},\"done\":false,\"logprobs\":[{\"token\":"
                   "\"a\"}]}\n",
                   Obstacle::none, "a"},
        RecordCase{
            "spaces", Operation::generate,
            "{\"response\": \"a\", \"done\": false}\n{\"response\": \"b\", \"done\": false}\n",
            Obstacle::none, "ab"},
        RecordCase{"thinking", Operation::chat,
                   "{\"model\":\"m\",\"message\":{\"content\":\"\",\"thinking\":\"t\"},\"done\":"
                   "false}\n",
                   Obstacle::thinking},
        RecordCase{"thinking_later", Operation::chat,
                   "{\"model\":\"m\",\"message\":{\"content\":\"x\"},\"done\":false}\n"
                   "{\"model\":\"m\",\"message\":{\"content\":\"\",\"thinking\":\"t\"},\"done\":"
                   "false}\n",
                   Obstacle::thinking},
        RecordCase{"tool_call", Operation::chat,
                   "{\"model\":\"m\",\"message\":{\"content\":\"\",\"tool_calls\":[{\"function\":{"
                   "\"arguments\":{\"content\":\"x\"}}}]},\"done\":false}\n",
                   Obstacle::tool_call},
        RecordCase{"too_long", Operation::generate,
                   "{\"model\":\"m\",\"response\":\"1234567\",\"done\":false}\n"
                   "{\"model\":\"m\",\"response\":\"123456\",\"done\":false}\n",
                   Obstacle::too_long},
        RecordCase{"reasoning", Operation::chat_completions,
                   "data: {\"id\":\"1\",\"choices\":[{\"delta\":{\"content\":\"\",\"reasoning\":"
                   "\"t\"},\"finish_reason\":null}]}\n\n",
                   Obstacle::thinking},
        RecordCase{"anthropic_tool", Operation::messages,
                   "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{"
                   "\"type\":\"tool_use\"}}\n\n",
                   Obstacle::tool_call},
        RecordCase{"responses", Operation::responses,
                   "event: response.created\ndata: {\"type\":\"response.created\"}\n\n",
                   Obstacle::api}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::api

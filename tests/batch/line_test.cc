#include "batch/line.h"

#include <gtest/gtest.h>

#include "api/json_scan.h"

namespace sollol::batch {
namespace {

using Op = api::Operation;

struct Told {
  const char* name;
  const char* text;
  const char* target;
};
class ByItsFields : public testing::TestWithParam<Told> {};
TEST_P(ByItsFields, APlainLinesRouteIsTold) {
  const auto line = parse_line(GetParam().text, "");
  ASSERT_TRUE(line.has_value()) << line.error().detail;
  EXPECT_EQ(line->target, GetParam().target);
  EXPECT_EQ(line->form, LineForm::plain);
}
INSTANTIATE_TEST_SUITE_P(
    Table, ByItsFields,
    testing::Values(
        Told{"prompt", R"({"model":"m","prompt":"x"})", "/api/generate"},
        Told{"messages", R"({"model":"m","messages":[{"role":"user","content":"x"}]})",
             "/api/chat"},
        Told{"input", R"({"model":"m","input":["x"]})", "/api/embed"},
        Told{"openai_chat", R"({"model":"m","messages":[],"max_tokens":5})",
             "/v1/chat/completions"},
        Told{"pieces", R"({"model":"m","messages":[{"role":"user","content":[{"type":"text"}]}]})",
             "/v1/chat/completions"},
        Told{"openai_prompt", R"({"model":"m","prompt":"x","temperature":0})", "/v1/completions"},
        Told{"openai_input", R"({"model":"m","input":"x","encoding_format":"float"})",
             "/v1/embeddings"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Line, TheEndpointOfTheCommandCounts) {
  const auto line =
      parse_line(R"({"model":"m","messages":[{"role":"user","content":"x"}]})", "/v1/messages");
  ASSERT_TRUE(line.has_value()) << line.error().detail;
  EXPECT_EQ(line->operation, Op::messages);
}

TEST(Line, TheBatchFileFormNamesItsOwn) {
  const auto line = parse_line(
      R"({"custom_id":"a\"1","method":"POST","url":"/v1/chat/completions","body":{"model":"M:latest",
"messages":[{"role":"user","content":"x"}],"max_tokens":40}})",
      "/api/chat");
  ASSERT_TRUE(line.has_value()) << line.error().detail;
  EXPECT_EQ(line->form, LineForm::batch_file);
  EXPECT_EQ(line->target, "/v1/chat/completions");
  EXPECT_EQ(line->custom_id, R"("a\"1")");
  EXPECT_EQ(line->model, parse_line(R"({"model":"m","prompt":"x"})", "")->model);
  EXPECT_NEAR(line->work, 40, 1);
}

TEST(Line, NothingIsStreamed) {
  const auto streams = [](std::string_view text) {
    return std::string(api::json_field(parse_line(text, "")->body, "stream"));
  };
  EXPECT_EQ(streams(R"({"model":"m","prompt":"x"})"), "false");
  EXPECT_EQ(streams(R"({"model":"m","prompt":"x","stream":true})"), "false");
  EXPECT_EQ(streams(R"({"model":"m","input":"x"})"), "");
}

TEST(Line, WhatIsWrongIsNamed) {
  const auto names = [](std::string_view text, std::string_view field) {
    const auto line = parse_line(text, "");
    return !line.has_value() && line.error().detail.starts_with(field);
  };
  EXPECT_TRUE(names("[1]", "write a JSON object"));
  EXPECT_TRUE(names(R"({"model":"m"})", "messages, prompt or input"));
  EXPECT_TRUE(names(R"({"prompt":"x"})", "model"));
  EXPECT_TRUE(names(R"({"model":7,"prompt":"x"})", "body"));
  EXPECT_TRUE(names(R"({"custom_id":"a","method":"GET","url":"/v1/completions"})", "method"));
  EXPECT_TRUE(names(R"({"custom_id":"a","url":"/v1/files","body":{}})", "url"));
  EXPECT_TRUE(names(R"({"custom_id":"a","url":"/v1/completions"})", "body"));
  EXPECT_EQ(unreadable_line(R"({"custom_id":"a","url":7})").custom_id, R"("a")");
}

TEST(Line, WorkIsTheLimitOfTokensAndWhatIsRead) {
  const auto work = [](std::string_view text) { return parse_line(text, "")->work; };
  EXPECT_NEAR(work(R"({"model":"m","prompt":"x","options":{"num_predict":500}})"), 500, 1);
  EXPECT_NEAR(work(R"({"model":"m","messages":[],"max_completion_tokens":300})"), 300, 1);
  EXPECT_NEAR(work(R"({"model":"m","prompt":"x"})"), output_tokens_prior, 1);
  EXPECT_GT(work(R"({"model":"m","prompt":")" + std::string(6400, 'x') + R"("})"),
            output_tokens_prior + 90);
}

TEST(Line, ALongListToEmbedIsCutInOrder) {
  std::string list;
  for (int i = 0; i < 40; ++i) list += (i == 0 ? "\"t" : ",\"t") + std::to_string(i) + "\"";
  const auto line = parse_line(R"({"model":"m","input":[)" + list + R"(],"truncate":true})", "");
  ASSERT_TRUE(line.has_value());
  ASSERT_EQ(line->parts(), 3u);
  std::string joined;
  for (std::size_t part = 0; part < line->parts(); ++part) {
    const std::string body = part_body(*line, part);
    EXPECT_EQ(api::json_field(body, "truncate"), "true");
    const std::string_view texts = api::json_field(body, "input");
    joined += (joined.empty() ? "" : ",") + std::string(texts.substr(1, texts.size() - 2));
  }
  EXPECT_EQ(joined, list);
  EXPECT_EQ(
      parse_line(R"({"model":"m","input":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18]})", "")
          ->parts(),
      1u);
}

}  // namespace
}  // namespace sollol::batch

#include "batch/result.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

namespace sollol::batch {
namespace {

namespace json = boost::json;

json::object written(const Line& line, std::vector<TaskResult> parts) {
  const std::string text = output_line(line, 7, parts);
  EXPECT_EQ(std::ranges::count(text, '\n'), 1) << text;
  return json::parse(text).as_object();
}

TaskResult good(std::string body) {
  return {.status = 200, .node = "a", .body = std::move(body), .took_s = 2, .attempts = 1};
}

TEST(Result, APlainLineHasTheAnswerUsageNodeAndTimings) {
  const Line line = *parse_line(R"({"model":"m","prompt":"x"})", "");
  const auto out = written(
      line, {good(R"({"response":"hi","total_duration":3000000000,"load_duration":1000000000,)"
                  R"("prompt_eval_count":32,"prompt_eval_duration":500000000,"eval_count":8,)"
                  R"("eval_duration":1500000000})"
                  "\n")});
  EXPECT_EQ(out.at("line"), 7);
  EXPECT_EQ(out.at("status"), 200);
  EXPECT_EQ(out.at("node"), "a");
  EXPECT_EQ(out.at("response").at("response"), "hi");
  EXPECT_EQ(out.at("usage").at("output_tokens"), 8);
  EXPECT_EQ(out.at("timings").at("load_s"), 1.0);
  EXPECT_EQ(out.at("timings").at("output_s"), 1.5);
  EXPECT_FALSE(out.contains("error"));
}

TEST(Result, ServiceIsWithoutLoadingAndWaiting) {
  const Line line = *parse_line(R"({"model":"m","prompt":"x"})", "");
  const Cost cost = cost_of(
      line,
      good(R"({"total_duration":9000000000,"load_duration":5000000000,"prompt_eval_count":32,)"
           R"("prompt_eval_duration":500000000,"eval_count":8,"eval_duration":1500000000})"),
      99);
  EXPECT_DOUBLE_EQ(cost.service_s, 2);
  EXPECT_DOUBLE_EQ(cost.work, 8 + 32 * prompt_token_cost);
  EXPECT_DOUBLE_EQ(cost_of(line, good("{}"), 99).work, 99);
}

TEST(Result, AnErrorIsInTheLinesForm) {
  const Line plain = *parse_line(R"({"model":"m","prompt":"x"})", "");
  auto out = written(plain, {{.status = 404, .node = "a", .body = R"({"error":"no \"m\""})"}});
  EXPECT_EQ(out.at("status"), 404);
  EXPECT_EQ(out.at("error"), "no \"m\"");
  EXPECT_FALSE(out.contains("response"));
  EXPECT_EQ(written(plain, {{.body = "nobody\nthere"}}).at("error"), "nobody\nthere");

  const Line file = *parse_line(
      R"({"custom_id":"c","url":"/v1/completions","body":{"model":"m","prompt":"x"}})", "");
  out = written(file, {{.status = 400, .body = R"({"error":{"message":"bad"}})"}});
  EXPECT_EQ(out.at("custom_id"), "c");
  EXPECT_EQ(out.at("response").at("status_code"), 400);
  EXPECT_EQ(out.at("response").at("body").at("error").at("message"), "bad");
  EXPECT_TRUE(out.at("error").is_null());
  out = written(file, {{.body = "nobody there"}});
  EXPECT_TRUE(out.at("response").is_null());
  EXPECT_EQ(out.at("error").at("message"), "nobody there");
}

TEST(Result, TheBatchFileFormIsOpenAIs) {
  const Line file = *parse_line(
      R"({"custom_id":"c","url":"/v1/completions","body":{"model":"m","prompt":"x"}})", "");
  const auto out = written(file, {good(R"({"choices":[],"usage":{"prompt_tokens":3}})")});
  EXPECT_EQ(out.at("id"), "batch_req_000000007");
  EXPECT_EQ(out.at("response").at("status_code"), 200);
  EXPECT_TRUE(out.at("response").at("body").as_object().contains("choices"));
  EXPECT_TRUE(out.at("error").is_null());
  EXPECT_EQ(out.at("sollol").at("node"), "a");
  EXPECT_EQ(out.at("sollol").at("usage").at("prompt_tokens"), 3);
}

TEST(Result, PartsOfAListAreJoinedInOrderWithTheirTextUntouched) {
  Line line = *parse_line(R"({"model":"m","input":["x"]})", "");
  line.inputs = inputs_per_part + 1;
  auto second =
      good(R"({"model":"m","embeddings":[[3e-05]],"prompt_eval_count":2,"total_duration":5})");
  second.node = "b";
  const std::vector<TaskResult> parts = {
      good(R"({"model":"m","embeddings":[[0.10],[2]],"prompt_eval_count":3,"total_duration":4})"),
      second};
  const std::string text = output_line(line, 1, parts);
  EXPECT_NE(text.find(R"("embeddings":[[0.10],[2],[3e-05]])"), std::string::npos) << text;
  const json::object out = json::parse(text).as_object();
  EXPECT_EQ(out.at("node"), "a, b");
  EXPECT_EQ(out.at("response").at("prompt_eval_count"), 5);
  EXPECT_EQ(out.at("response").at("total_duration"), 9);

  Line openai = *parse_line(R"({"model":"m","input":["x"],"encoding_format":"float"})", "");
  openai.inputs = inputs_per_part + 1;
  const auto joined = written(
      openai,
      {good(
           R"({"object":"list","data":[{"index":0,"embedding":[1]}],"usage":{"prompt_tokens":1}})"),
       good(
           R"({"object":"list","data":[{"index":0,"embedding":[2]}],"usage":{"prompt_tokens":2}})")});
  const json::array& data = joined.at("response").at("data").as_array();
  ASSERT_EQ(data.size(), 2u);
  EXPECT_EQ(data[1].at("index"), 1);
  EXPECT_EQ(data[1].at("embedding").at(0), 2);
  EXPECT_EQ(joined.at("response").at("usage").at("prompt_tokens"), 3);
}

TEST(Result, OnePartThatFailedFailsTheLine) {
  Line line = *parse_line(R"({"model":"m","input":["x"]})", "");
  line.inputs = inputs_per_part + 1;
  const auto out = written(
      line, {good(R"({"embeddings":[[1]]})"), {.status = 400, .body = R"({"error":"too long"})"}});
  EXPECT_EQ(out.at("error"), "too long");
}

TEST(Result, WhatMayPassIsAskedAgain) {
  for (const int status : {0, 408, 429, 500, 502, 503, 504})
    EXPECT_EQ(judge(status), Verdict::again) << status;
  for (const int status : {200, 400, 401, 403, 404, 413})
    EXPECT_EQ(judge(status), Verdict::final) << status;
}

}  // namespace
}  // namespace sollol::batch

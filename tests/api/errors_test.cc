#include "api/errors.h"

#include <gtest/gtest.h>

namespace sollol::api {
namespace {

TEST(ErrorReply, SpeaksTheCallersForm) {
  EXPECT_EQ(error_reply(Dialect::native, 500, "say \"a<b\"").body,
            R"({"error":"say \"a\u003cb\""})");
  EXPECT_EQ(error_reply(Dialect::openai, 404, "gone").body,
            R"({"error":{"message":"gone","type":"not_found_error","param":null,"code":null}})");
  EXPECT_EQ(
      error_reply(Dialect::anthropic, 503, "busy", "7").body,
      R"({"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_7"})");
  EXPECT_EQ(
      error_reply(Dialect::anthropic, 503, "busy", "req_7").body,
      R"({"type":"error","error":{"type":"overloaded_error","message":"busy"},"request_id":"req_7"})");
  EXPECT_EQ(error_reply(Dialect::anthropic, 418, "x").body,
            R"({"type":"error","error":{"type":"api_error","message":"x"}})");
}

TEST(ErrorReply, TypesFollowTheStatus) {
  const auto has = [](Dialect dialect, int status, const char* type) {
    return error_reply(dialect, status, "m")
        .body.contains(std::string("\"type\":\"") + type + "\"");
  };
  EXPECT_TRUE(has(Dialect::openai, 400, "invalid_request_error"));
  EXPECT_TRUE(has(Dialect::openai, 503, "api_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 400, "invalid_request_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 401, "authentication_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 403, "permission_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 404, "not_found_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 429, "rate_limit_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 529, "overloaded_error"));
  EXPECT_TRUE(has(Dialect::anthropic, 500, "api_error"));
}

struct WordsCase {
  Operation operation;
  int status;
  const char* body;
};

TEST(ModelNotFound, UsesEachRoutesWords) {
  const WordsCase table[] = {
      {Operation::generate, 404, R"({"error":"model 'X' not found"})"},
      {Operation::chat, 404, R"({"error":"model 'X' not found"})"},
      {Operation::remove, 404, R"({"error":"model 'X' not found"})"},
      {Operation::show, 404, R"({"error":"model 'X:latest' not found"})"},
      {Operation::embed, 404, R"({"error":"model \"X\" not found, try pulling it first"})"},
      {Operation::embeddings, 404, R"({"error":"model \"X\" not found, try pulling it first"})"},
      {Operation::copy, 404, R"({"error":"model \"X\" not found"})"},
      {Operation::chat_completions, 404,
       R"({"error":{"message":"model 'X' not found","type":"not_found_error","param":null,"code":null}})"},
      {Operation::messages, 404,
       R"({"type":"error","error":{"type":"not_found_error","message":"model 'X' not found"}})"},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(operation_name(row.operation));
    const auto reply = model_not_found(row.operation, "X");
    EXPECT_EQ(reply.status, row.status);
    EXPECT_EQ(reply.body, row.body);
    EXPECT_EQ(reply.content_type, "application/json; charset=utf-8");
  }
}

TEST(MissingModel, UsesEachRoutesWords) {
  const WordsCase table[] = {
      {Operation::generate, 404, R"({"error":"model '' not found"})"},
      {Operation::embed, 404, R"({"error":"model '' not found"})"},
      {Operation::chat, 400, R"({"error":"model is required"})"},
      {Operation::embeddings, 400, R"({"error":"model is required"})"},
      {Operation::show, 400, R"({"error":"model is required"})"},
      {Operation::pull, 400, R"({"error":"invalid model name"})"},
      {Operation::chat_completions, 400,
       R"({"error":{"message":"model is required","type":"invalid_request_error","param":null,"code":null}})"},
      {Operation::messages, 400,
       R"({"type":"error","error":{"type":"invalid_request_error","message":"model is required"}})"},
  };
  for (const auto& row : table) {
    SCOPED_TRACE(operation_name(row.operation));
    const auto reply = missing_model(row.operation);
    EXPECT_EQ(reply.status, row.status);
    EXPECT_EQ(reply.body, row.body);
  }
}

TEST(InvalidModel, NamesAConflictOfSources) {
  EXPECT_EQ(invalid_model(Operation::chat, "m:").body, R"({"error":"invalid model name"})");
  EXPECT_EQ(invalid_model(Operation::chat, "m:cloud:local").body,
            R"({"error":"use either :local or :cloud, not both: \"m:cloud:local\""})");
  EXPECT_EQ(invalid_model(Operation::chat, "m:").status, 400);
}

TEST(PlainReplies, AreGins) {
  EXPECT_EQ(plain_404().status, 404);
  EXPECT_EQ(plain_404().body, "404 page not found");
  EXPECT_EQ(plain_404().content_type, "text/plain");
  EXPECT_EQ(plain_405().status, 405);
  EXPECT_EQ(plain_405().body, "405 method not allowed");
}

}  // namespace
}  // namespace sollol::api

// The OpenAI and Anthropic routes, over real sockets.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "sim/client.h"
#include "sim/fleet.h"
#include "sim/models.h"

namespace sollol::sim {
namespace {

namespace json = boost::json;

json::array user(std::string_view text) { return {{{"role", "user"}, {"content", text}}}; }

const json::value& weather_tool() {
  static const json::value tool = json::parse(
      R"({"name":"get_weather",
          "parameters":{"type":"object","properties":{"city":{"type":"string"}}}})");
  return tool;
}

class Apis : public testing::Test {
 protected:
  static NodeSpec node() {
    ModelSpec hearing{.name = "gemma3n:e4b", .capabilities = {"completion", "vision", "audio"}};
    return {.name = "a", .models = {llama(), thinker(), nomic(), hearing}};
  }
  Fleet fleet{{.nodes = {node(), {.name = "empty"}}, .time_scale = 100}};
  std::string url = fleet.url("a");

  std::string native_text(std::string_view question) {
    json::object body = {{"model", "llama3.2"},
                         {"messages", user(question)},
                         {"stream", false},
                         {"options", {{"temperature", 1}}}};
    return std::string(post(url, "/api/chat", body).json().at("message").at("content").as_string());
  }
};

TEST_F(Apis, OpenAiChatAnswersWhatTheNativeRouteDoes) {
  const auto reply =
      post(url, "/v1/chat/completions", {{"model", "llama3.2"}, {"messages", user("Hi")}}).json();
  EXPECT_EQ(reply.at("object"), "chat.completion");
  EXPECT_EQ(reply.at("system_fingerprint"), "fp_ollama");
  const auto& choice = reply.at("choices").at(0);
  EXPECT_EQ(choice.at("message").at("content").as_string(), native_text("Hi"));
  EXPECT_EQ(choice.at("finish_reason"), "stop");
  const auto& usage = reply.at("usage");
  EXPECT_EQ(usage.at("total_tokens").as_int64(),
            usage.at("prompt_tokens").as_int64() + usage.at("completion_tokens").as_int64());
}

TEST_F(Apis, OpenAiChatStreamsChunksAFinishTheUsageAndDone) {
  const auto reply = post(url, "/v1/chat/completions",
                          {{"model", "llama3.2"},
                           {"messages", user("Hi")},
                           {"max_tokens", 3},
                           {"stream", true},
                           {"stream_options", {{"include_usage", true}}}});
  EXPECT_EQ(reply.header("Content-Type"), "text/event-stream");
  const auto events = reply.events();
  ASSERT_EQ(events.size(), 6U);  // three tokens, finish, usage, [DONE]
  EXPECT_EQ(events[0].at("object"), "chat.completion.chunk");
  EXPECT_TRUE(events[0].at("choices").at(0).at("finish_reason").is_null());
  EXPECT_EQ(events[3].at("choices").at(0).at("finish_reason"), "length");
  EXPECT_TRUE(events[4].at("choices").as_array().empty());
  EXPECT_EQ(events[4].at("usage").at("completion_tokens"), 3);
  EXPECT_EQ(events[5], "[DONE]");
}

TEST_F(Apis, OpenAiToolArgumentsAreAString) {
  const json::value tool = {{"type", "function"}, {"function", weather_tool()}};
  const auto reply = post(url, "/v1/chat/completions",
                          {{"model", "llama3.2"},
                           {"messages", user("weather in Paris?")},
                           {"tools", json::array{tool}}})
                         .json();
  const auto& choice = reply.at("choices").at(0);
  EXPECT_EQ(choice.at("finish_reason"), "tool_calls");
  const auto& function = choice.at("message").at("tool_calls").at(0).at("function");
  EXPECT_EQ(function.at("name"), "get_weather");
  EXPECT_TRUE(json::parse(function.at("arguments").as_string()).at("city").is_string());
}

TEST_F(Apis, OpenAiCompletionsStreamTextWithZeroUsageInEachChunk) {
  const auto events = post(url, "/v1/completions",
                           {{"model", "llama3.2"},
                            {"prompt", "Cheese"},
                            {"max_tokens", 2},
                            {"stream", true},
                            {"stream_options", {{"include_usage", true}}}})
                          .events();
  ASSERT_EQ(events.size(), 5U);
  EXPECT_EQ(events[0].at("object"), "text_completion");
  EXPECT_EQ(events[0].at("usage").at("total_tokens"), 0);
  EXPECT_EQ(events[2].at("choices").at(0).at("finish_reason"), "length");
  EXPECT_EQ(events[3].at("usage").at("completion_tokens"), 2);
}

TEST_F(Apis, OpenAiEmbeddingsComeAsNumbersOrPacked) {
  const auto numbers = post(url, "/v1/embeddings",
                            {{"model", "nomic-embed-text"}, {"input", "x"}, {"dimensions", 3}})
                           .json();
  EXPECT_EQ(numbers.at("data").at(0).at("embedding").as_array().size(), 3U);
  const auto packed = post(url, "/v1/embeddings",
                           {{"model", "nomic-embed-text"},
                            {"input", "x"},
                            {"dimensions", 3},
                            {"encoding_format", "base64"}})
                          .json();
  EXPECT_EQ(packed.at("data").at(0).at("embedding").as_string().size(), 16U);  // twelve bytes
  EXPECT_EQ(packed.at("usage").at("prompt_tokens"), 1);
}

TEST_F(Apis, OpenAiModelsAreAListOrNull) {
  const auto models = get(url, "/v1/models").json();
  EXPECT_EQ(models.at("data").at(0).at("id"), "llama3.2:latest");
  EXPECT_EQ(models.at("data").at(0).at("owned_by"), "library");
  EXPECT_TRUE(get(fleet.url("empty"), "/v1/models").json().at("data").is_null());
  EXPECT_EQ(get(url, "/v1/models/llama3.2").json().at("id"), "llama3.2");
}

struct FormCase {
  const char* name;
  const char* path;
  const char* body;
  int status;
  const char* type;
};
class ErrorForms : public Apis, public testing::WithParamInterface<FormCase> {};
TEST_P(ErrorForms, AreThoseOfTheApi) {
  const auto reply = ask(url, {.path = GetParam().path, .body = GetParam().body});
  EXPECT_EQ(reply.status, GetParam().status);
  EXPECT_EQ(reply.json().at("error").at("type"), GetParam().type);
  EXPECT_FALSE(reply.json().at("error").at("message").as_string().empty());
  EXPECT_EQ(reply.json().as_object().contains("request_id"),
            std::string_view(GetParam().path) == "/v1/messages");
}
INSTANTIATE_TEST_SUITE_P(
    Table, ErrorForms,
    testing::Values(
        FormCase{"chat_json", "/v1/chat/completions", "{", 400, "invalid_request_error"},
        FormCase{"chat_messages", "/v1/chat/completions", R"({"model":"llama3.2"})", 400,
                 "invalid_request_error"},
        FormCase{"chat_absent", "/v1/chat/completions",
                 R"({"model":"zz","messages":[{"role":"user","content":"x"}]})", 404,
                 "not_found_error"},
        FormCase{"chat_image", "/v1/chat/completions",
                 R"({"model":"llama3.2","messages":[{"role":"user","content":
                    [{"type":"image_url","image_url":{"url":"http://x/a.png"}}]}]})",
                 400, "invalid_request_error"},
        FormCase{"embeddings_absent", "/v1/embeddings", R"({"model":"zz","input":"x"})", 404,
                 "not_found_error"},
        FormCase{"responses_absent", "/v1/responses", R"({"model":"zz","input":"x"})", 404,
                 "not_found_error"},
        FormCase{"messages_model", "/v1/messages",
                 R"({"max_tokens":1,"messages":[{"role":"user","content":"x"}]})", 400,
                 "invalid_request_error"},
        FormCase{"messages_tokens", "/v1/messages",
                 R"({"model":"llama3.2","messages":[{"role":"user","content":"x"}]})", 400,
                 "invalid_request_error"},
        FormCase{"messages_absent", "/v1/messages",
                 R"({"model":"zz","max_tokens":1,"messages":[{"role":"user","content":"x"}]})", 404,
                 "not_found_error"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(Apis, ResponsesStreamNamedEventsInSequence) {
  const auto reply =
      post(url, "/v1/responses",
           {{"model", "llama3.2"}, {"input", "Hi"}, {"stream", true}, {"max_output_tokens", 3}});
  const auto events = reply.events();
  EXPECT_TRUE(reply.body.starts_with("event: response.created\ndata: {"));
  std::string text;
  for (std::size_t i = 0; i < events.size(); ++i) {
    EXPECT_EQ(events[i].at("sequence_number"), i);
    if (events[i].at("type") == "response.output_text.delta")
      text += events[i].at("delta").as_string();
  }
  const auto& end = events.back();
  EXPECT_EQ(end.at("type"), "response.completed");
  EXPECT_EQ(end.at("response").at("output").at(0).at("content").at(0).at("text").as_string(), text);
  EXPECT_EQ(end.at("response").at("usage").at("output_tokens"), 3);
}

TEST_F(Apis, ResponsesCallFunctionsWithFlatTools) {
  auto tool = weather_tool().as_object();
  tool["type"] = "function";
  const auto reply =
      post(url, "/v1/responses",
           {{"model", "llama3.2"}, {"input", "weather?"}, {"tools", json::array{tool}}})
          .json();
  EXPECT_EQ(reply.at("output").at(0).at("type"), "function_call");
  EXPECT_EQ(reply.at("output").at(0).at("name"), "get_weather");
}

TEST_F(Apis, AnthropicMessagesStreamTheirEventsInOrder) {
  const auto reply =
      post(url, "/v1/messages",
           {{"model", "llama3.2"}, {"max_tokens", 2}, {"messages", user("Hi")}, {"stream", true}});
  std::vector<std::string> types;
  for (const auto& event : reply.events()) types.emplace_back(event.at("type").as_string());
  EXPECT_EQ(types,
            (std::vector<std::string>{"message_start", "content_block_start", "content_block_delta",
                                      "content_block_delta", "content_block_stop", "message_delta",
                                      "message_stop"}));
  EXPECT_EQ(reply.events()[5].at("delta").at("stop_reason"), "max_tokens");
}

TEST_F(Apis, AnthropicMessagesCallToolsAndReadResults) {
  const json::value tool = {{"name", "get_weather"},
                            {"input_schema", weather_tool().at("parameters")}};
  auto messages = user("weather in Paris?");
  const auto call = post(url, "/v1/messages",
                         {{"model", "llama3.2"},
                          {"max_tokens", 99},
                          {"messages", messages},
                          {"tools", json::array{tool}}})
                        .json();
  EXPECT_EQ(call.at("stop_reason"), "tool_use");
  EXPECT_TRUE(call.at("content").at(0).at("input").at("city").is_string());
  messages.push_back({{"role", "assistant"}, {"content", call.at("content")}});
  messages.push_back(
      {{"role", "user"},
       {"content", {{{"type", "tool_result"}, {"tool_use_id", "x"}, {"content", "14"}}}}});
  const auto answer = post(url, "/v1/messages",
                           {{"model", "llama3.2"},
                            {"max_tokens", 99},
                            {"messages", messages},
                            {"tools", json::array{tool}}})
                          .json();
  EXPECT_EQ(answer.at("content").at(0).at("type"), "text");
}

TEST_F(Apis, AnthropicThinkingIsWaivedForAModelThatCannot) {
  const auto blocks = [&](std::string_view model) {
    json::object body = {{"model", model},
                         {"max_tokens", 500},
                         {"messages", user("Hi")},
                         {"thinking", {{"type", "enabled"}}}};
    return post(url, "/v1/messages", body).json().at("content").as_array();
  };
  EXPECT_EQ(blocks("qwen3:4b").at(0).at("type"), "thinking");
  EXPECT_EQ(blocks("llama3.2").at(0).at("type"), "text");
}

TEST_F(Apis, TranscriptionsReadMultipartForms) {
  const auto form = [&](std::string_view model, std::string_view format) {
    std::string body;
    for (const auto& [name, value] :
         {std::pair{"model", model}, std::pair{"response_format", format}}) {
      body += "--cut\r\nContent-Disposition: form-data; name=\"" + std::string(name) +
              "\"\r\n\r\n" + std::string(value) + "\r\n";
    }
    body +=
        "--cut\r\nContent-Disposition: form-data; name=\"file\"; "
        "filename=\"a.wav\"\r\n\r\nRIFF\r\n--cut--\r\n";
    return ask(url, {.path = "/v1/audio/transcriptions",
                     .body = body,
                     .headers = {{"Content-Type", "multipart/form-data; boundary=cut"}}});
  };
  const auto as_json = form("gemma3n:e4b", "json");
  EXPECT_FALSE(as_json.json().at("text").as_string().empty());
  const auto as_text = form("gemma3n:e4b", "text");
  EXPECT_EQ(as_text.header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(as_text.body, as_json.json().at("text").as_string());
  EXPECT_EQ(form("llama3.2", "json").status, 400);
  EXPECT_EQ(form("zz", "json").status, 404);
}

}  // namespace
}  // namespace sollol::sim

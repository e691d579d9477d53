// The native routes and the transport, over real sockets.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <cmath>

#include "sim/client.h"
#include "sim/fleet.h"
#include "sim/models.h"

namespace sollol::sim {
namespace {

namespace json = boost::json;

class Server : public testing::Test {
 protected:
  static NodeSpec node() {
    auto thinking = thinker();
    return {.name = "a", .models = {llama(), thinking, nomic()}};
  }
  Fleet fleet{{.nodes = {node()}, .time_scale = 100}};
  std::string url = fleet.url("a");

  Reply generate(json::object body) {
    body.emplace("model", "llama3.2");
    return post(url, "/api/generate", body);
  }
  Reply chat(json::object body) {
    body.emplace("model", "llama3.2");
    return post(url, "/api/chat", body);
  }
  static json::array user(std::string_view text) { return {{{"role", "user"}, {"content", text}}}; }
};

TEST_F(Server, AnswersTheRootAsOllamaDoes) {
  const auto reply = get(url, "/");
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "Ollama is running");
  EXPECT_EQ(reply.header("Content-Type"), "text/plain; charset=utf-8");
  EXPECT_EQ(reply.header("Content-Length"), "17");
  EXPECT_FALSE(reply.header("Date").empty());
  EXPECT_EQ(reply.header("Server"), "");
}

TEST_F(Server, HeadHasNoBody) {
  const auto reply = ask(url, {.method = "HEAD", .path = "/"});
  EXPECT_EQ(reply.status, 200);
  EXPECT_EQ(reply.body, "");
  EXPECT_EQ(reply.header("Content-Length"), "17");
}

struct PlainCase {
  const char* method;
  const char* path;
  int status;
  const char* text;
};
class PlainAnswers : public Server, public testing::WithParamInterface<PlainCase> {};
TEST_P(PlainAnswers, ArePlainText) {
  const auto reply = ask(url, {.method = GetParam().method, .path = GetParam().path});
  EXPECT_EQ(reply.status, GetParam().status);
  EXPECT_EQ(reply.body, GetParam().text);
  EXPECT_EQ(reply.header("Content-Type"), "text/plain");
}
INSTANTIATE_TEST_SUITE_P(
    Table, PlainAnswers,
    testing::Values(PlainCase{"GET", "/api/nothing", 404, "404 page not found"},
                    PlainCase{"GET", "/v1/models/a/b", 404, "404 page not found"},
                    PlainCase{"GET", "/api/chat", 405, "405 method not allowed"},
                    PlainCase{"POST", "/api/tags", 405, "405 method not allowed"}));

struct ErrorCase {
  const char* name;
  const char* path;
  const char* body;
  int status;
  const char* text;
};
class NativeErrors : public Server, public testing::WithParamInterface<ErrorCase> {};
TEST_P(NativeErrors, HaveOllamasWords) {
  const auto reply = ask(url, {.path = GetParam().path, .body = GetParam().body});
  EXPECT_EQ(reply.status, GetParam().status);
  EXPECT_EQ(reply.error(), GetParam().text);
  EXPECT_EQ(reply.header("Content-Type"), "application/json; charset=utf-8");
}
INSTANTIATE_TEST_SUITE_P(
    Table, NativeErrors,
    testing::Values(
        ErrorCase{"empty", "/api/generate", "", 400, "missing request body"},
        ErrorCase{"cut", "/api/chat", "{\"model\":", 400, "unexpected EOF"},
        ErrorCase{"no_json", "/api/chat", "hello", 400,
                  "invalid character 'h' looking for beginning of value"},
        ErrorCase{"type", "/api/generate", R"({"model":1})", 400,
                  "json: cannot unmarshal number into Go struct field GenerateRequest.model of "
                  "type string"},
        ErrorCase{"no_model", "/api/generate", "{}", 404, "model '' not found"},
        ErrorCase{"chat_no_model", "/api/chat", "{}", 400, "model is required"},
        ErrorCase{"absent", "/api/generate", R"({"model":"zz","prompt":"x"})", 404,
                  "model 'zz' not found"},
        ErrorCase{"bad_name", "/api/generate", R"({"model":"-x","prompt":"x"})", 400,
                  "invalid model name"},
        ErrorCase{"sources", "/api/generate", R"({"model":"a:cloud:local"})", 400,
                  "use either :local or :cloud, not both: \"a:cloud:local\""},
        ErrorCase{"embed_absent", "/api/embed", R"({"model":"zz","input":"x"})", 404,
                  "model \"zz\" not found, try pulling it first"},
        ErrorCase{"embed_input", "/api/embed", R"({"model":"nomic-embed-text","input":[1]})", 400,
                  "invalid input type"},
        ErrorCase{"embed_long", "/api/embed",
                  R"({"model":"nomic-embed-text","input":"a b c d e f","truncate":false,
                      "options":{"num_ctx":4}})",
                  400, "the input length exceeds the context length"},
        ErrorCase{"old_embeddings_case", "/api/embeddings",
                  R"({"model":"Nomic-embed-text","prompt":"x"})", 404,
                  "model \"Nomic-embed-text\" not found, try pulling it first"},
        ErrorCase{"show_absent", "/api/show", R"({"model":"zz"})", 404,
                  "model 'zz:latest' not found"},
        ErrorCase{"capability", "/api/generate", R"({"model":"nomic-embed-text","prompt":"x"})",
                  400, "\"nomic-embed-text\" does not support generate"},
        ErrorCase{"think", "/api/generate", R"({"model":"llama3.2","prompt":"x","think":true})",
                  400, "\"llama3.2\" does not support thinking"},
        ErrorCase{"raw", "/api/generate",
                  R"({"model":"llama3.2","prompt":"x","raw":true,"system":"s"})", 400,
                  "raw mode does not support template, system, or context"},
        ErrorCase{"option", "/api/generate",
                  R"({"model":"llama3.2","prompt":"x","options":{"num_ctx":"big"}})", 500,
                  "option \"num_ctx\" must be of type integer"},
        ErrorCase{"keep_alive", "/api/generate", R"({"model":"llama3.2","keep_alive":"10"})", 400,
                  "time: missing unit in duration \"10\""}),
    [](const auto& row) { return std::string(row.param.name); });

TEST_F(Server, StreamsOneRecordAChunk) {
  const auto reply = generate({{"prompt", "Hi"}, {"options", {{"num_predict", 5}}}});
  EXPECT_EQ(reply.header("Content-Type"), "application/x-ndjson");
  EXPECT_EQ(reply.header("Transfer-Encoding"), "chunked");
  const auto lines = reply.lines();
  ASSERT_EQ(lines.size(), 6U);
  EXPECT_EQ(reply.chunks.size(), 6U);
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(lines[i].at("done"), false);
  EXPECT_EQ(lines[5].at("done_reason"), "length");
  EXPECT_EQ(lines[5].at("eval_count"), 5);
  EXPECT_EQ(lines[5].at("model"), "llama3.2");
  EXPECT_TRUE(lines[5].as_object().contains("context"));
}

TEST_F(Server, AStreamedAnswerIsTheWholeAnswer) {
  const auto whole = generate({{"prompt", "Hi"}, {"stream", false}}).json();
  std::string joined;
  for (const auto& line : generate({{"prompt", "Hi"}}).lines())
    joined += line.at("response").as_string();
  EXPECT_EQ(whole.at("response").as_string(), joined);
  EXPECT_FALSE(joined.empty());
}

TEST_F(Server, DurationsAddUpAndCountInNanoseconds) {
  const auto last =
      generate({{"prompt", "Hi"}, {"stream", false}, {"options", {{"num_predict", 10}}}}).json();
  const auto of = [&](const char* key) { return last.at(key).as_int64(); };
  EXPECT_GE(of("load_duration"), 1'000'000'000);  // 2 GB at 2 GB/s
  EXPECT_EQ(of("eval_duration"), 100'000'000);    // ten tokens at 100 a second
  EXPECT_EQ(of("prompt_eval_duration"), of("prompt_eval_count") * 500'000);
  EXPECT_EQ(of("total_duration"),
            of("load_duration") + of("prompt_eval_duration") + of("eval_duration"));
}

TEST_F(Server, WaitingForASlotShowsInTheTotalOnly) {
  fleet.set_fault("a", {.kind = FaultKind::stall_after_tokens, .tokens = 1, .count = 1});
  TestConnection ahead(url), behind(url);  // the first keeps its slot until it leaves
  const std::string body = R"({"model":"llama3.2","prompt":"one","stream":false})";
  ahead.send({.path = "/api/generate", .body = body});
  ASSERT_TRUE(fleet.wait_until([&] { return fleet.counters("a").tokens == 1; }));
  behind.send({.path = "/api/generate", .body = body});
  ASSERT_TRUE(fleet.wait_until([&] { return fleet.counters("a").in_flight == 2; }));
  ahead.close();
  const auto answer = behind.read().json();
  const auto of = [&](const char* key) { return answer.at(key).as_int64(); };
  EXPECT_GT(of("total_duration"),
            of("load_duration") + of("prompt_eval_duration") + of("eval_duration"));
}

TEST_F(Server, ContinuesTheAnswerThatAnAssistantMessageBegins) {
  auto messages = user("Tell me a story");
  const auto whole = std::string(chat({{"messages", messages}, {"stream", false}})
                                     .json()
                                     .at("message")
                                     .at("content")
                                     .as_string());
  for (const auto cut : {std::size_t{1}, whole.size() / 3, whole.size() / 2}) {
    if ((static_cast<unsigned char>(whole[cut]) & 0xc0) == 0x80) continue;  // inside a character
    auto begun = messages;
    begun.push_back({{"role", "assistant"}, {"content", whole.substr(0, cut)}});
    const auto rest = chat({{"messages", begun}, {"stream", false}}).json();
    EXPECT_EQ(whole.substr(0, cut) + std::string(rest.at("message").at("content").as_string()),
              whole);
  }
}

TEST_F(Server, ContinuesARawPrompt) {
  const auto raw = [&](const std::string& prompt) {
    return std::string(generate({{"prompt", prompt}, {"raw", true}, {"stream", false}})
                           .json()
                           .at("response")
                           .as_string());
  };
  const auto whole = raw("Once upon");
  EXPECT_EQ(whole.substr(0, 7) + raw("Once upon" + whole.substr(0, 7)), whole);
}

TEST_F(Server, AGreedyAnswerDoesNotDependOnTheSeed) {
  const auto answer = [&](int seed, double temperature) {
    return generate({{"prompt", "Hi"},
                     {"stream", false},
                     {"options", {{"seed", seed}, {"temperature", temperature}}}})
        .json()
        .at("response");
  };
  EXPECT_EQ(answer(1, 0), answer(2, 0));
  EXPECT_NE(answer(1, 0.8), answer(2, 0.8));
  EXPECT_EQ(answer(1, 0.8), answer(1, 0.8));
}

TEST_F(Server, JsonFollowsTheSchema) {
  const json::value schema = json::parse(
      R"({"type":"object","properties":{"name":{"type":"string"},
          "age":{"type":"integer","minimum":18,"maximum":20},
          "tags":{"type":"array","items":{"enum":["x","y"]},"minItems":2},
          "inner":{"$ref":"#/$defs/I"}},
          "$defs":{"I":{"type":"object","properties":{"yes":{"type":"boolean"}}}}})");
  const auto reply = generate({{"prompt", "Hi"}, {"stream", false}, {"format", schema}}).json();
  const auto value = json::parse(reply.at("response").as_string());
  EXPECT_TRUE(value.at("name").is_string());
  EXPECT_GE(value.at("age").as_int64(), 18);
  EXPECT_LE(value.at("age").as_int64(), 20);
  EXPECT_EQ(value.at("tags").as_array().size(), 2U);
  EXPECT_TRUE(value.at("inner").at("yes").is_bool());
}

TEST_F(Server, CallsAToolThatIsAskedForAndThenReadsItsResult) {
  const json::value tools = json::parse(
      R"([{"type":"function","function":{"name":"get_weather","parameters":{"type":"object",
          "properties":{"city":{"type":"string"}}}}}])");
  auto messages = user("What is the weather in Paris?");
  const auto lines = chat({{"messages", messages}, {"tools", tools}}).lines();
  json::value call;
  for (const auto& line : lines) {
    const auto& message = line.at("message").as_object();
    if (message.contains("tool_calls")) call = message.at("tool_calls").at(0);
  }
  EXPECT_EQ(call.at("function").at("name"), "get_weather");
  EXPECT_TRUE(call.at("function").at("arguments").at("city").is_string());
  messages.push_back({{"role", "assistant"}, {"content", ""}, {"tool_calls", json::array{call}}});
  messages.push_back({{"role", "tool"}, {"content", "14 degrees"}});
  const auto answer =
      chat({{"messages", messages}, {"tools", tools}, {"stream", false}}).json().at("message");
  EXPECT_FALSE(answer.as_object().contains("tool_calls"));
  EXPECT_FALSE(answer.at("content").as_string().empty());
}

TEST_F(Server, AThinkingModelThinksUnlessToldNotTo) {
  const auto ask_it = [&](json::object more) {
    more["model"] = "qwen3:4b";
    more["messages"] = user("Hi");
    more["stream"] = false;
    return post(url, "/api/chat", more).json().at("message");
  };
  const auto thinking = ask_it({});
  const auto silent = ask_it({{"think", false}});
  EXPECT_FALSE(thinking.at("thinking").as_string().empty());
  EXPECT_FALSE(silent.as_object().contains("thinking"));
  EXPECT_EQ(thinking.at("content"), silent.at("content"));
}

TEST_F(Server, PreloadsAndUnloads) {
  const auto loaded = generate({});
  EXPECT_EQ(loaded.json().at("done_reason"), "load");
  EXPECT_EQ(loaded.header("Transfer-Encoding"), "");
  EXPECT_EQ(get(url, "/api/ps").json().at("models").as_array().size(), 1U);
  EXPECT_EQ(chat({{"keep_alive", 0}}).json().at("done_reason"), "unload");
  EXPECT_EQ(get(url, "/api/ps").json().at("models").as_array().size(), 0U);
  EXPECT_EQ(generate({{"model", "nomic-embed-text"}, {"keep_alive", 0}}).json().at("done_reason"),
            "unload");
}

TEST_F(Server, PsShowsTheContextAndForeverAsAFarDate) {
  generate({{"keep_alive", -1}, {"options", {{"num_ctx", 8192}}}});
  const auto model = get(url, "/api/ps").json().at("models").at(0);
  EXPECT_EQ(model.at("context_length"), 8192);
  EXPECT_EQ(model.at("size"), model.at("size_vram"));
  EXPECT_TRUE(model.at("expires_at").as_string().starts_with("23"));
}

TEST_F(Server, TagsListTheModelsWithTheirDigests) {
  const auto reply = get(url, "/api/tags");
  const auto models = reply.json().at("models").as_array();
  ASSERT_EQ(models.size(), 3U);
  EXPECT_EQ(models[0].at("name"), "llama3.2:latest");
  EXPECT_EQ(models[0].at("digest").as_string().size(), 64U);
  EXPECT_EQ(models[2].at("capabilities").at(0), "embedding");
}

TEST_F(Server, ShowTellsTheBlobAndTheTensors) {
  const auto shown = post(url, "/api/show", {{"name", "LLAMA3.2"}}).json();
  EXPECT_TRUE(std::string(shown.at("modelfile").as_string()).contains("\nFROM /"));
  EXPECT_EQ(shown.at("model_info").at("general.architecture"), "llama");
  EXPECT_TRUE(shown.at("model_info").at("tokenizer.ggml.tokens").as_array().empty());
  EXPECT_FALSE(shown.at("tensors").as_array().empty());
  EXPECT_EQ(shown.at("capabilities").at(0), "completion");
  EXPECT_FALSE(get(url, "/api/ps").json().at("models").as_array().size());  // not loaded by it
}

TEST_F(Server, EmbeddingsHaveUnitLengthAndTheAskedDimensions) {
  const auto reply =
      post(url, "/api/embed",
           {{"model", "nomic-embed-text"}, {"input", {"one", "two"}}, {"dimensions", 16}})
          .json();
  const auto vectors = reply.at("embeddings").as_array();
  ASSERT_EQ(vectors.size(), 2U);
  double square = 0;
  for (const auto& x : vectors[0].as_array()) square += std::pow(x.to_number<double>(), 2);
  EXPECT_EQ(vectors[0].as_array().size(), 16U);
  EXPECT_NEAR(square, 1, 1e-5);
  EXPECT_NE(vectors[0], vectors[1]);
  EXPECT_EQ(post(url, "/api/embed", {{"model", "nomic-embed-text"}})
                .json()
                .at("embeddings")
                .as_array()
                .size(),
            0U);
  const auto old =
      post(url, "/api/embeddings", {{"model", "nomic-embed-text"}, {"prompt", "one"}}).json();
  EXPECT_EQ(old.at("embedding").as_array().size(), 768U);
}

TEST_F(Server, AnotherContextReloadsTheModel) {
  generate({{"prompt", "x"}, {"options", {{"num_ctx", 4096}}}});
  generate({{"prompt", "x"}});  // the automatic default is 4096 as well
  EXPECT_EQ(fleet.counters("a").model.loads, 1U);
  generate({{"prompt", "x"}, {"options", {{"num_ctx", 2048}}}});
  EXPECT_EQ(fleet.counters("a").model.loads, 2U);
  EXPECT_EQ(fleet.counters("a").model.reloads, 1U);
}

TEST_F(Server, AClientThatLeavesFreesItsSlot) {
  generate({{"prompt", "warm"}});
  TestConnection leaving(url);
  leaving.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  EXPECT_TRUE(leaving.read_some().starts_with("HTTP/1.1 200"));
  leaving.close();
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").client_gone == 1; }));
  EXPECT_EQ(generate({{"prompt", "next"}}).lines().back().at("done"), true);
}

TEST_F(Server, AClientThatLeavesAColdModelThrowsItsLoadAway) {
  Fleet slow({.nodes = {{.name = "a", .models = {llama()}}},
              .time_scale = 0.01});  // a load of 100 real seconds
  TestConnection leaving(slow.url("a"));
  leaving.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  ASSERT_TRUE(slow.wait_until([&] { return slow.counters("a").in_flight == 1; }));
  leaving.close();
  EXPECT_TRUE(slow.wait_until([&] { return slow.counters("a").in_flight == 0; }));
  EXPECT_TRUE(slow.wait_until([&] { return slow.counters("a").model.loads_cancelled == 1; }));
}

TEST_F(Server, AForeignHostOrOriginIsRefusedWithoutABody) {
  for (const auto& header :
       {std::pair{"Host", "example.com"}, std::pair{"Origin", "https://example.com"}}) {
    const auto reply = ask(url, {.method = "GET", .path = "/api/tags", .headers = {header}});
    EXPECT_EQ(reply.status, 403) << header.first;
    EXPECT_EQ(reply.body, "");
  }
  for (const auto& header :
       {std::pair{"Host", "node.local:1"}, std::pair{"Host", "192.168.1.4"},
        std::pair{"Origin", "http://localhost:3000"}, std::pair{"Origin", "app://x"}}) {
    EXPECT_EQ(ask(url, {.method = "GET", .path = "/api/tags", .headers = {header}}).status, 200)
        << header.second;
  }
}

TEST_F(Server, LargeAnswersAreChunkedSmallOnesHaveALength) {
  EXPECT_FALSE(get(url, "/api/version").header("Content-Length").empty());
  const auto shown = post(url, "/api/show", {{"model", "llama3.2"}});
  EXPECT_EQ(shown.header("Content-Length"), "");
  EXPECT_EQ(shown.header("Transfer-Encoding"), "chunked");
}

TEST_F(Server, OneConnectionTakesPipelinedRequests) {
  TestConnection connection(url);
  connection.send_raw(
      "GET / HTTP/1.1\r\nHost: localhost\r\n\r\nGET /api/version HTTP/1.1\r\nHost: "
      "localhost\r\n\r\n");
  EXPECT_EQ(connection.read().body, "Ollama is running");
  EXPECT_EQ(connection.read().json().at("version"), "0.33.0");
  EXPECT_EQ(fleet.counters("a").accepted, 1U);
}

TEST_F(Server, WhatIsNoHttpIsABadRequest) {
  TestConnection connection(url);
  connection.send_raw("hello\r\n\r\n");
  EXPECT_EQ(connection.read().status, 400);
}

TEST_F(Server, AnAccountIsNeeded) {
  const auto reply = post(url, "/api/me", json::object{});
  EXPECT_EQ(reply.status, 401);
  EXPECT_EQ(reply.error(), "unauthorized");
}

TEST_F(Server, TheHeadOfARequestIsKeptAsItCame) {
  ask(url, {.path = "/api/show?x=1",
            .body = R"({"model":"llama3.2"})",
            .headers = {{"X-Odd", "1"}, {"a-b", "2"}}});
  const auto seen = fleet.last_request("a", "/api/show");
  ASSERT_TRUE(seen.has_value());
  EXPECT_TRUE(seen->head.starts_with("POST /api/show?x=1 HTTP/1.1\r\nX-Odd: 1\r\na-b: 2\r\nHost: "))
      << seen->head;
  EXPECT_EQ(seen->body, R"({"model":"llama3.2"})");
}

}  // namespace
}  // namespace sollol::sim

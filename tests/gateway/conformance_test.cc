// Each route, asked of one simulated node directly and through the gateway over three: same status,
// headers that matter, body and stream shape.
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <set>
#include <sstream>

#include "harness.h"

namespace sollol::test {
namespace {

namespace json = boost::json;

struct RouteCase {
  const char* name;
  const char* method;
  const char* target;
  std::string body = {};
  const char* fields = "";
};

/// Values that differ from one answer to the next by their nature.
bool is_volatile(std::string_view key) {
  static const std::set<std::string_view> names{
      "created_at",           "modified_at",   "expires_at", "total_duration", "load_duration",
      "prompt_eval_duration", "eval_duration", "id",         "created",        "created_at",
      "request_id",           "item_id",       "sollol",     "context"};
  return names.contains(key);
}

/// The same document with what is volatile replaced by its kind.
json::value shape(const json::value& value) {
  if (const auto* object = value.if_object()) {
    json::object out;
    for (const auto& [key, item] : *object) {
      out[key] =
          is_volatile(key)
              ? json::value(std::string("<") + std::string(json::to_string(item.kind())) + ">")
              : shape(item);
    }
    out.erase("sollol");
    return out;
  }
  if (const auto* array = value.if_array()) {
    json::array out;
    for (const json::value& item : *array) out.push_back(shape(item));
    return out;
  }
  return value;
}

/// A body as lines to compare: JSON documents and events by their shape, anything else as it is.
std::vector<std::string> lines_of(const std::string& body) {
  std::vector<std::string> lines;
  std::istringstream stream(body);
  for (std::string line; std::getline(stream, line);) {
    const std::string prefix = line.starts_with("data: {") ? "data: " : "";
    boost::system::error_code bad;
    const json::value parsed = json::parse(std::string_view(line).substr(prefix.size()), bad);
    lines.push_back(bad ? line : prefix + json::serialize(shape(parsed)));
  }
  return lines;
}

class Conformance : public testing::TestWithParam<RouteCase> {
 protected:
  static void SetUpTestSuite() {
    sim::FleetConfig config =
        equal_nodes(3, {chat_model(), chat_model("qwen2.5"), embedding_model()});
    sim::NodeSpec lone = config.nodes.front();
    lone.name = "lone";
    lone_ = std::make_unique<sim::Fleet>(sim::FleetConfig{.nodes = {lone}});
    fleet_ = std::make_unique<TestFleet>(std::move(config));
  }
  static void TearDownTestSuite() {
    fleet_.reset();
    lone_.reset();
  }
  static Answer direct(const RouteCase& route) {
    const std::string url = lone_->url("lone");
    const auto port = static_cast<std::uint16_t>(std::stoi(url.substr(url.rfind(':') + 1)));
    return ask(port, route.method, route.target, route.body, route.fields);
  }
  static std::unique_ptr<TestFleet> fleet_;
  static std::unique_ptr<sim::Fleet> lone_;
};
std::unique_ptr<TestFleet> Conformance::fleet_;
std::unique_ptr<sim::Fleet> Conformance::lone_;

TEST_P(Conformance, SameAsAskedDirectly) {
  const RouteCase& route = GetParam();
  const Answer want = direct(route);
  const Answer got = fleet_->ask(route.method, route.target, route.body, route.fields);
  EXPECT_EQ(got.status, want.status) << got.body;
  EXPECT_EQ(got.field("content-type"), want.field("content-type"));
  EXPECT_EQ(got.complete, want.complete);
  EXPECT_EQ(lines_of(got.body), lines_of(want.body));
  EXPECT_NE(got.field("x-sollol-node"), "");
}

constexpr const char* generate = "/api/generate";
constexpr const char* chat = "/api/chat";
const std::string hello = R"("messages":[{"role":"user","content":"Hello, who are you?"}])";
const std::string tools =
    R"("tools":[{"type":"function","function":{"name":"get_weather","description":"w","parameters":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}}],)"
    R"("messages":[{"role":"user","content":"use get_weather for Paris"}])";

INSTANTIATE_TEST_SUITE_P(
    Routes, Conformance,
    testing::Values(
        RouteCase{"root", "GET", "/"}, RouteCase{"root_head", "HEAD", "/"},
        RouteCase{"version", "GET", "/api/version"},
        RouteCase{"version_head", "HEAD", "/api/version"}, RouteCase{"tags", "GET", "/api/tags"},
        RouteCase{"tags_head", "HEAD", "/api/tags"},
        RouteCase{"show", "POST", "/api/show", R"({"model":"llama3.2"})"},
        RouteCase{"show_by_old_key", "POST", "/api/show", R"({"name":"llama3.2"})"},
        RouteCase{"show_missing", "POST", "/api/show", R"({"model":"nope"})"},
        RouteCase{"generate_stream", "POST", generate,
                  R"({"model":"llama3.2","prompt":"Why is the sky blue?"})"},
        RouteCase{"generate_whole", "POST", generate,
                  R"({"model":"llama3.2","prompt":"Why is the sky blue?","stream":false})"},
        RouteCase{"generate_limited", "POST", generate,
                  R"({"model":"llama3.2","prompt":"Why?","options":{"num_predict":3}})"},
        RouteCase{"generate_raw", "POST", generate,
                  R"({"model":"llama3.2","prompt":"Once upon","raw":true,"stream":false})"},
        RouteCase{
            "generate_json", "POST", generate,
            R"({"model":"llama3.2","prompt":"a JSON object","format":"json","stream":false})"},
        RouteCase{"generate_spelled_otherwise", "POST", generate,
                  R"({"model":"LLAMA3.2:Latest","prompt":"hi","stream":false})"},
        RouteCase{"generate_missing", "POST", generate, R"({"model":"nope","prompt":"hi"})"},
        RouteCase{"generate_no_model", "POST", generate, R"({"prompt":"hi"})"},
        RouteCase{"generate_bad_json", "POST", generate, R"({"model":)"},
        RouteCase{"generate_no_body", "POST", generate}, RouteCase{"generate_get", "GET", generate},
        RouteCase{"generate_on_embedder", "POST", generate,
                  R"({"model":"nomic-embed-text","prompt":"hi"})"},
        RouteCase{"generate_preload", "POST", generate, R"({"model":"qwen2.5"})"},
        RouteCase{"generate_unload", "POST", generate, R"({"model":"qwen2.5","keep_alive":0})"},
        RouteCase{"chat_stream", "POST", chat, R"({"model":"llama3.2",)" + hello + "}"},
        RouteCase{"chat_whole", "POST", chat,
                  R"({"model":"llama3.2","stream":false,)" + hello + "}"},
        RouteCase{"chat_tools", "POST", chat,
                  R"({"model":"llama3.2","stream":false,)" + tools + "}"},
        RouteCase{"chat_tools_stream", "POST", chat, R"({"model":"llama3.2",)" + tools + "}"},
        RouteCase{"chat_missing", "POST", chat, R"({"model":"nope",)" + hello + "}"},
        RouteCase{"chat_no_model", "POST", chat, "{" + hello + "}"},
        RouteCase{"embed", "POST", "/api/embed",
                  R"({"model":"nomic-embed-text","input":["one","two"]})"},
        RouteCase{"embed_missing", "POST", "/api/embed", R"({"model":"nope","input":"one"})"},
        RouteCase{"embeddings", "POST", "/api/embeddings",
                  R"({"model":"nomic-embed-text","prompt":"one"})"},
        RouteCase{"embeddings_missing", "POST", "/api/embeddings",
                  R"({"model":"nope","prompt":"one"})"},
        RouteCase{"openai_chat", "POST", "/v1/chat/completions",
                  R"({"model":"llama3.2",)" + hello + "}"},
        RouteCase{"openai_chat_stream", "POST", "/v1/chat/completions",
                  R"({"model":"llama3.2","stream":true,"stream_options":{"include_usage":true},)" +
                      hello + "}"},
        RouteCase{"openai_missing", "POST", "/v1/chat/completions",
                  R"({"model":"nope",)" + hello + "}"},
        RouteCase{"openai_completions", "POST", "/v1/completions",
                  R"({"model":"llama3.2","prompt":"Say hi"})"},
        RouteCase{"openai_completions_stream", "POST", "/v1/completions",
                  R"({"model":"llama3.2","prompt":"Say hi","stream":true})"},
        RouteCase{"openai_embeddings", "POST", "/v1/embeddings",
                  R"({"model":"nomic-embed-text","input":"one"})"},
        RouteCase{"responses", "POST", "/v1/responses", R"({"model":"llama3.2","input":"Say hi"})"},
        RouteCase{"responses_stream", "POST", "/v1/responses",
                  R"({"model":"llama3.2","input":"Say hi","stream":true})"},
        RouteCase{"openai_models", "GET", "/v1/models"},
        RouteCase{"openai_model", "GET", "/v1/models/llama3.2"},
        RouteCase{"openai_model_missing", "GET", "/v1/models/nope"},
        RouteCase{"anthropic", "POST", "/v1/messages",
                  R"({"model":"llama3.2","max_tokens":50,)" + hello + "}"},
        RouteCase{"anthropic_stream", "POST", "/v1/messages",
                  R"({"model":"llama3.2","max_tokens":50,"stream":true,)" + hello + "}"},
        RouteCase{"anthropic_no_max_tokens", "POST", "/v1/messages",
                  R"({"model":"llama3.2",)" + hello + "}"},
        RouteCase{"me", "POST", "/api/me"}, RouteCase{"unknown_path", "GET", "/api/nothing"},
        RouteCase{"unknown_v1_path", "POST", "/v1/images/generations", "{}"},
        RouteCase{"wrong_method", "DELETE", "/api/tags"},
        RouteCase{"trailing_slash", "GET", "/api/tags/"},
        RouteCase{
            "blob_check_missing", "HEAD",
            "/api/blobs/sha256:29fdb92e57cf0827ded04ae6461b5931d01fa595843f55d36f5b275a52087dd2"},
        RouteCase{"blob_bad_digest", "HEAD", "/api/blobs/sha256:xyz"},
        RouteCase{"delete_missing", "DELETE", "/api/delete", R"({"model":"nope"})"},
        RouteCase{"copy_missing", "POST", "/api/copy",
                  R"({"source":"nope","destination":"other"})"},
        RouteCase{"copy", "POST", "/api/copy", R"({"source":"llama3.2","destination":"copied"})"},
        RouteCase{"delete", "DELETE", "/api/delete", R"({"model":"copied"})"},
        RouteCase{"pull_whole", "POST", "/api/pull", R"({"model":"llama3.2","stream":false})"},
        RouteCase{"create_nothing", "POST", "/api/create", R"({"model":"new"})"},
        RouteCase{"foreign_origin", "GET", "/api/tags", "", "Origin: https://evil.example\r\n"},
        RouteCase{"local_origin", "GET", "/api/version", "", "Origin: http://localhost:3000\r\n"}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::test

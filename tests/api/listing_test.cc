#include "api/listing.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>

namespace sollol::api {
namespace {

constexpr const char* llama_entry =
    R"({"name":"Llama3.2:3b","model":"Llama3.2:3b","modified_at":"2026-08-21T12:00:00.5+02:00","size":2019393189,)"
    R"("digest":"a80c","details":{"family":"llama","families":["llama"],"parameter_size":"3.2B",)"
    R"("quantization_level":"Q4_K_M","context_length":131072},"capabilities":["completion","tools"]})";

std::string tags(std::initializer_list<std::string> entries) {
  std::string body = "{\"models\":[";
  for (const auto& entry : entries) body += (body.back() == '[' ? "" : ",") + entry;
  return body + "]}";
}

TEST(ParseTags, ReadsAWholeEntry) {
  const auto got = parse_tags(tags({llama_entry}));
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 1u);
  const ModelEntry& entry = got->front();
  EXPECT_EQ(entry.name, "Llama3.2:3b");
  EXPECT_EQ(entry.key, "registry.ollama.ai/library/llama3.2:3b");
  EXPECT_EQ(entry.digest, "a80c");
  EXPECT_EQ(entry.size_bytes, 2019393189u);
  EXPECT_EQ(entry.modified_at, "2026-08-21T12:00:00.5+02:00");
  EXPECT_EQ(entry.capabilities, (std::vector<std::string>{"completion", "tools"}));
  EXPECT_EQ(entry.parameter_size, "3.2B");
  EXPECT_EQ(entry.quantization, "Q4_K_M");
  EXPECT_EQ(entry.context_length, 131072u);
  EXPECT_FALSE(entry.remote);
  EXPECT_FALSE(entry.embedding_only);
  EXPECT_EQ(entry.raw, llama_entry);
}

TEST(ParseTags, IsLenientWithWhatIsMissingOrOdd) {
  const auto got = parse_tags(
      tags({R"({"model":"only-model"})", R"({"name":"x","size":-1,"digest":7,"details":[]})", "7",
            R"({"size":1})", R"({"name":"y","size":1.5e3,"details":null,"capabilities":"c"})"}));
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 3u);
  EXPECT_EQ((*got)[0].name, "only-model");
  EXPECT_EQ((*got)[1].size_bytes, 0u);
  EXPECT_EQ((*got)[1].digest, "");
  EXPECT_EQ((*got)[1].raw, R"({"name":"x","size":-1,"digest":7,"details":[]})");
  EXPECT_EQ((*got)[2].size_bytes, 1500u);
}

TEST(ParseTags, TellsStubsAndEmbeddersApart) {
  const auto got = parse_tags(
      tags({R"({"name":"a:cloud","remote_host":"https://ollama.com:443","remote_model":"a"})",
            R"({"name":"e","capabilities":["embedding"]})",
            R"({"name":"old","details":{"family":"nomic-bert"}})",
            R"({"name":"new","details":{"family":"bert"},"capabilities":["completion"]})"}));
  ASSERT_TRUE(got);
  EXPECT_TRUE((*got)[0].remote);
  EXPECT_TRUE((*got)[1].embedding_only);
  EXPECT_TRUE((*got)[2].embedding_only);
  EXPECT_FALSE((*got)[3].embedding_only);
}

TEST(ParseTags, RefusesWhatIsNoList) {
  for (const auto* body : {"", "[]", "{}", "{\"models\":7}", "{\"models\":[", "Ollama is running",
                           "{\"models\":[{\"name\":}]}"}) {
    const auto got = parse_tags(body);
    ASSERT_FALSE(got) << body;
    EXPECT_EQ(got.error().kind, ErrorKind::bad_reply);
  }
  EXPECT_TRUE(parse_tags(R"({"models":null})")->empty());
  EXPECT_TRUE(parse_tags(R"({"models":[]})")->empty());
}

TEST(ParseTags, RefusesMoreThanItsLimit) {
  std::string body = "{\"models\":[{\"name\":\"m\"}";
  for (std::size_t i = 1; i < models_max_default; ++i) body += ",{\"name\":\"m\"}";
  EXPECT_EQ(parse_tags(body + "]}")->size(), models_max_default);
  EXPECT_FALSE(parse_tags(body + ",{\"name\":\"m\"}]}"));
}

TEST(ParseTags, TakesRawTextAndValuesFromTheSameList) {
  const auto got = parse_tags(R"({"models":[{"name":"a"}],"models":[{"name":"b"}]})");
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 1u);
  EXPECT_EQ(got->front().raw, "{\"name\":\"" + got->front().name + "\"}");
}

RC_GTEST_PROP(ParseTagsProperty, AnyEditIsSafeAndRawTextStaysJson, ()) {
  std::string body = tags({llama_entry, R"({"name":"b","details":{"families":null}})"});
  const auto edits = *rc::gen::container<std::vector<std::pair<std::size_t, char>>>(
      rc::gen::pair(rc::gen::inRange<std::size_t>(0, body.size()),
                    rc::gen::elementOf(std::string("{}[]\":,\\1 \x80"))));
  for (const auto& [at, c] : edits) body[at] = c;
  const auto got = parse_tags(body);
  if (!got) return;
  for (const auto& entry : *got) {
    boost::json::error_code error;
    const auto value = boost::json::parse(entry.raw, error);
    RC_ASSERT(!error && value.is_object());
  }
}

TEST(ParsePs, ReadsALoadedModel) {
  const auto got = parse_ps(
      R"({"models":[{"name":"m","model":"m","size":10,"digest":"d","expires_at":"2026-08-21T12:05:00Z",
      "size_vram":7,"context_length":4096},{"name":"old"}]})");
  ASSERT_TRUE(got);
  ASSERT_EQ(got->size(), 2u);
  EXPECT_EQ(got->front().key, "registry.ollama.ai/library/m:latest");
  EXPECT_EQ(got->front().size_bytes, 10u);
  EXPECT_EQ(got->front().vram_bytes, 7u);
  EXPECT_EQ(got->front().context_length, 4096u);
  EXPECT_EQ(got->front().expires_at, "2026-08-21T12:05:00Z");
  EXPECT_EQ(got->back().context_length, 0u);
}

TEST(ParameterCount, ReadsWhatOllamaWrites) {
  EXPECT_DOUBLE_EQ(parameter_count("3.2B"), 3.2e9);
  EXPECT_DOUBLE_EQ(parameter_count("137M"), 137e6);
  EXPECT_DOUBLE_EQ(parameter_count("22.57K"), 22570);
  EXPECT_DOUBLE_EQ(parameter_count("1T"), 1e12);
  for (const char* nothing : {"", "B", "7", "-7B", "8x7B", "7 B", "seven"})
    EXPECT_DOUBLE_EQ(parameter_count(nothing), 0) << nothing;
}

TEST(ParseVersion, ReadsTheVersion) {
  EXPECT_EQ(*parse_version(R"({"version":"0.33.0"})"), "0.33.0");
  EXPECT_FALSE(parse_version("{}"));
  EXPECT_FALSE(parse_version(R"({"version":3})"));
  EXPECT_FALSE(parse_version("nginx"));
}

ModelEntry entry(std::string name, std::string digest, std::string modified) {
  const auto raw = "{\"name\":\"" + name + "\",\"digest\":\"" + digest + "\",\"modified_at\":\"" +
                   modified + "\"}";
  return parse_tags("{\"models\":[" + raw + "]}")->front();
}

using Entries = std::vector<ModelEntry>;

template <class T>
std::vector<std::span<const T>> spans(const std::vector<std::vector<T>>& nodes) {
  return {nodes.begin(), nodes.end()};
}

/// name@digest of each entry of a merged body.
std::vector<std::string> listed(const std::string& body) {
  std::vector<std::string> out;
  const auto value = boost::json::parse(body);
  for (const auto& model : value.at("models").as_array()) {
    out.push_back(std::string(model.at("name").as_string()) + "@" +
                  std::string(model.at("digest").as_string()));
  }
  return out;
}

TEST(MergeTags, ListsEachModelOnceNewestFirst) {
  // 12:30+02:00 is before 11:00Z.
  const std::vector<Entries> nodes = {
      {entry("a:1", "d1", "2026-08-21T12:30:00+02:00"), entry("b:1", "d2", "2026-08-21T11:00:00Z")},
      {entry("A:1", "d1", "2026-08-21T09:00:00Z"), entry("c:1", "d3", "")}};
  EXPECT_EQ(listed(merge_tags(spans(nodes))),
            (std::vector<std::string>{"b:1@d2", "a:1@d1", "c:1@d3"}));
}

TEST(MergeTags, PrefersTheCopyOfMostNodesThenTheNewest) {
  const auto old_time = "2026-01-01T00:00:00Z";
  const auto new_time = "2026-08-01T00:00:00Z";
  const std::vector<Entries> most = {{entry("m:1", "old", old_time)},
                                     {entry("m:1", "old", old_time)},
                                     {entry("m:1", "new", new_time)}};
  EXPECT_EQ(listed(merge_tags(spans(most))), std::vector<std::string>{"m:1@old"});
  const std::vector<Entries> tie = {{entry("m:1", "old", old_time)},
                                    {entry("m:1", "new", new_time)}};
  EXPECT_EQ(listed(merge_tags(spans(tie))), std::vector<std::string>{"m:1@new"});
}

TEST(MergeTags, OfNothingIsAnEmptyList) {
  EXPECT_EQ(merge_tags({}), R"({"models":[]})");
  EXPECT_EQ(merge_ps({}), R"({"models":[]})");
}

TEST(MergePs, ListsEachRunnerOnceLongestFirst) {
  const auto node = [](std::initializer_list<const char*> models) {
    std::string body = "{\"models\":[";
    for (const auto* model : models) body += std::string(body.back() == '[' ? "" : ",") + model;
    return *parse_ps(body + "]}");
  };
  const std::vector<std::vector<LoadedModel>> nodes = {
      node({R"({"name":"a:1","digest":"early","expires_at":"2026-08-21T12:00:00+02:00"})"}),
      node({R"({"name":"a:1","digest":"late","expires_at":"2026-08-21T10:30:00Z"})",
            R"({"name":"b:1","digest":"ever","expires_at":"2318-08-21T10:30:00Z"})"})};
  EXPECT_EQ(listed(merge_ps(spans(nodes))), (std::vector<std::string>{"b:1@ever", "a:1@late"}));
}

TEST(OpenAiModels, HaveTheirForm) {
  const std::vector<Entries> nodes = {
      {entry("me/x:1", "d", "2026-08-21T10:00:00.9Z"), entry("y:latest", "d", "")}};
  EXPECT_EQ(
      merge_openai_models(spans(nodes)),
      R"({"object":"list","data":[{"id":"me/x:1","object":"model","created":1787306400,"owned_by":"me"},)"
      R"({"id":"y:latest","object":"model","created":0,"owned_by":"library"}]})");
  EXPECT_EQ(merge_openai_models({}), R"({"object":"list","data":null})");
}

}  // namespace
}  // namespace sollol::api

#include "api/model_name.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "api/model_key_cache.h"

namespace sollol::api {
namespace {

struct NameCase {
  const char* test;
  std::string written;
  std::string key;    // empty: invalid
  std::string shown;  // the canonical form
  ModelSource source = ModelSource::unspecified;
};

void PrintTo(const NameCase& row, std::ostream* out) { *out << row.test; }

class ModelName : public testing::TestWithParam<NameCase> {};

TEST_P(ModelName, HasItsKeyAndItsShortestForm) {
  const auto& row = GetParam();
  const auto key = ModelKey::from(row.written);
  ASSERT_EQ(key.has_value(), !row.key.empty());
  if (key) {
    EXPECT_EQ(key->view(), row.key);
    EXPECT_EQ(key->source(), row.source);
  }
  EXPECT_EQ(canonical_name(row.written), row.shown);
}

INSTANTIATE_TEST_SUITE_P(
    Table, ModelName,
    testing::Values(
        NameCase{"bare", "llama3.2", "registry.ollama.ai/library/llama3.2:latest",
                 "llama3.2:latest"},
        NameCase{"tagged", "llama3.2:3B", "registry.ollama.ai/library/llama3.2:3b", "llama3.2:3B"},
        NameCase{"defaults_spelt_out", "registry.ollama.ai/library/x:1",
                 "registry.ollama.ai/library/x:1", "x:1"},
        NameCase{"defaults_in_capitals", "Registry.Ollama.AI/Library/x",
                 "registry.ollama.ai/library/x:latest", "x:latest"},
        NameCase{"user", "Me/X", "registry.ollama.ai/me/x:latest", "Me/X:latest"},
        NameCase{"other_host", "hf.co/org/repo:Q4_K_M", "hf.co/org/repo:q4_k_m",
                 "hf.co/org/repo:Q4_K_M"},
        NameCase{"other_host_default_namespace", "hf.co/library/m", "hf.co/library/m:latest",
                 "hf.co/library/m:latest"},
        NameCase{"host_with_port", "localhost:5000/ns/m", "localhost:5000/ns/m:latest",
                 "localhost:5000/ns/m:latest"},
        NameCase{"scheme", "https://hf.co/o/m:t", "hf.co/o/m:t", "hf.co/o/m:t"},
        NameCase{"underscore_first", "_x", "registry.ollama.ai/library/_x:latest", "_x:latest"},
        NameCase{"cloud_suffix", "glm-4.6:cloud", "registry.ollama.ai/library/glm-4.6:cloud",
                 "glm-4.6:cloud", ModelSource::cloud},
        NameCase{"cloud_in_tag", "gpt-oss:120b-cloud",
                 "registry.ollama.ai/library/gpt-oss:120b-cloud", "gpt-oss:120b-cloud",
                 ModelSource::cloud},
        NameCase{"cloud_after_tag", "gpt-oss:120b:CLOUD",
                 "registry.ollama.ai/library/gpt-oss:120b-cloud", "gpt-oss:120b-cloud",
                 ModelSource::cloud},
        NameCase{"cloud_twice_said", "gpt-oss:120b-cloud:cloud",
                 "registry.ollama.ai/library/gpt-oss:120b-cloud", "gpt-oss:120b-cloud",
                 ModelSource::cloud},
        NameCase{"local_suffix", "llama3.2:3b:Local", "registry.ollama.ai/library/llama3.2:3b",
                 "llama3.2:3b", ModelSource::local},
        NameCase{"local_without_tag", "llama3.2:local",
                 "registry.ollama.ai/library/llama3.2:latest", "llama3.2:latest",
                 ModelSource::local},
        NameCase{"local_and_cloud", "m:cloud:local", "", "m:cloud:local"},
        NameCase{"local_and_dash_cloud", "m:8b-cloud:local", "", "m:8b-cloud:local"},
        NameCase{"cloud_said_three_times", "m:cloud:cloud", "", "m:cloud:cloud"},
        NameCase{"empty", "", "", ""}, NameCase{"no_tag_after_colon", "model:", "", "model:"},
        NameCase{"no_model", ":tag", "", ":tag"}, NameCase{"only_suffix", ":cloud", "", ":cloud"},
        NameCase{"no_model_after_slash", "ns/", "", "ns/"},
        NameCase{"no_namespace", "/m", "", "/m"},
        NameCase{"nothing_between_slashes", "h//m", "", "h//m"},
        NameCase{"no_host", "/ns/m", "", "/ns/m"}, NameCase{"dot_first", ".m", "", ".m"},
        NameCase{"dash_first", "-m", "", "-m"}, NameCase{"dot_in_namespace", "a.b/m", "", "a.b/m"},
        NameCase{"port_without_namespace", "localhost:5000/m", "", "localhost:5000/m"},
        NameCase{"space", "a b", "", "a b"},
        NameCase{"not_ascii", "mod\xc3\xa9l", "", "mod\xc3\xa9l"},
        NameCase{"nul", std::string("a\0b", 3), "", std::string("a\0b", 3)},
        NameCase{"longest_model", std::string(80, 'm'),
                 "registry.ollama.ai/library/" + std::string(80, 'm') + ":latest",
                 std::string(80, 'm') + ":latest"},
        NameCase{"model_too_long", std::string(81, 'm'), "", std::string(81, 'm')},
        NameCase{"host_too_long", std::string(351, 'h') + "/n/m", "",
                 std::string(351, 'h') + "/n/m"},
        NameCase{"cloud_tag_too_long", "m:" + std::string(80, 't') + ":cloud", "",
                 "m:" + std::string(80, 't') + ":cloud"}),
    [](const auto& row) { return std::string(row.param.test); });

TEST(ModelName, LongestOfAllFitsItsBuffer) {
  const auto written = std::string(350, 'H') + "/" + std::string(80, 'n') + "/" +
                       std::string(80, 'm') + ":" + std::string(80, 't');
  const auto key = ModelKey::from(written);
  ASSERT_TRUE(key);
  EXPECT_EQ(key->view().size(), ModelKey::length_max);
}

TEST(ModelName, TellsConflictFromOtherMistakes) {
  EXPECT_TRUE(has_conflicting_source("m:cloud:local"));
  EXPECT_TRUE(has_conflicting_source("m:local:cloud"));
  EXPECT_TRUE(has_conflicting_source("m:8b-cloud:local"));
  EXPECT_FALSE(has_conflicting_source("m:8b-cloud"));
  EXPECT_FALSE(has_conflicting_source("m:local"));
  EXPECT_FALSE(has_conflicting_source("m:"));
}

TEST(ModelName, NamesItsOwner) {
  EXPECT_EQ(model_namespace("llama3.2"), "library");
  EXPECT_EQ(model_namespace("me/x:1"), "me");
}

/// Names of plausible parts, in which every separator may appear anywhere.
rc::Gen<std::string> any_name() {
  return rc::gen::container<std::string>(rc::gen::elementOf(std::string("aBz09_-.:/: clouDLOCAL")));
}

RC_GTEST_PROP(ModelNameProperty, CanonicalFormHasTheSameKeyAndIsItsOwnCanonicalForm, ()) {
  const auto written = *any_name();
  const auto key = ModelKey::from(written);
  RC_PRE(key.has_value());
  const auto shown = canonical_name(written);
  const auto again = ModelKey::from(shown);
  RC_ASSERT(again.has_value());
  RC_ASSERT(again->view() == key->view());
  RC_ASSERT(canonical_name(shown) == shown);
}

RC_GTEST_PROP(ModelNameProperty, KeysAreTheirOwnKeys, ()) {
  const auto key = ModelKey::from(*any_name());
  RC_PRE(key.has_value());
  const auto again = ModelKey::from(key->view());
  RC_ASSERT(again.has_value());
  RC_ASSERT(*again == *key);
}

TEST(ModelKeyCache, GivesWhatEveryNameGivesByItself) {
  ModelKeyCache cache;
  std::vector<std::string> names{"",          "llama3.2",       "LLAMA3.2:latest",
                                 "a/b/c/d/e", "qwen3:8b-cloud", std::string(2000, 'x')};
  for (int i = 0; i < 100; ++i) names.push_back("model" + std::to_string(i));
  for (int round = 0; round < 2; ++round) {
    for (const std::string& name : names) {
      for (int again = 0; again < 2; ++again) EXPECT_EQ(cache.find(name), ModelKey::from(name));
    }
  }
}

}  // namespace
}  // namespace sollol::api

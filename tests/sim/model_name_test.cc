#include "sim/model_name.h"

#include <gtest/gtest.h>

#include <string>

namespace sollol::sim {
namespace {

struct NameCase {
  const char* written;
  const char* display;
};
class Names : public testing::TestWithParam<NameCase> {};

TEST_P(Names, AreShownInTheShortestForm) {
  const auto name = ModelName::parse(GetParam().written);
  ASSERT_TRUE(name.has_value());
  EXPECT_EQ(name->display(), GetParam().display);
}

INSTANTIATE_TEST_SUITE_P(Table, Names,
                         testing::Values(NameCase{"llama3.2", "llama3.2:latest"},
                                         NameCase{"registry.ollama.ai/library/x:1", "x:1"},
                                         NameCase{"https://registry.ollama.ai/library/x:1", "x:1"},
                                         NameCase{"me/x", "me/x:latest"},
                                         NameCase{"hf.co/org/repo:Q4_K_M", "hf.co/org/repo:Q4_K_M"},
                                         NameCase{"localhost:5000/me/x:1",
                                                  "localhost:5000/me/x:1"}));

class BadNames : public testing::TestWithParam<const char*> {};
TEST_P(BadNames, AreRefused) { EXPECT_FALSE(ModelName::parse(GetParam()).has_value()); }
INSTANTIATE_TEST_SUITE_P(Table, BadNames,
                         testing::Values("", "model:", "-x", "a b", "me/", "a.b/c", "x:t/ag"));

TEST(ModelName, SpellingsOfOneNameHaveOneKey) {
  const auto key = ModelName::parse("llama3.2")->key();
  for (const char* spelling :
       {"LLAMA3.2:Latest", "library/llama3.2", "registry.ollama.ai/library/llama3.2:latest"}) {
    EXPECT_EQ(ModelName::parse(spelling)->key(), key) << spelling;
  }
  EXPECT_NE(ModelName::parse("llama3.2:1b")->key(), key);
}

}  // namespace
}  // namespace sollol::sim

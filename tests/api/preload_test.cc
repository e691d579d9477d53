#include "api/preload.h"

#include <gtest/gtest.h>

#include "api/intent.h"

namespace sollol::api {
namespace {

struct PreloadCase {
  const char* name;
  Operation operation;
  const char* body;
  const char* target;
  const char* preload;
};
class PreloadTable : public testing::TestWithParam<PreloadCase> {};

TEST_P(PreloadTable, LoadsWhatTheRequestWants) {
  const PreloadCase& c = GetParam();
  const Preload preload = preload_for(c.operation, "m", c.body);
  EXPECT_EQ(preload.target, c.target);
  EXPECT_EQ(preload.body, c.preload);
}

INSTANTIATE_TEST_SUITE_P(
    Table, PreloadTable,
    testing::Values(
        PreloadCase{"plain", Operation::generate, R"({"model":"m","prompt":"x"})", "/api/generate",
                    R"({"model":"m","stream":false})"},
        PreloadCase{"runner_options", Operation::chat,
                    R"({"model":"m","options":{"num_ctx":8192,"temperature":0.1,"num_gpu":null,)"
                    R"("use_mmap":true},"keep_alive":"1h","shift":false})",
                    "/api/generate",
                    R"({"model":"m","options":{"num_ctx":8192,"use_mmap":true},)"
                    R"("keep_alive":"1h","shift":false,"stream":false})"},
        PreloadCase{"other_options_only", Operation::generate,
                    R"({"options":{"temperature":0.1},"Keep_Alive":-1})", "/api/generate",
                    R"({"model":"m","keep_alive":-1,"stream":false})"},
        PreloadCase{"unloads_afterwards", Operation::generate, R"({"prompt":"x","keep_alive":0})",
                    "/api/generate", R"({"model":"m","stream":false})"},
        PreloadCase{"unloads_as_text", Operation::generate, R"({"prompt":"x","keep_alive":"0s"})",
                    "/api/generate", R"({"model":"m","stream":false})"},
        PreloadCase{"embed", Operation::embed, R"({"input":"x","options":{"num_ctx":512}})",
                    "/api/embed", R"({"model":"m","input":"","options":{"num_ctx":512}})"},
        PreloadCase{"openai_carries_none", Operation::chat_completions,
                    R"({"options":{"num_ctx":512},"keep_alive":5})", "/api/generate",
                    R"({"model":"m","stream":false})"},
        PreloadCase{"openai_embeddings", Operation::openai_embeddings, R"({"input":"x"})",
                    "/api/embed", R"({"model":"m","input":""})"},
        PreloadCase{"multipart", Operation::transcriptions, "--b\r\n", "/api/generate",
                    R"({"model":"m","stream":false})"}),
    [](const auto& row) { return std::string(row.param.name); });

/// What decides whether a runner fits must be the same for the request and for its preload.
TEST(PreloadRunner, HasTheRequestsRunnerKey) {
  const std::string body =
      R"({"model":"m","prompt":"x","options":{"num_ctx":8192,"num_gpu":7,"seed":1}})" +
      std::string(json_padding, ' ');
  const std::string preload =
      preload_for(Operation::generate, "m", body).body + std::string(json_padding, ' ');
  IntentScanner scanner;
  const auto wanted = scanner.scan({body.data(), body.size() - json_padding}, Operation::generate);
  ASSERT_TRUE(wanted);
  const std::uint64_t key = wanted->runner_key;
  const auto got =
      scanner.scan({preload.data(), preload.size() - json_padding}, Operation::generate);
  ASSERT_TRUE(got);
  EXPECT_NE(key, 0u);
  EXPECT_EQ(got->runner_key, key);
  EXPECT_TRUE(got->empty_prompt);
}

}  // namespace
}  // namespace sollol::api

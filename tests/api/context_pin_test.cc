#include "api/context_pin.h"

#include <gtest/gtest.h>

namespace sollol::api {
namespace {

struct PinCase {
  const char* name;
  const char* body;
  std::optional<const char*> want;
};
class WithNumCtx : public testing::TestWithParam<PinCase> {};

TEST_P(WithNumCtx, ChangesThatAndNothingElse) {
  const auto got = with_num_ctx(GetParam().body, 8192);
  ASSERT_EQ(got.has_value(), GetParam().want.has_value());
  if (got) {
    EXPECT_EQ(*got, *GetParam().want);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Table, WithNumCtx,
    testing::Values(
        PinCase{"absent", R"( {"model" : "m",  "prompt":"{\"options\":1}"} )",
                R"( {"options":{"num_ctx":8192},"model" : "m",  "prompt":"{\"options\":1}"} )"},
        PinCase{"other_value", R"({"options": {"seed":1, "num_ctx" : 2048 },"model":"m"})",
                R"({"options": {"seed":1, "num_ctx" : 8192 },"model":"m"})"},
        PinCase{"no_value", R"({"model":"m","options":{"seed":1}})",
                R"({"model":"m","options":{"num_ctx":8192,"seed":1}})"},
        PinCase{"no_options", R"({"model":"m","options":{ }})",
                R"({"model":"m","options":{"num_ctx":8192 }})"},
        PinCase{"null_options", R"({"model":"m","options":null})",
                R"({"model":"m","options":{"num_ctx":8192}})"},
        PinCase{"any_case", R"({"model":"m","Options":{"num_ctx":1}})",
                R"({"model":"m","Options":{"num_ctx":8192}})"},
        PinCase{
            "equal_keys", R"({"options":{"num_ctx":1,"num_ctx":2},"options":{"seed":3}})",
            R"({"options":{"num_ctx":8192,"num_ctx":8192},"options":{"num_ctx":8192,"seed":3}})"},
        PinCase{"null_at_last", R"({"options":{"num_ctx":1},"options":null})",
                R"({"options":{"num_ctx":8192},"options":{"num_ctx":8192}})"},
        PinCase{"wrong_value", R"({"options":{"num_ctx":"big"}})",
                R"({"options":{"num_ctx":8192}})"},
        PinCase{"of_another_object", R"({"options":{"other":{"num_ctx":1}}})",
                R"({"options":{"num_ctx":8192,"other":{"num_ctx":1}}})"},
        PinCase{"options_are_a_list", R"({"options":[1],"model":"m"})", std::nullopt},
        PinCase{"options_are_a_number", R"({"options":5,"model":"m"})", std::nullopt},
        PinCase{"no_object", "[1]", std::nullopt}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::api

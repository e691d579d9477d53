#include "sim/go_json.h"

#include <gtest/gtest.h>

#include <boost/json/object.hpp>
#include <string>

namespace sollol::sim {
namespace {

using namespace std::chrono_literals;

TEST(GoJson, EscapesWhatGoEscapes) {
  std::string out;
  append_json_string(out, "<b>&\"\\\n\x01\u2028\u2029\u00e9\U0001f642");
  EXPECT_EQ(out, "\"\\u003cb\\u003e\\u0026\\\"\\\\\\n\\u0001\\u2028\\u2029\u00e9\U0001f642\"");
}

TEST(GoJson, BytesThatAreNoUtf8BecomeTheReplacementCharacter) {
  std::string out;
  append_json_string(out, "a\xff\xc3");
  EXPECT_EQ(out, "\"a\\ufffd\\ufffd\"");
}

TEST(GoJson, KeepsTheOrderOfFields) {
  EXPECT_EQ(to_json({{"z", 1}, {"a", nullptr}, {"list", {true, 2.5}}}),
            R"({"z":1,"a":null,"list":[true,2.5]})");
}

struct Number {
  double value;
  const char* text;
};
class GoNumber : public testing::TestWithParam<Number> {};
TEST_P(GoNumber, IsWrittenAsGoWritesIt) {
  std::string out;
  append_json_number(out, GetParam().value);
  EXPECT_EQ(out, GetParam().text);
}
INSTANTIATE_TEST_SUITE_P(Table, GoNumber,
                         testing::Values(Number{0, "0"}, Number{1, "1"}, Number{-0.25, "-0.25"},
                                         Number{0.00001, "0.00001"}, Number{1e-7, "1e-7"},
                                         Number{1e20, "100000000000000000000"},
                                         Number{1e21, "1e+21"}));

struct BadText {
  const char* name;
  const char* text;
  const char* error;
};
class GoDecoder : public testing::TestWithParam<BadText> {};
TEST_P(GoDecoder, RefusesInGoWords) {
  const auto parsed = parse_json(GetParam().text);
  ASSERT_FALSE(parsed.has_value());
  EXPECT_EQ(parsed.error().detail, GetParam().error);
}
INSTANTIATE_TEST_SUITE_P(
    Table, GoDecoder,
    testing::Values(
        BadText{"cut", "{\"model\":", "unexpected EOF"},
        BadText{"no_value", "x", "invalid character 'x' looking for beginning of value"},
        BadText{"bare_key", "{a:1}",
                "invalid character 'a' looking for beginning of object key string"},
        BadText{"no_colon", "{\"a\" 1}", "invalid character '1' after object key"},
        BadText{"no_comma", "{\"a\":1 2}", "invalid character '2' after object key:value pair"},
        BadText{"list", "[1 2]", "invalid character '2' after array element"},
        BadText{"word", "{\"a\":trux}", "invalid character 'x' in literal true (expecting 'e')"}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(GoDecoder, IgnoresWhatFollowsTheFirstValue) {
  const auto parsed = parse_json("{\"a\":1} trailing");
  ASSERT_TRUE(parsed.has_value());
  EXPECT_EQ(parsed->at("a"), 1);
}

TEST(GoTimestamp, CutsTrailingZerosAndShowsTheOffset) {
  const WallTime at = std::chrono::sys_days{std::chrono::year{2026} / 8 / 21} + 10h + 123400us;
  EXPECT_EQ(go_timestamp(at), "2026-08-21T10:00:00.1234Z");
  EXPECT_EQ(go_timestamp(at, 120), "2026-08-21T12:00:00.1234+02:00");
  EXPECT_EQ(go_timestamp(std::chrono::sys_days{std::chrono::year{2026} / 8 / 21}),
            "2026-08-21T00:00:00Z");
}

struct GoDuration {
  const char* text;
  Duration want;
};
class GoDurations : public testing::TestWithParam<GoDuration> {};
TEST_P(GoDurations, AreRead) {
  EXPECT_EQ(parse_go_duration(GetParam().text).value(), GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(Table, GoDurations,
                         testing::Values(GoDuration{"5m", 5min}, GoDuration{"1h30m", 90min},
                                         GoDuration{"-1m", -1min}, GoDuration{"0", 0s},
                                         GoDuration{"1.5s", 1500ms}, GoDuration{"250ms", 250ms}));

TEST(GoDurations, NeedAUnit) {
  EXPECT_EQ(parse_go_duration("10").error().detail, "time: missing unit in duration \"10\"");
  EXPECT_FALSE(parse_go_duration("").has_value());
  EXPECT_FALSE(parse_go_duration("5 parsecs").has_value());
}

}  // namespace
}  // namespace sollol::sim

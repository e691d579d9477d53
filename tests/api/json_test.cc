#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <boost/json.hpp>

#include "api/json_scan.h"
#include "api/json_text.h"

namespace sollol::api {
namespace {

TEST(JsonText, EscapesWhatJsonDemandsAndEveryLineEnd) {
  EXPECT_EQ(json_string("a\"\\\n\r\t"), R"("a\"\\\n\r\t")");
  EXPECT_EQ(json_string(std::string_view("\0\x0b\x0c\x1c\x1d\x1e\x1f", 7)),
            R"("\u0000\u000b\u000c\u001c\u001d\u001e\u001f")");
  EXPECT_EQ(json_string("\xc2\x85\xe2\x80\xa8\xe2\x80\xa9"), R"("\u0085\u2028\u2029")");
  EXPECT_EQ(json_string("h\xc3\xa9\xf0\x9f\x98\x80"), "\"h\xc3\xa9\xf0\x9f\x98\x80\"");
  EXPECT_EQ(json_string("<a&b>"), R"("<a&b>")");
  EXPECT_EQ(json_string("<a&b>", JsonEscape::html), R"("\u003ca\u0026b\u003e")");
}

TEST(JsonText, ReplacesBytesThatAreNoUtf8) {
  for (const auto* bad : {"\x80", "\xff", "\xc3", "\xc0", "\xf5", "\xe2\x80"}) {
    EXPECT_TRUE(json_string(bad).starts_with(R"("\ufffd)")) << json_string(bad);
  }
  EXPECT_EQ(json_string("\xed\xa0\x80"), R"("\ufffd\ufffd\ufffd")");  // a surrogate
  EXPECT_EQ(json_string("\xe0\x80\xaf"), R"("\ufffd\ufffd\ufffd")");  // overlong
  EXPECT_EQ(json_string("a\xc3z"), R"("a\ufffdz")");
}

RC_GTEST_PROP(JsonTextProperty, IsAlwaysOneValidLine, (std::string bytes)) {
  const auto text = json_string(bytes);
  boost::json::error_code error;
  const auto value = boost::json::parse(text, error);
  RC_ASSERT(!error && value.is_string());
  for (const char c : text) RC_ASSERT(static_cast<unsigned char>(c) >= 0x20);
  RC_ASSERT(!text.contains("\xc2\x85") && !text.contains("\xe2\x80\xa8") &&
            !text.contains("\xe2\x80\xa9"));
}

RC_GTEST_PROP(JsonTextProperty, KeepsAsciiText, ()) {
  const auto text = *rc::gen::container<std::string>(rc::gen::inRange<char>(0, 127));
  RC_ASSERT(json_decoded(json_string(text, JsonEscape::html)) == text);
}

TEST(JsonScan, WalksFieldsAndElements) {
  JsonScan object(R"( { "a" : 1 , "b\"}":"x\\\"}", "c":{"d":["}"]}, "e":[], "f":true } trailing)");
  std::vector<std::pair<std::string, std::string>> fields;
  while (object.next()) fields.emplace_back(object.key(), object.value());
  const std::vector<std::pair<std::string, std::string>> want = {
      {"a", "1"}, {R"(b\"})", R"("x\\\"}")"}, {"c", R"({"d":["}"]})"}, {"e", "[]"}, {"f", "true"}};
  EXPECT_EQ(fields, want);

  JsonScan array(R"([1,"two",{"three":3},[4]])");
  std::vector<std::string> elements;
  while (array.next()) elements.emplace_back(array.value());
  EXPECT_EQ(elements, (std::vector<std::string>{"1", "\"two\"", R"({"three":3})", "[4]"}));
}

TEST(JsonScan, StopsWhereTheTextBreaksOff) {
  const std::string whole = R"({"a":[1,{"b":"c\"d"}],"e":12,"f":"g"})";
  for (std::size_t length = 0; length <= whole.size(); ++length) {
    JsonScan scan(std::string_view(whole).substr(0, length));
    std::size_t fields = 0;
    while (scan.next()) ++fields;
    EXPECT_EQ(fields, length >= whole.find("\"}", 30) + 1 ? 3u
                      : length >= 29                      ? 2u
                      : length >= 21                      ? 1u
                                                          : 0u)
        << length;
  }
  for (const auto* text :
       {"", " ", "7", "\"a\"", "{", "[", "{}", "[]", "{,}", "]", "{\"a\"}", "{\"a\":}"}) {
    EXPECT_FALSE(JsonScan(text).next()) << text;
  }
}

TEST(JsonScan, SurvivesDeepNesting) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(JsonScan(deep).next());
  const std::string closed = "[" + std::string(1000, '[') + std::string(1000, ']') + "]";
  EXPECT_TRUE(JsonScan(closed).next());
}

TEST(JsonField, TakesTheLastOrTheFirstOfEqualKeys) {
  EXPECT_EQ(json_field(R"({"a":1,"a":2})", "a"), "2");
  EXPECT_EQ(first_json_field(R"({"a":1,"a":2})", "a"), "1");
  EXPECT_EQ(json_field(R"({"b":{"a":1}})", "a"), "");
}

TEST(JsonUnsigned, ReadsWholeNumbers) {
  EXPECT_EQ(json_unsigned("12"), 12u);
  EXPECT_EQ(json_unsigned("12.9}"), 12u);
  EXPECT_EQ(json_unsigned("-1"), std::nullopt);
  EXPECT_EQ(json_unsigned("\"1\""), std::nullopt);
  EXPECT_EQ(json_unsigned(""), std::nullopt);
  EXPECT_EQ(json_unsigned("9999999999999999999"), 9999999999999999999u);
  EXPECT_EQ(json_unsigned("9999999999999999999,"), 9999999999999999999u);
  EXPECT_EQ(json_unsigned("18446744073709551615}"), 18446744073709551615u);
  EXPECT_EQ(json_unsigned("18446744073709551616}"), std::nullopt);
  EXPECT_EQ(json_unsigned("99999999999999999999"), std::nullopt);
}

TEST(JsonDecoded, UnescapesStrings) {
  EXPECT_EQ(json_decoded(R"("a\u0041\n")"), "aA\n");
  EXPECT_EQ(json_decoded("12"), "12");
  EXPECT_EQ(json_decoded(R"("broken\x")"), R"("broken\x")");
}

RC_GTEST_PROP(JsonScanProperty, NeverLeavesItsText, ()) {
  const auto text =
      *rc::gen::container<std::string>(rc::gen::elementOf(std::string("{}[]\"\\:, a1")));
  std::size_t steps = 0;
  for (JsonScan scan(text); scan.next();) {
    RC_ASSERT(scan.value().data() >= text.data());
    RC_ASSERT(scan.value().data() + scan.value().size() <= text.data() + text.size());
    RC_ASSERT(++steps <= text.size());
  }
}

}  // namespace
}  // namespace sollol::api

#include "http/append.h"

#include <gtest/gtest.h>

namespace sollol::http {
namespace {

TEST(Append, TextsLiteralsAndNumbersFollowEachOther) {
  std::string out = "a";
  const std::string_view none;
  append(out, " ", std::string("b"), none, 42u, "", -7, "\r\n", std::string_view("c"));
  EXPECT_EQ(out, "a b42-7\r\nc");
  append(out, std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(out, "a b42-7\r\nc-9223372036854775808");
}

TEST(Append, NothingIsBetweenThemWhereTheTextGrows) {
  std::string out;
  std::string wanted;
  for (int i = 0; i < 500; ++i) {
    const std::string name(static_cast<std::size_t>(i % 40), 'n');
    append(out, name, ": ", i, "\r\n");
    wanted += name + ": " + std::to_string(i) + "\r\n";
    ASSERT_EQ(out, wanted);
  }
}

TEST(SeparatorAfter, StandsOnlyBetweenItems) {
  EXPECT_EQ(separator_after(""), "");
  EXPECT_EQ(separator_after("a"), ", ");
}

}  // namespace
}  // namespace sollol::http

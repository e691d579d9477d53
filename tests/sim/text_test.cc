#include "sim/text.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace sollol::sim {
namespace {

std::string whole(std::string_view context, std::uint64_t seed = 0) {
  TextStream stream("model", seed, 60, context);
  std::string out;
  while (const auto token = stream.next()) out += *token;
  return out;
}

RC_GTEST_PROP(TextStream, GoesOnWhereACutAnswerEnded,
              (const std::string& prompt, std::uint64_t seed)) {
  const auto context = prompt + "\n";
  const auto answer = whole(context, seed);
  const auto cut = *rc::gen::inRange<std::size_t>(0, answer.size() + 1);
  RC_ASSERT(answer == answer.substr(0, cut) + whole(context + answer.substr(0, cut), seed));
}

RC_GTEST_PROP(TextStream, DependsOnEveryByteBeforeIt, (const std::string& prompt)) {
  RC_ASSERT(whole(prompt + "a\n") == whole(prompt + "a\n"));
  RC_ASSERT(whole(prompt + "a\n") != whole(prompt + "b\n"));
}

TEST(TextStream, SeedsAndModelsDiffer) {
  EXPECT_NE(whole("Why?\n", 1), whole("Why?\n", 2));
  TextStream other("other model", 1, 60, "Why?\n");
  EXPECT_FALSE(whole("Why?\n", 1).starts_with(*other.next() + *other.next() + *other.next()));
}

TEST(TextStream, HoldsWhatEscapingAndSplittingGetWrong) {
  std::string all;
  for (std::uint64_t seed = 0; seed < 50; ++seed) all += whole("Tell me.\n", seed);
  for (const char* hard : {"<", "&", "\"", "\\", "\n", "\u00e9", "\U0001f642"}) {
    EXPECT_TRUE(all.contains(hard)) << hard;
  }
}

RC_GTEST_PROP(SplitTokens, LosesNothingAndCutsNoCharacter, (std::uint64_t seed)) {
  const auto text = whole("x\n", seed);
  std::string joined;
  for (const auto& piece : split_tokens(text)) {
    RC_ASSERT((static_cast<unsigned char>(piece.front()) & 0xc0U) != 0x80U);
    joined += piece;
  }
  RC_ASSERT(joined == text);
}

struct StopCase {
  const char* name;
  std::vector<std::string> stops, pieces;
  const char* shown;
  bool stopped;
};
class StopFilterTable : public testing::TestWithParam<StopCase> {};

TEST_P(StopFilterTable, ShowsWhatComesBeforeTheStop) {
  StopFilter filter(GetParam().stops);
  std::string shown;
  bool stopped = false;
  for (const auto& piece : GetParam().pieces) {
    const auto result = filter.push(piece);
    shown += result.text;
    stopped = result.stopped;
    if (stopped) break;
  }
  if (!stopped) shown += filter.flush();
  EXPECT_EQ(shown, GetParam().shown);
  EXPECT_EQ(stopped, GetParam().stopped);
}

INSTANTIATE_TEST_SUITE_P(
    Table, StopFilterTable,
    testing::Values(StopCase{"none", {}, {"a", "b"}, "ab", false},
                    StopCase{"in_one_piece", {"END"}, {"ab", "cENDd"}, "abc", true},
                    StopCase{"over_pieces", {"END"}, {"aE", "N", "Db"}, "a", true},
                    StopCase{"false_start", {"END"}, {"aE", "Nx"}, "aENx", false},
                    StopCase{"the_first_of_two", {"zz", "b"}, {"abzz"}, "a", true},
                    StopCase{"held_back_at_the_end", {"END"}, {"aEN"}, "aEN", false}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::sim

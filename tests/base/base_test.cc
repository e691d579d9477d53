#include <gtest/gtest.h>

#include <set>
#include <type_traits>
#include <unordered_set>

#include "base/address.h"
#include "base/environment.h"
#include "base/ids.h"
#include "base/random.h"
#include "base/result.h"
#include "base/time.h"

namespace sollol {
namespace {

using namespace std::chrono_literals;

TEST(Address, BracketsOnlyVersionSix) {
  EXPECT_EQ(to_string(Address{"127.0.0.1", 80}), "127.0.0.1:80");
  EXPECT_EQ(to_string(Address{"::1", 11434}), "[::1]:11434");
}

TEST(Address, OrdersByIpThenPort) {
  EXPECT_LT((Address{"127.0.0.1", 2}), (Address{"127.0.0.2", 1}));
  EXPECT_LT((Address{"127.0.0.1", 1}), (Address{"127.0.0.1", 2}));
}

TEST(StrongId, CannotBeMixedWithAnotherIdOrANumber) {
  static_assert(!std::is_convertible_v<NodeId, ModelId>);
  static_assert(!std::is_convertible_v<std::uint32_t, NodeId>);
  static_assert(!std::is_convertible_v<NodeId, std::uint32_t>);
  EXPECT_EQ(NodeId{7}.value(), 7u);
  EXPECT_LT(NodeId{1}, NodeId{2});
}

TEST(StrongId, HashesByValue) {
  const std::unordered_set<NodeId> ids{NodeId{1}, NodeId{2}, NodeId{1}};
  EXPECT_EQ(ids.size(), 2u);
}

TEST(Result, CarriesAValueOrAnError) {
  const Result<int> value = 3;
  ASSERT_TRUE(value.has_value());
  EXPECT_EQ(*value, 3);
  const Result<int> wrong = std::unexpected(bad_input("listen: 'x' is no address"));
  ASSERT_FALSE(wrong.has_value());
  EXPECT_EQ(wrong.error().kind, ErrorKind::bad_input);
  EXPECT_EQ(wrong.error().origin, Origin::client);
  EXPECT_EQ(wrong.error().retry, Retry::never);
  EXPECT_EQ(wrong.error().detail, "listen: 'x' is no address");
}

TEST(Time, ConvertsToSecondsAndBack) {
  EXPECT_DOUBLE_EQ(to_seconds(1500ms), 1.5);
  EXPECT_EQ(from_seconds(0.25), 250ms);
}

TEST(SeededRandom, EqualSeedEqualSequence) {
  SeededRandom a(42), b(42), other(43);
  bool differs = false;
  for (int i = 0; i < 100; ++i) {
    const std::uint64_t bits = a.bits();
    EXPECT_EQ(bits, b.bits());
    differs = differs || bits != other.bits();
  }
  EXPECT_TRUE(differs);
}

TEST(SeededRandom, EveryBitIsSetHalfOfTheTime) {
  SeededRandom random(7);
  std::array<int, 64> ones{};
  constexpr int draws = 20000;
  for (int i = 0; i < draws; ++i) {
    const std::uint64_t bits = random.bits();
    for (std::size_t bit = 0; bit < 64; ++bit) ones[bit] += static_cast<int>(bits >> bit & 1);
  }
  // Six standard deviations of a fair coin.
  for (const int count : ones) EXPECT_NEAR(count, draws / 2, 6 * 71);
}

TEST(EntropySeed, DiffersFromCallToCall) {
  std::set<std::uint64_t> seeds;
  for (int i = 0; i < 8; ++i) seeds.insert(entropy_seed());
  EXPECT_EQ(seeds.size(), 8u);
}

TEST(MapEnvironment, TellsUnsetFromEmpty) {
  const MapEnvironment environment({{"OLLAMA_HOST", "127.0.0.1"}, {"EMPTY", ""}});
  EXPECT_EQ(environment.get("OLLAMA_HOST"), "127.0.0.1");
  EXPECT_EQ(environment.get("EMPTY"), "");
  EXPECT_EQ(environment.get("OTHER"), std::nullopt);
}

TEST(ProcessEnvironment, ReadsTheProcess) {
  ASSERT_EQ(setenv("SOLLOL_TEST_VALUE", "seen", 1), 0);
  const ProcessEnvironment environment;
  EXPECT_EQ(environment.get("SOLLOL_TEST_VALUE"), "seen");
  ASSERT_EQ(unsetenv("SOLLOL_TEST_VALUE"), 0);
  EXPECT_EQ(environment.get("SOLLOL_TEST_VALUE"), std::nullopt);
}

}  // namespace
}  // namespace sollol

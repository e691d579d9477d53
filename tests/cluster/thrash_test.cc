#include "cluster/thrash.h"

#include <gtest/gtest.h>

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;
using Kind = ThrashWatch::Thrash::Kind;

constexpr ThrashLimits limits{.loads_max = 3, .window = 60s};
constexpr TimePoint start{1h};

class Thrashing : public testing::Test {
 protected:
  void reload(std::uint32_t num_ctx, std::string client, Duration at) {
    watch_.note({.node = NodeId{1},
                 .model = "llama3.2",
                 .other_options = true,
                 .options = num_ctx,
                 .num_ctx = num_ctx,
                 .client = std::move(client)},
                start + at, limits);
  }
  void load(std::string model, Duration at, NodeId node = NodeId{1}) {
    watch_.note({.node = node, .model = std::move(model), .client = "eve"}, start + at, limits);
  }
  ThrashWatch watch_;
};

TEST_F(Thrashing, IsToldWithWhoCausesItOnceItIsMoreThanLetPass) {
  for (int i = 0; i < 3; ++i)
    reload(i % 2 == 0 ? 4096 : 8192, i % 2 == 0 ? "alice" : "bob", 1s * i);
  EXPECT_TRUE(watch_.found(start + 3s, limits).empty());
  reload(8192, "bob", 3s);
  const auto found = watch_.found(start + 3s, limits);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, Kind::options);
  EXPECT_EQ(found[0].models, std::vector<std::string>{"llama3.2"});
  EXPECT_EQ(found[0].loads, 4u);
  EXPECT_EQ(found[0].parties, 2u);
  ASSERT_EQ(found[0].wishes.size(), 2u);
  EXPECT_EQ(found[0].wishes[0].client, "alice");
  EXPECT_EQ(found[0].wishes[1].num_ctx, 8192u);
  EXPECT_EQ(found[0].wishes[1].loads, 2u);
}

TEST_F(Thrashing, EndsWithItsWindow) {
  for (int i = 0; i < 8; ++i) reload(i % 2 == 0 ? 4096 : 8192, "alice", 1s * i);
  EXPECT_EQ(watch_.found(start + 30s, limits).size(), 1u);
  EXPECT_TRUE(watch_.found(start + 66s, limits).empty());
}

TEST_F(Thrashing, OfModelsIsThatTheyTakeTurns) {
  for (int i = 0; i < 6; ++i) load(i % 2 == 0 ? "llama3.2" : "qwen3", 1s * i);
  const auto found = watch_.found(start + 6s, limits);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kind, Kind::models);
  EXPECT_EQ(found[0].loads, 4u);
  EXPECT_EQ(found[0].models, (std::vector<std::string>{"llama3.2", "qwen3"}));
}

TEST_F(Thrashing, IsNotThatOneModelIsLoadedAgainAndAgain) {
  for (int i = 0; i < 10; ++i) load("llama3.2", 1s * i);
  EXPECT_TRUE(watch_.found(start + 10s, limits).empty());
}

TEST_F(Thrashing, IsNotThatModelsAreLoadedAtNodesOfTheirOwn) {
  for (std::uint32_t i = 0; i < 10; ++i)
    load(i % 2 == 0 ? "llama3.2" : "qwen3", 1s * i, NodeId{i % 2});
  EXPECT_TRUE(watch_.found(start + 10s, limits).empty());
}

TEST_F(Thrashing, IsNeverToldWhereItIsTurnedOff) {
  for (int i = 0; i < 8; ++i) reload(i % 2 == 0 ? 4096 : 8192, "alice", 1s * i);
  EXPECT_TRUE(watch_.found(start + 8s, {.loads_max = 0, .window = 60s}).empty());
}

}  // namespace
}  // namespace sollol::cluster

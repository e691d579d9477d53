#include "cluster/history.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};
constexpr std::uint64_t model = 3;

TEST(History, RemembersAConversationsNode) {
  History history;
  EXPECT_FALSE(history.session(7));
  history.note_session(7, {.node = NodeId{2}, .turn = 5, .tokens = 300});
  history.note_session(7, {.node = NodeId{4}, .turn = 6, .tokens = 400});
  ASSERT_TRUE(history.session(7));
  EXPECT_EQ(history.session(7)->node, NodeId{4});
  EXPECT_EQ(history.session(7)->tokens, 400u);
}

TEST(History, ExpectsAnAnswerAsLongAsTheClientsOwnWere) {
  History history;
  EXPECT_EQ(history.expected_length(model, 1, 0).tokens, History::tokens_when_unknown);
  for (int i = 0; i < 20; ++i) {
    history.note_length(model, 1, 0, 1000, start);
    history.note_length(model, 2, 0, 10, start);
  }
  EXPECT_NEAR(history.expected_length(model, 1, 0).tokens, 1000, 50);
  EXPECT_NEAR(history.expected_length(model, 2, 0).tokens, 10, 1);
  const double of_others = history.expected_length(model, 3, 0).tokens;
  EXPECT_GT(of_others, 10);
  EXPECT_LT(of_others, 1000);
}

TEST(History, BelievesTheLimitsOfWhoFillsThem) {
  History history;
  for (const double tokens : {20, 900, 60, 300}) {
    history.note_length(model, 1, static_cast<std::uint64_t>(tokens), tokens, start);
    history.note_length(model, 2, 4096, tokens, start);
  }
  EXPECT_NEAR(history.expected_length(model, 1, 2000).tokens, 2000, 10);
  EXPECT_LT(history.expected_length(model, 1, 2000).spread, 0.1);
  // Whose limits say nothing is expected to write what was written before, and no more than asked.
  EXPECT_LT(history.expected_length(model, 2, 4096).tokens, 600);
  EXPECT_GT(history.expected_length(model, 2, 4096).spread, 0.5);
  EXPECT_EQ(history.expected_length(model, 2, 5).tokens, 5);
}

TEST(History, LengthsOutliveTheProcess) {
  History before;
  for (int i = 0; i < 20; ++i) before.note_length(model, 1, 0, 1000, start);
  History after;
  after.restore_lengths(before.lengths());
  EXPECT_EQ(after.expected_length(model, 1, 0).tokens, before.expected_length(model, 1, 0).tokens);
  EXPECT_EQ(after.expected_length(model, 2, 0).tokens, before.expected_length(model, 2, 0).tokens);
  EXPECT_EQ(after.expected_length(model + 1, 1, 0).tokens, History::tokens_when_unknown);
}

TEST(RecentTable, ForgetsWhatWasWrittenLongestAgo) {
  RecentTable<int> table(RecentTable<int>::ways);
  for (std::uint64_t key = 1; key <= RecentTable<int>::ways; ++key)
    table.update(key, [&](int& value) { value = static_cast<int>(key); });
  table.update(1, [](int& value) { value = 10; });
  table.update(100, [](int& value) { value = 100; });
  EXPECT_EQ(table.find(1), 10);
  EXPECT_EQ(table.find(2), std::nullopt);
  EXPECT_EQ(table.find(100), 100);
}

TEST(RecentTable, ThreadsShareIt) {
  RecentTable<std::uint64_t> table(1024);
  std::vector<std::thread> threads;
  for (int thread = 0; thread < 4; ++thread) {
    threads.emplace_back([&] {
      for (std::uint64_t i = 0; i < 1000; ++i)
        table.update(i % 8, [](std::uint64_t& value) { ++value; });
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::uint64_t sum = 0;
  for (std::uint64_t key = 0; key < 8; ++key) sum += table.find(key).value_or(0);
  EXPECT_EQ(sum, 4000u);
}

}  // namespace
}  // namespace sollol::cluster

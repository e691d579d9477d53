#include "batch/journal.h"

#include <gtest/gtest.h>

#include <fstream>

#include "discovery/temporary_folder.h"

namespace sollol::batch {
namespace {

class JournalTest : public testing::Test {
 protected:
  Journal open() {
    auto journal = Journal::open(path());
    EXPECT_TRUE(journal.has_value()) << journal.error().detail;
    return std::move(*journal);
  }
  std::string path() const { return folder_ / "out.journal"; }
  static Journal::Entry entry(std::uint64_t line, std::uint32_t part, std::string body) {
    return {{line, part, 0xffffffffffffffff - line},
            {.status = 200, .node = "a", .body = std::move(body), .took_s = 1.5, .attempts = 2}};
  }
  static std::vector<std::uint64_t> lines_of(Journal& journal) {
    std::vector<std::uint64_t> lines;
    EXPECT_TRUE(journal.for_each([&](const Journal::Key& key, int) { lines.push_back(key.line); })
                    .has_value());
    return lines;
  }
  TemporaryFolder folder_;
};

TEST_F(JournalTest, WhatWasKeptIsThereInOrderWhenItIsOpenedAgain) {
  const std::string bytes = std::string("a\0b", 3) + "\n\xc3\xa9";
  {
    Journal journal = open();
    ASSERT_TRUE(journal.keep({entry(9, 1, "second"), entry(9, 0, bytes)}).has_value());
    ASSERT_TRUE(journal.keep({entry(2, 0, "")}).has_value());
  }
  Journal journal = open();
  EXPECT_EQ(lines_of(journal), (std::vector<std::uint64_t>{9, 9, 2}));
  const auto parts = journal.of_line(9);
  ASSERT_TRUE(parts.has_value());
  ASSERT_EQ(parts->size(), 2u);
  EXPECT_EQ((*parts)[0].body, bytes);
  EXPECT_EQ((*parts)[1].body, "second");
  EXPECT_EQ((*parts)[0].attempts, 2u);
  EXPECT_EQ((*parts)[0].took_s, 1.5);
  ASSERT_TRUE(journal.for_each([](const Journal::Key& key, int status) {
    EXPECT_EQ(key.print, 0xffffffffffffffff - key.line);
    EXPECT_EQ(status, 200);
  }));
}

TEST_F(JournalTest, ANewResultReplacesAndForgottenOnesAreGone) {
  Journal journal = open();
  ASSERT_TRUE(journal.keep({entry(1, 0, "old"), entry(2, 0, "x")}).has_value());
  ASSERT_TRUE(journal.keep({entry(1, 0, "new")}).has_value());
  EXPECT_EQ(lines_of(journal), (std::vector<std::uint64_t>{2, 1}));
  EXPECT_EQ(journal.of_line(1)->front().body, "new");
  ASSERT_TRUE(journal.forget({{1, 0, 0}}).has_value());
  EXPECT_EQ(lines_of(journal), (std::vector<std::uint64_t>{2}));
}

TEST_F(JournalTest, TwoAtOnceAreRefused) {
  const Journal first = open();
  const auto second = Journal::open(path());
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::overloaded);
}

TEST_F(JournalTest, AFileOfSomethingElseIsLeftAlone) {
  const std::string text(8192, 'x');
  std::ofstream(path()) << text;
  const auto journal = Journal::open(path());
  ASSERT_FALSE(journal.has_value());
  EXPECT_EQ(journal.error().kind, ErrorKind::bad_input);
  std::ifstream file(path());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), text);
}

TEST_F(JournalTest, AFolderThatIsNotThereIsNamed) {
  const auto journal = Journal::open(folder_ / "none/out.journal");
  ASSERT_FALSE(journal.has_value());
  EXPECT_NE(journal.error().detail.find("none/out.journal"), std::string::npos);
}

}  // namespace
}  // namespace sollol::batch

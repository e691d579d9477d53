#include "batch/output.h"

#include <gtest/gtest.h>

#include <fstream>

#include "discovery/temporary_folder.h"

namespace sollol::batch {
namespace {

class OutputTest : public testing::Test {
 protected:
  void SetUp() override {
    std::ofstream(path("in")) << R"({"model":"m","prompt":"one"})"
                              << "\n\n"
                              << R"({"model":"m","prompt":"two"})"
                              << "\nno JSON";
    input_.emplace(*Input::open(path("in"), ""));
    journal_.emplace(*Journal::open(path("journal")));
  }
  std::string path(std::string_view name) const { return folder_ / std::string(name); }
  /// Writes the lines in this order; the numbers of what then stands there.
  std::vector<int> written(Order order, std::vector<std::size_t> lines) {
    auto output = Output::open(path("out"), order, input_->lines().size());
    for (const std::size_t line : lines) {
      const InputLine& at = input_->lines()[line];
      EXPECT_TRUE(journal_->keep({{{at.number, 0, at.print}, {.status = 200, .body = "{}"}}}));
      EXPECT_TRUE(output->finished(line, *input_, *journal_));
    }
    EXPECT_TRUE(output->flush());
    std::vector<int> numbers;
    std::ifstream file(path("out"));
    for (std::string text; std::getline(file, text);)
      numbers.push_back(std::stoi(text.substr(text.find(':') + 1)));
    return numbers;
  }
  TemporaryFolder folder_;
  std::optional<Input> input_;
  std::optional<Journal> journal_;
};

TEST_F(OutputTest, BlankLinesCountAndBadOnesAreThere) {
  ASSERT_EQ(input_->lines().size(), 3u);
  EXPECT_EQ(input_->lines()[1].number, 3u);
  EXPECT_FALSE(input_->lines()[2].readable);
  EXPECT_EQ(input_->read(input_->lines()[1])->body,
            R"({"model":"m","prompt":"two","stream":false})");
}

TEST_F(OutputTest, InTheOrderOfTheInputAResultWaitsForThoseBeforeIt) {
  EXPECT_EQ(written(Order::input, {1}), (std::vector<int>{}));
  EXPECT_EQ(written(Order::input, {1, 0}), (std::vector<int>{1, 3}));
  EXPECT_EQ(written(Order::input, {2, 0, 1}), (std::vector<int>{1, 3, 4}));
}

TEST_F(OutputTest, AsTheyFinishNoneWaits) {
  EXPECT_EQ(written(Order::finished, {2, 0}), (std::vector<int>{4, 1}));
}

TEST_F(OutputTest, ALineThatChangesMeanwhileIsNotAsked) {
  std::ofstream(path("in")) << R"({"model":"m","prompt":"ONE"})" << "\n";
  const auto line = input_->read(input_->lines()[0]);
  ASSERT_FALSE(line.has_value());
  EXPECT_NE(line.error().detail.find("line 1 has changed"), std::string::npos);
}

TEST_F(OutputTest, AFileThatIsNotThereIsNamed) {
  const auto none = Input::open(path("none"), "");
  ASSERT_FALSE(none.has_value());
  EXPECT_EQ(none.error().kind, ErrorKind::not_found);
}

}  // namespace
}  // namespace sollol::batch

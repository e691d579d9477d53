#include "world/plot.h"

#include <gtest/gtest.h>

namespace sollol::world {
namespace {

std::size_t count(std::string_view text, std::string_view part) {
  std::size_t found = 0;
  for (auto at = text.find(part); at != text.npos; at = text.find(part, at + 1)) ++found;
  return found;
}

TEST(Plot, HasAPanelForEachScenarioAndThreeMarksForEachTime) {
  const Report report{.ttft_s = {1, 0.5, 2, 8}, .completion_s = {2, 1, 4, 20}};
  const std::vector<Row> rows{
      {"a", "<one>", "p", report}, {"a", "<one>", "q", report}, {"b", "two", "p", report}};
  const std::string svg = plot_svg(rows);
  EXPECT_TRUE(svg.starts_with("<svg "));
  EXPECT_EQ(count(svg, "class=\"title\""), 2u);
  EXPECT_EQ(count(svg, "<circle"), 3u * 2 * 3);
  EXPECT_EQ(count(svg, "&lt;one>"), 1u);
  EXPECT_TRUE(plot_html(rows).starts_with("<!doctype html>"));
}

TEST(Plot, OfNothingIsEmpty) { EXPECT_EQ(count(plot_svg({}), "<text"), 0u); }

}  // namespace
}  // namespace sollol::world

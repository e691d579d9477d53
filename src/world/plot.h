#pragma once

#include <span>
#include <string>

#include "world/report.h"

namespace sollol::world {

/// How one policy did with one scenario, for people.
struct Row {
  std::string scenario;
  std::string about;
  std::string policy;
  Report report{};
};

/// An SVG picture: for each scenario a panel, for each policy in it a line from the median to the
/// 99th percentile of the time to the first token and of the time to the last, on a scale of
/// powers. Rows of one scenario follow each other.
std::string plot_svg(std::span<const Row> rows);

/// The same picture as a page.
std::string plot_html(std::span<const Row> rows);

}  // namespace sollol::world

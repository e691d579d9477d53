#include "world/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <vector>

namespace sollol::world {
namespace {

constexpr double name_width = 170;
constexpr double chart_width = 330;
constexpr double gap = 30;
constexpr double note_width = 150;
constexpr double row_height = 18;
constexpr double head_height = 44;
constexpr double foot_height = 30;
constexpr double width = name_width + 2 * (chart_width + gap) + note_width;

constexpr std::string_view style = R"(
  text { font: 12px system-ui, sans-serif; fill: #222 }
  .title { font-weight: 600; font-size: 14px }
  .soft { fill: #777 }
  .tick { fill: #777; text-anchor: middle }
  .grid { stroke: #ddd }
  .first { stroke: #2a6fbb; fill: #2a6fbb }
  .last { stroke: #b8562a; fill: #b8562a }
  .paper { fill: #fff }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .soft, .tick { fill: #999 } .grid { stroke: #444 } .paper { fill: #1b1b1b }
    .first { stroke: #6ca8ea; fill: #6ca8ea } .last { stroke: #e68a5c; fill: #e68a5c }
  }
)";

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '<')
      out += "&lt;";
    else if (c == '&')
      out += "&amp;";
    else
      out += c;
  }
  return out;
}

/// A power of ten of seconds, short enough to stand beside its neighbours.
std::string tick(double power) {
  if (power < 4) return fmt::format("{:g} s", std::pow(10, power));
  static constexpr std::array<std::string_view, 10> raised{"⁰", "¹", "²", "³", "⁴",
                                                           "⁵", "⁶", "⁷", "⁸", "⁹"};
  return fmt::format("10{} s", raised[std::min<std::size_t>(static_cast<std::size_t>(power), 9)]);
}

/// Seconds to places on a logarithmic axis that begins and ends at powers of ten.
struct Axis {
  double from = -2;  // powers of ten
  double to = 0;
  double left = 0;

  double at(double seconds) const {
    const double power = std::log10(std::max(seconds, std::pow(10, from)));
    return left + (power - from) / (to - from) * chart_width;
  }
};

Axis axis_over(std::span<const Row> rows, Quantiles Report::* times, double left) {
  double least = 1e9, most = 1e-3;
  for (const Row& row : rows) {
    least = std::min(least, (row.report.*times).p50);
    most = std::max(most, (row.report.*times).p99);
  }
  Axis axis{.left = left};
  axis.from = std::floor(std::log10(std::max(least, 1e-3)));
  axis.to = std::max(axis.from + 1, std::ceil(std::log10(most)));
  return axis;
}

class Panel {
 public:
  Panel(std::string& out, std::span<const Row> rows, double top)
      : out_(out),
        rows_(rows),
        top_(top),
        first_(axis_over(rows, &Report::ttft_s, name_width)),
        last_(axis_over(rows, &Report::completion_s, name_width + chart_width + gap)) {}

  static double height(std::size_t rows) {
    return head_height + static_cast<double>(rows) * row_height + foot_height;
  }

  void draw() {
    text(0, top_ + 14, "title", rows_.front().scenario);
    text(name_width, top_ + 14, "soft", rows_.front().about);
    text(first_.left, top_ + 34, "soft", "first token: p50, p95, p99");
    text(last_.left, top_ + 34, "soft", "last token: p50, p95, p99");
    grid(first_);
    grid(last_);
    double y = top_ + head_height + row_height / 2;
    for (const Row& row : rows_) {
      text(0, y + 4, "", row.policy);
      marks(first_, row.report.ttft_s, "first", y);
      marks(last_, row.report.completion_s, "last", y);
      const auto lost = row.report.refused + row.report.timed_out + row.report.failed;
      text(width - note_width, y + 4, "soft",
           fmt::format("{} loads{}", row.report.cold_loads,
                       lost > 0 ? fmt::format(", {} lost", lost) : ""));
      y += row_height;
    }
  }

 private:
  void text(double x, double y, std::string_view kind, std::string_view what) {
    fmt::format_to(std::back_inserter(out_),
                   "<text x=\"{:.0f}\" y=\"{:.0f}\" class=\"{}\">{}</text>\n", x, y, kind,
                   escaped(what));
  }
  void grid(const Axis& axis) {
    const double bottom = top_ + head_height + static_cast<double>(rows_.size()) * row_height;
    for (double power = axis.from; power <= axis.to; ++power) {
      const double x = axis.at(std::pow(10, power));
      fmt::format_to(
          std::back_inserter(out_),
          "<line class=\"grid\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.0f}\" y2=\"{2:.0f}\"/>\n", x,
          top_ + head_height, bottom);
      text(x, bottom + 14, "tick", tick(power));
    }
  }
  void marks(const Axis& axis, const Quantiles& times, std::string_view kind, double y) {
    fmt::format_to(std::back_inserter(out_),
                   "<line class=\"{}\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
                   kind, axis.at(times.p50), axis.at(times.p99), y, y);
    for (const double seconds : {times.p50, times.p95, times.p99})
      fmt::format_to(std::back_inserter(out_),
                     "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"3\"><title>{:.3f} "
                     "s</title></circle>\n",
                     kind, axis.at(seconds), y, seconds);
  }

  std::string& out_;
  std::span<const Row> rows_;
  double top_;
  Axis first_;
  Axis last_;
};

/// The rows of each scenario.
std::vector<std::span<const Row>> panels(std::span<const Row> rows) {
  std::vector<std::span<const Row>> out;
  while (!rows.empty()) {
    const auto end = std::ranges::find_if(
        rows, [&](const Row& row) { return row.scenario != rows.front().scenario; });
    const auto count = static_cast<std::size_t>(end - rows.begin());
    out.push_back(rows.first(count));
    rows = rows.subspan(count);
  }
  return out;
}

}  // namespace

std::string plot_svg(std::span<const Row> rows) {
  std::string body;
  double top = 10;
  for (const auto& panel : panels(rows)) {
    Panel(body, panel, top).draw();
    top += Panel::height(panel.size());
  }
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-10 0 {0:.0f} {1:.0f}\" "
      "width=\"{0:.0f}\">\n"
      "<style>{2}</style>\n<rect class=\"paper\" x=\"-10\" width=\"{0:.0f}\" "
      "height=\"{1:.0f}\"/>\n{3}</svg>\n",
      width + 20, top, style, body);
}

std::string plot_html(std::span<const Row> rows) {
  return fmt::format(
      "<!doctype html>\n<meta charset=\"utf-8\">\n<title>Policies</title>\n"
      "<style>:root {{ color-scheme: light dark }} svg {{ max-width: 100%; height: auto "
      "}}</style>\n{}",
      plot_svg(rows));
}

}  // namespace sollol::world

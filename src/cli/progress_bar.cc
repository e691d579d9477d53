#include "cli/progress_bar.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

namespace sollol::cli {
namespace {

constexpr std::size_t bar_cells = 24;
constexpr std::size_t columns_unknown = 80;

/// "1:02:03", "4:05", "12 s"
std::string time_text(double seconds) {
  const auto all = static_cast<std::uint64_t>(seconds + 0.5);
  if (all >= 3600) return fmt::format("{}:{:02}:{:02}", all / 3600, all / 60 % 60, all % 60);
  return all >= 60 ? fmt::format("{}:{:02}", all / 60, all % 60) : fmt::format("{} s", all);
}

std::size_t columns_of_terminal() {
  winsize size = {};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
  return known ? size.ws_col : columns_unknown;
}

}  // namespace

std::string progress_line(const BatchProgress& at, std::size_t columns) {
  const std::size_t filled = at.lines == 0 ? bar_cells : bar_cells * at.done / at.lines;
  std::string line = fmt::format("[{}{}] {}/{}", std::string(filled, '#'),
                                 std::string(bar_cells - filled, '.'), at.done, at.lines);
  if (at.failed > 0) line += fmt::format(", {} failed", at.failed);
  line += fmt::format("  {:.1f}/s", at.lines_per_s);
  if (at.left_s >= 0) line += fmt::format("  {} left", time_text(at.left_s));
  std::size_t requests = 0;
  for (const BatchShare& share : at.shares) requests += share.requests;
  std::string_view before = "  ";
  for (const BatchShare& share : at.shares) {
    line +=
        fmt::format("{}{} {:.0f}%", before, share.node,
                    100.0 * static_cast<double>(share.requests) / static_cast<double>(requests));
    before = " ";
  }
  return line.substr(0, columns);
}

ProgressBar::ProgressBar(Shown shown)
    : shown_(shown == Shown::on_terminals && isatty(STDERR_FILENO) != 0) {}

void ProgressBar::show(const BatchProgress& at) {
  if (!shown_) return;
  std::string line = progress_line(at, columns_of_terminal() - 1);
  if (line == last_) return;
  fmt::print(stderr, "\r{}\x1b[K", line);
  std::fflush(stderr);
  last_ = std::move(line);
}

void ProgressBar::clear() {
  if (last_.empty()) return;
  fmt::print(stderr, "\r\x1b[K");
  std::fflush(stderr);
  last_.clear();
}

}  // namespace sollol::cli

#pragma once

#include <string>

#include "sollol/batch.h"

namespace sollol::cli {

/// One line about a batch, at most so wide: a bar, the rate, the time left, each node's share.
std::string progress_line(const BatchProgress& at, std::size_t columns);

/// Keeps that line up to date at the bottom of the terminal that standard error is.
class ProgressBar {
 public:
  enum class Shown : std::uint8_t { no, on_terminals };
  explicit ProgressBar(Shown shown);
  ~ProgressBar() { clear(); }
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;

  void show(const BatchProgress& at);
  /// Takes the line away, for other words.
  void clear();

 private:
  bool shown_;
  std::string last_;
};

}  // namespace sollol::cli

#pragma once

#include <cstdint>
#include <fstream>
#include <string>
#include <vector>

#include "batch/line.h"

namespace sollol::batch {

/// The longest line that is read.
inline constexpr std::uint64_t line_bytes_max = 64u << 20;
/// The most lines; blank ones count.
inline constexpr std::uint64_t lines_max = 100'000'000;

/// What is kept of a line while a batch runs. Its text stays in the file.
struct InputLine {
  std::uint64_t number = 0;  // in the file, from 1
  std::uint64_t offset = 0;
  std::uint32_t length = 0;
  std::uint32_t model = 0;  // index among `Input::models`
  std::uint64_t print = 0;  // fingerprint
  double work = 0;          // of each part
  std::uint32_t parts = 1;
  bool readable = true;
};

/// The lines of a batch. One thread at a time.
class Input {
 public:
  /// Reads the whole file once; blank lines are passed over. Error: not_found, bad_input.
  static Result<Input> open(const std::string& path, std::string endpoint);

  const std::vector<InputLine>& lines() const noexcept { return lines_; }
  const std::vector<std::string>& models() const noexcept { return models_; }
  /// The line as it stands now. Error: bad_input: it cannot be read, or has changed since.
  Result<Line> read(const InputLine& line);
  /// Its form, even of one that cannot be read.
  Line form_of(const InputLine& line);

 private:
  std::string text_of(const InputLine& line);

  std::string path_;
  std::string endpoint_;
  std::ifstream file_;
  std::vector<InputLine> lines_;
  std::vector<std::string> models_;
};

}  // namespace sollol::batch

#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "api/usage.h"
#include "batch/line.h"

namespace sollol::batch {

/// What came of a task: of a line, or of a part of one.
struct TaskResult {
  int status = 0;         // of the answer; 0: there was none
  std::string node = {};  // that gave it
  std::string body = {};  // of the answer, or why there is none
  double took_s = 0;      // from sending it to the end of its answer
  unsigned attempts = 1;

  bool ok() const noexcept { return status == 200; }
};

enum class Verdict : std::uint8_t {
  final,  // the answer stands, whatever it says
  again,  // a later attempt may fare better
};

/// What follows from an answer's status (0: none came). Pure.
Verdict judge(int status) noexcept;

/// What an answer says of its cost.
struct Cost {
  api::Usage usage;
  double work = 0;       // in tokens written; what was planned where the answer does not say
  double service_s = 0;  // the node's own time for it, without loading; 0: not told
};
Cost cost_of(const Line& line, const TaskResult& result, double planned_work) noexcept;

/// The line of the output, with its end. `number` is the line's in the input; `parts` are all of
/// its parts, in order. The answers of a list to embed that was cut are joined: the texts of their
/// numbers stay as they came.
std::string output_line(const Line& line, std::uint64_t number, std::span<const TaskResult> parts);

}  // namespace sollol::batch

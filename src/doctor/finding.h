#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sollol::doctor {

enum class Level : std::uint8_t {
  ok,
  note,  // worth knowing; nothing to mend
  warn,  // works, and worse than it could
  bad,   // does not work
};
/// "ok", "note", "warn", "bad".
std::string_view name(Level level) noexcept;

/// What one check found.
struct Finding {
  std::string check{};  // "nodes", "clock" ...
  Level level = Level::ok;
  std::string text{};                // one sentence or two
  std::vector<std::string> mends{};  // what to do, the first suffices; commands as they are typed
  friend bool operator==(const Finding&, const Finding&) = default;
};
using Findings = std::vector<Finding>;

/// Whether anybody has to do something about it.
constexpr bool needs_mending(const Finding& finding) noexcept {
  return finding.level == Level::warn || finding.level == Level::bad;
}

}  // namespace sollol::doctor

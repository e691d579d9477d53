#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/time.h"

namespace sollol::api {

/// RFC 3339 in UTC with nine fractional digits: "2026-08-21T10:00:00.123456789Z".
std::string format_timestamp(WallTime time);

/// The same for many times in a row: those of one second share the work.
class TimestampFormatter {
 public:
  /// Valid until the next.
  std::string_view operator()(WallTime time);

 private:
  std::optional<std::chrono::sys_seconds> second_;  // that the text tells
  std::array<char, 30> text_{};
};

/// Nanoseconds since 1970 of an RFC 3339 time with any offset and up to nine fractional digits
/// (more are cut), so that times of nodes in different zones compare. Beyond what 64 bits hold
/// (years 1678 to 2261) it is the nearest end: Ollama writes "forever" as a date some 292 years
/// ahead. nullopt when it is no such time.
std::optional<std::int64_t> parse_timestamp(std::string_view text) noexcept;

}  // namespace sollol::api

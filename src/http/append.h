#pragma once

#include <charconv>
#include <concepts>
#include <string>
#include <string_view>

namespace sollol::http {

inline void append_part(std::string& out, std::string_view text) { out.append(text); }

template <std::integral Number>
void append_part(std::string& out, Number number) {
  char digits[20];
  const char* const end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  out.append(digits, static_cast<std::size_t>(end - digits));
}

/// Appends texts and numbers, the latter in decimal. For heads, which are written for every
/// request: a format string costs several times as much.
template <class... Parts>
void append(std::string& out, const Parts&... parts) {
  (append_part(out, parts), ...);
}

}  // namespace sollol::http

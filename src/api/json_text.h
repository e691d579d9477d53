#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sollol::api {

enum class JsonEscape : std::uint8_t {
  lines,  // what JSON demands, and every character that some client takes for a line end
  html,   // also <, > and &, as Go's encoder writes them
};

/// Appends `text` as a JSON string with its quotes. Bytes that are no UTF-8 become U+FFFD.
///
/// Python's clients split lines at U+0085, U+2028 and U+2029 too (reference/ollama-api.md §18), so
/// those are always escaped and the result never breaks a line.
void append_json_string(std::string& out, std::string_view text,
                        JsonEscape escape = JsonEscape::lines);

/// Whether the text stands between the quotes of a JSON string as it is.
bool is_plain_json(std::string_view text) noexcept;

/// The same as a value.
std::string json_string(std::string_view text, JsonEscape escape = JsonEscape::lines);

}  // namespace sollol::api

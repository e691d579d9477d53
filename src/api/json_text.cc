#include "api/json_text.h"

#include <algorithm>
#include <array>

namespace sollol::api {
namespace {

constexpr std::string_view hex = "0123456789abcdef";

void append_unicode_escape(std::string& out, unsigned code) {
  out += "\\u";
  for (int shift = 12; shift >= 0; shift -= 4) out += hex[(code >> shift) & 0xf];
}

bool is_continuation(char c) noexcept { return (static_cast<unsigned char>(c) & 0xc0) == 0x80; }

/// The length of the well-formed UTF-8 sequence at the front, 0 when there is none.
std::size_t sequence_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto lead = byte(0);
  const std::size_t length = lead < 0x80   ? 1
                             : lead < 0xc2 ? 0
                             : lead < 0xe0 ? 2
                             : lead < 0xf0 ? 3
                             : lead < 0xf5 ? 4
                                           : 0;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if (!is_continuation(text[i])) return 0;
  }
  const bool overlong = (lead == 0xe0 && byte(1) < 0xa0) || (lead == 0xf0 && byte(1) < 0x90);
  const bool surrogate = lead == 0xed && byte(1) > 0x9f;
  const bool too_high = lead == 0xf4 && byte(1) > 0x8f;
  return overlong || surrogate || too_high ? 0 : length;
}

void append_ascii(std::string& out, char c, JsonEscape escape) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\r':
      out += "\\r";
      return;
    case '\t':
      out += "\\t";
      return;
    case '<':
    case '>':
    case '&':
      if (escape == JsonEscape::lines) break;
      append_unicode_escape(out, static_cast<unsigned char>(c));
      return;
    default:
      break;
  }
  if (static_cast<unsigned char>(c) < 0x20) {
    append_unicode_escape(out, static_cast<unsigned char>(c));
  } else {
    out += c;
  }
}

/// Characters that stay as they are, whatever the escape.
constexpr auto plain_characters = [] {
  std::array<bool, 256> plain{};
  for (std::size_t c = 0x20; c < 0x80; ++c)
    plain[c] = !std::string_view("\"\\<>&").contains(static_cast<char>(c));
  return plain;
}();

std::size_t plain_length(std::string_view text) noexcept {
  const auto* odd = std::ranges::find_if_not(
      text, [](char c) { return plain_characters[static_cast<unsigned char>(c)]; });
  return static_cast<std::size_t>(odd - text.begin());
}

}  // namespace

void append_json_string(std::string& out, std::string_view text, JsonEscape escape) {
  out.reserve(out.size() + text.size() + 2);
  out += '"';
  while (true) {
    const std::size_t plain = plain_length(text);
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto length = sequence_length(text);
    const auto sequence = text.substr(0, length);
    if (length == 0) {
      append_unicode_escape(out, 0xfffd);
    } else if (length == 1) {
      append_ascii(out, text.front(), escape);
    } else if (sequence == "\xc2\x85") {
      append_unicode_escape(out, 0x85);
    } else if (sequence == "\xe2\x80\xa8" || sequence == "\xe2\x80\xa9") {
      append_unicode_escape(out, sequence.back() == '\xa8' ? 0x2028 : 0x2029);
    } else {
      out += sequence;
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  out += '"';
}

bool is_plain_json(std::string_view text) noexcept {
  // To the end whatever is found: without a branch for each byte it is the sooner there.
  bool plain = true;
  for (const char c : text) plain &= plain_characters[static_cast<unsigned char>(c)];
  return plain;
}

std::string json_string(std::string_view text, JsonEscape escape) {
  std::string out;
  append_json_string(out, text, escape);
  return out;
}

}  // namespace sollol::api

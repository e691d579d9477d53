#pragma once

#include <algorithm>
#include <charconv>
#include <concepts>
#include <iterator>
#include <span>
#include <string>
#include <string_view>

namespace sollol::http {

/// A number's decimal digits.
class Digits {
 public:
  explicit Digits(std::integral auto number) noexcept
      : end_(std::to_chars(std::begin(digits_), std::end(digits_), number).ptr) {}
  Digits(const Digits&) = delete;
  Digits& operator=(const Digits&) = delete;
  const char* data() const noexcept { return digits_; }
  std::size_t size() const noexcept { return static_cast<std::size_t>(end_ - digits_); }

 private:
  char digits_[20];
  const char* end_;
};

inline std::string_view as_text(std::string_view text) noexcept { return text; }
Digits as_text(std::integral auto number) noexcept { return Digits(number); }
/// A literal: its size is known to the compiler.
template <std::size_t size>
std::span<const char, size - 1> as_text(const char (&text)[size]) noexcept {
  return std::span<const char, size - 1>(text, size - 1);
}

/// Appends texts and numbers, the latter in decimal, with one look at the room for all of them. For
/// heads, which are written for every request: a format string costs several times as much.
template <class... Parts>
void append(std::string& out, const Parts&... parts) {
  const auto put = [&out](const auto&... texts) {
    const std::size_t before = out.size();
    const std::size_t after = (before + ... + texts.size());
    out.resize_and_overwrite(after, [&](char* data, std::size_t /*at least `after`*/) noexcept {
      char* to = data + before;
      ((to = std::copy_n(texts.data(), texts.size(), to)), ...);
      return after;
    });
  };
  put(as_text(parts)...);
}

/// What stands between a list's items so far and one more.
inline std::string_view separator_after(std::string_view list) noexcept {
  return list.empty() ? std::string_view() : ", ";
}

}  // namespace sollol::http

#include "api/json_scan.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include <boost/json/parse.hpp>

namespace sollol::api {
namespace {

bool is_space(char c) noexcept { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }

bool ends_scalar(char c) noexcept { return is_space(c) || c == ',' || c == '}' || c == ']'; }

}  // namespace

JsonScan::JsonScan(std::string_view text) noexcept : text_(text) {
  const bool more = skip_space();
  is_object_ = more && text_[at_] == '{';
  done_ = !more || (!is_object_ && text_[at_] != '[');
  ++at_;
}

bool JsonScan::next() noexcept {
  if (done_) return false;
  done_ = true;  // until this step is known to be whole
  if (!skip_space()) return false;
  if (text_[at_] == ',') ++at_;
  if (!skip_space()) return false;
  if (is_object_) {
    if (text_[at_] != '"') return false;
    const auto start = at_;
    if (!skip_string()) return false;
    key_ = text_.substr(start + 1, at_ - start - 2);
    if (!skip_space() || text_[at_] != ':') return false;
    ++at_;
    if (!skip_space()) return false;
  }
  const auto start = at_;
  if (!skip_value()) return false;
  value_ = text_.substr(start, at_ - start);
  done_ = false;
  return true;
}

bool JsonScan::skip_space() noexcept {
  while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  return at_ < text_.size();
}

/// From an opening quote to past the closing one.
bool JsonScan::skip_string() noexcept {
  const char* const begin = text_.data();
  for (auto from = at_ + 1; from < text_.size();) {
    const auto* quote =
        static_cast<const char*>(std::memchr(begin + from, '"', text_.size() - from));
    if (quote == nullptr) return false;
    std::size_t backslashes = 0;
    while (quote - backslashes > begin + at_ + 1 && *(quote - backslashes - 1) == '\\')
      ++backslashes;
    from = static_cast<std::size_t>(quote - begin) + 1;
    if (backslashes % 2 == 0) {
      at_ = from;
      return true;
    }
  }
  return false;
}

/// Past one value. False when the text ends inside it, or there is none.
bool JsonScan::skip_value() noexcept {
  if (text_[at_] == '"') return skip_string();
  if (text_[at_] != '{' && text_[at_] != '[') {
    const auto start = at_;
    while (at_ < text_.size() && !ends_scalar(text_[at_])) ++at_;
    return at_ > start && at_ < text_.size();
  }
  std::size_t depth = 0;
  while (at_ < text_.size()) {
    const char c = text_[at_];
    if (c == '"') {
      if (!skip_string()) return false;
      continue;
    }
    ++at_;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return true;
  }
  return false;
}

std::string_view json_field(std::string_view object, std::string_view key) noexcept {
  std::string_view value;
  for (JsonScan scan(object); scan.next();) {
    if (scan.key() == key) value = scan.value();
  }
  return value;
}

std::string_view first_json_field(std::string_view object, std::string_view key) noexcept {
  for (JsonScan scan(object); scan.next();) {
    if (scan.key() == key) return scan.value();
  }
  return {};
}

std::optional<std::uint64_t> json_unsigned(std::string_view value) noexcept {
  // Without a look at overflow, which so few digits cannot reach: durations have nine to twelve.
  constexpr std::size_t safe_digits = 19;
  std::uint64_t number = 0;
  std::size_t digits = 0;
  const std::size_t most = std::min(value.size(), safe_digits);
  for (; digits < most && is_digit(value[digits]); ++digits)
    number = number * 10 + static_cast<std::uint64_t>(value[digits] - '0');
  if (digits < most || digits == value.size())
    return digits == 0 ? std::nullopt : std::optional(number);
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

std::optional<std::string> json_string_value(std::string_view value) {
  if (!value.starts_with('"')) return std::nullopt;
  boost::json::error_code error;
  const auto parsed = boost::json::parse({value.data(), value.size()}, error);
  if (error || !parsed.is_string()) return std::nullopt;
  return std::string(parsed.get_string());
}

std::string json_decoded(std::string_view value) {
  auto text = json_string_value(value);
  return text ? *std::move(text) : std::string(value);
}

}  // namespace sollol::api

#include "sim/go_syntax.h"

#include <fmt/format.h>

#include <vector>

namespace sollol::sim {
namespace {

/// A scanner that only knows where JSON goes wrong. It walks with an explicit stack of open
/// brackets.
class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {}

  std::string error() {
    value();
    return error_.empty() ? "unexpected EOF" : error_;
  }

 private:
  bool fail(std::string_view context) {
    if (at_ >= text_.size()) {
      error_ = "unexpected EOF";
    } else if (error_.empty()) {
      const char c = text_[at_];
      const auto shown = c == '\''   ? "\\'"
                         : c == '\n' ? "\\n"
                         : c == '\t' ? "\\t"
                         : c == '\r' ? "\\r"
                                     : std::string(1, c);
      error_ = fmt::format("invalid character '{}' {}", shown, context);
    }
    return false;
  }

  char peek() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").contains(text_[at_])) ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool value() {  // NOLINT(misc-no-recursion): bounded by depth_
    if (++depth_ > 10'000) return error_ = "exceeded max depth", false;
    const char c = peek();
    const bool ok = c == '{'                             ? members()
                    : c == '['                           ? items()
                    : c == '"'                           ? string()
                    : c == 't'                           ? word("true")
                    : c == 'f'                           ? word("false")
                    : c == 'n'                           ? word("null")
                    : c == '-' || (c >= '0' && c <= '9') ? number()
                                                         : fail("looking for beginning of value");
    --depth_;
    return ok;
  }

  bool members() {  // NOLINT(misc-no-recursion)
    ++at_;
    if (peek() == '}') return ++at_, true;
    while (true) {
      if (peek() != '"') return fail("looking for beginning of object key string");
      if (!string()) return false;
      if (peek() != ':') return fail("after object key");
      ++at_;
      if (!value()) return false;
      if (peek() == '}') return ++at_, true;
      if (peek() != ',') return fail("after object key:value pair");
      ++at_;
    }
  }

  bool items() {  // NOLINT(misc-no-recursion)
    ++at_;
    if (peek() == ']') return ++at_, true;
    while (true) {
      if (!value()) return false;
      if (peek() == ']') return ++at_, true;
      if (peek() != ',') return fail("after array element");
      ++at_;
    }
  }

  bool string() {
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '"') return ++at_, true;
      if (static_cast<unsigned char>(text_[at_]) < 0x20) return fail("in string literal");
      if (text_[at_] != '\\') continue;
      if (++at_ >= text_.size()) break;
      if (text_[at_] == 'u') {
        for (int digit = 0; digit < 4; ++digit) {
          if (++at_ >= text_.size() || std::isxdigit(static_cast<unsigned char>(text_[at_])) == 0) {
            return fail("in \\u hexadecimal character escape");
          }
        }
      } else if (!std::string_view("\"\\/bfnrt").contains(text_[at_])) {
        return fail("in string escape code");
      }
    }
    return fail("");
  }

  bool word(std::string_view want) {
    for (std::size_t i = 0; i < want.size(); ++i, ++at_) {
      if (at_ >= text_.size() || text_[at_] != want[i]) {
        return fail(fmt::format("in literal {} (expecting '{}')", want, want[i]));
      }
    }
    return true;
  }

  bool number() {
    const auto digit = [this] {
      return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
    };
    if (text_[at_] == '-') ++at_;
    if (!digit()) return fail("in numeric literal");
    if (text_[at_] == '0') {
      ++at_;
    } else {
      while (digit()) ++at_;
    }
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      if (!digit()) return fail("after decimal point in numeric literal");
      while (digit()) ++at_;
    }
    if (at_ < text_.size() && (text_[at_] | 0x20) == 'e') {
      ++at_;
      if (at_ < text_.size() && (text_[at_] == '+' || text_[at_] == '-')) ++at_;
      if (!digit()) return fail("in exponent of numeric literal");
      while (digit()) ++at_;
    }
    return true;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::string error_;
};

}  // namespace

std::string go_syntax_error(std::string_view text) { return Scanner(text).error(); }

}  // namespace sollol::sim

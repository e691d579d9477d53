#include "discovery/json_span.h"

#include <algorithm>
#include <boost/json/parse.hpp>
#include <ranges>

namespace sollol::discovery {
namespace {

/// Walks a text known to be valid; on any other it still ends, with spans that mean nothing.
class Scanner {
 public:
  explicit Scanner(std::string_view text, std::size_t at = 0) : text_(text), at_(at) {}

  JsonSpan value() {
    skip_blanks();
    JsonSpan span;
    span.begin = at_;
    const char first = peek();
    if (first == '{' || first == '[')
      children(span);
    else if (first == '"')
      skip_string();
    else
      at_ = std::min(text_.find_first_of(",]}/ \t\r\n", at_ + 1), text_.size());
    span.end = at_;
    return span;
  }

  std::size_t comma() {
    for (skip_blanks(); at_ < text_.size() && peek() != ','; skip_blanks()) ++at_;
    return at_;
  }

 private:
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void children(JsonSpan& parent) {
    const bool is_object = text_[at_] == '{';
    ++at_;
    for (skip_blanks(); at_ < text_.size() && peek() != '}' && peek() != ']'; skip_blanks()) {
      if (peek() == ',') {
        ++at_;
        continue;
      }
      parent.children.push_back(is_object ? member() : value());
    }
    at_ = std::min(at_ + 1, text_.size());
  }

  JsonSpan member() {
    const auto begin = at_;
    skip_string();
    boost::json::error_code error;
    const auto parsed = boost::json::parse(text_.substr(begin, at_ - begin), error);
    skip_blanks();
    if (peek() == ':') ++at_;
    auto span = value();
    if (!error && parsed.is_string()) span.key = parsed.get_string().c_str();
    return span;
  }

  void skip_string() {
    for (++at_; at_ < text_.size() && text_[at_] != '"'; ++at_) at_ += text_[at_] == '\\';
    at_ = std::min(at_ + 1, text_.size());
  }

  void skip_blanks() {
    while (at_ < text_.size()) {
      if (text_.substr(at_).starts_with("//"))
        at_ = text_.find('\n', at_);
      else if (text_.substr(at_).starts_with("/*"))
        at_ = std::min(text_.find("*/", at_ + 2), text_.size() - 2) + 2;
      else if (std::string_view(" \t\r\n").find(text_[at_]) == std::string_view::npos)
        return;
      else
        ++at_;
      at_ = std::min(at_, text_.size());
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace

const JsonSpan* JsonSpan::find(std::string_view member) const {
  const auto found = std::ranges::find(children | std::views::reverse, member, &JsonSpan::key);
  return found == (children | std::views::reverse).end() ? nullptr : &*found;
}

std::size_t next_comma(std::string_view text, std::size_t offset) {
  return Scanner(text, offset).comma();
}

JsonSpan scan_json(std::string_view text) { return Scanner(text).value(); }

}  // namespace sollol::discovery

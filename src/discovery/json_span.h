#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace sollol::discovery {

/// Where one value of a JSON text stands, so that it can be pointed at and replaced without
/// touching the rest.
struct JsonSpan {
  std::string key;  // of a member, with its escapes undone; empty for an item
  std::size_t begin = 0;
  std::size_t end = 0;
  std::vector<JsonSpan> children;  // members of an object or items of an array, in the text's order

  std::string_view in(std::string_view text) const { return text.substr(begin, end - begin); }
  /// The member of that key, the last one as parsers have it; null when there is none.
  const JsonSpan* find(std::string_view member) const;
};

/// Where the next comma from `offset` on stands that is not inside a comment; the text's size when
/// there is none.
std::size_t next_comma(std::string_view text, std::size_t offset);

/// Spans of a text that a JSON parser has already accepted, `//` and `/* */` comments included.
/// O(n).
JsonSpan scan_json(std::string_view text);

}  // namespace sollol::discovery

#pragma once

#include <cstddef>
#include <functional>
#include <string_view>

namespace sollol {

/// For tables of strings that are looked up by views of them.
struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const noexcept {
    return std::hash<std::string_view>{}(text);
  }
};

}  // namespace sollol

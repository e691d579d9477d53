#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace sollol::fuzz {

/// Ends the run: libFuzzer keeps the input.
inline void require(bool holds) {
  if (!holds) std::abort();
}

inline std::string_view text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Gives `bytes` to `take` in pieces whose lengths follow from `seed`.
template <class Take>
void in_pieces(std::string_view bytes, std::uint8_t seed, Take&& take) {
  std::size_t state = seed;
  while (!bytes.empty()) {
    state = state * 31 + 7;
    const std::size_t length = std::min(bytes.size(), 1 + state % 13);
    take(bytes.substr(0, length));
    bytes.remove_prefix(length);
  }
}

}  // namespace sollol::fuzz

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace sollol::api {

/// A running 64-bit hash for telling conversations and option sets apart; equal on every machine of
/// one byte order, never 0. Of a long text it reads both ends and the length, so its cost has a
/// bound. Not for untrusted keys of a hash table.
class TextHash {
 public:
  static constexpr std::size_t end_bytes_max = 256;

  constexpr void add_number(std::uint64_t number) noexcept {
    state_ = mixed(state_ ^ number, 0x9e3779b97f4a7c15);
  }

  void add(std::string_view text) noexcept {
    add_number(text.size());
    add_bytes(text.substr(0, end_bytes_max));
    if (text.size() > end_bytes_max)
      add_bytes(text.substr(std::max(end_bytes_max, text.size() - end_bytes_max)));
  }

  constexpr std::uint64_t value() const noexcept { return state_ == 0 ? 1 : state_; }

 private:
  __extension__ using Wide = unsigned __int128;

  static constexpr std::uint64_t mixed(std::uint64_t a, std::uint64_t b) noexcept {
    const auto product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64) ^ b;
  }

  void add_bytes(std::string_view bytes) noexcept {
    while (!bytes.empty()) {
      std::uint64_t word = 0;
      const auto count = std::min(bytes.size(), sizeof word);
      std::memcpy(&word, bytes.data(), count);
      add_number(word);
      bytes.remove_prefix(count);
    }
  }

  std::uint64_t state_ = 0x243f6a8885a308d3;
};

}  // namespace sollol::api

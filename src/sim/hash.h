#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sollol::sim {

/// SplitMix64's finaliser: every bit of the argument reaches every bit of the result.
constexpr std::uint64_t mix(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

/// FNV-1a, which can be continued: hash_text(b, hash_text(a)) == hash_text(a + b). Finish with
/// mix().
constexpr std::uint64_t hash_text(std::string_view text,
                                  std::uint64_t state = 0xcbf29ce484222325) noexcept {
  for (const char c : text) state = (state ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return state;
}

/// SHA-256 as 64 hex digits.
std::string sha256_hex(std::string_view text);

/// SHA-256 of bytes that come piece by piece.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void update(std::string_view bytes);
  std::string hex();  // ends it

 private:
  void* context_;
};

}  // namespace sollol::sim

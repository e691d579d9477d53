#pragma once

#include <cstdint>
#include <fstream>
#include <string>

namespace sollol::test {

/// Memory of this process that is resident now, in bytes.
inline std::uint64_t resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with("VmRSS:")) return std::stoull(line.substr(6)) * 1024;
  }
  return 0;
}

/// What a sanitizer keeps beside the program's own memory: freed blocks, shadow.
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr std::uint64_t sanitizer_bytes = 1ull << 30;
#else
inline constexpr std::uint64_t sanitizer_bytes = 0;
#endif
#else
inline constexpr std::uint64_t sanitizer_bytes = 0;
#endif

}  // namespace sollol::test

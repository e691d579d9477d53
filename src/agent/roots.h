#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace sollol::agent {

/// Where the kernel and the system tell of themselves; a test has its own.
struct Roots {
  std::string proc = "/proc";
  std::string sys = "/sys";
  std::string etc = "/etc";
  std::string run = "/run";
  std::string dev = "/dev";
};

/// The first `bytes_max` bytes of a file; nothing when it cannot be read.
std::optional<std::string> read_text(const std::string& path, std::size_t bytes_max = 1 << 20);

/// The names in a folder, at most `count_max`; sorted. Empty when it cannot be read.
std::vector<std::string> names_in(const std::string& folder, std::size_t count_max);

/// Where a symbolic link leads; empty when it cannot be read.
std::string link_of(const std::string& path);

}  // namespace sollol::agent

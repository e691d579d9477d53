#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::discovery {

/// Who names nodes, or addresses at which to look for them. In the order in which they are heard.
enum class Source : std::uint8_t {
  ollama_host,  // the variable
  node_file,
  config,      // [[nodes]] of sollol.toml, OLLAMA_BASE_URLS
  localhost,   // this machine's own addresses
  neighbours,  // whom the kernel knows on its links
  subnets,     // the networks of its interfaces
  containers,  // the container networks among them
  engine,      // the containers that Docker or Podman tells of
  mdns,        // agents and gateways that announce themselves
};

inline constexpr std::array<std::string_view, 9> source_names = {
    "ollama_host", "node_file",  "config", "localhost", "neighbours",
    "subnets",     "containers", "engine", "mdns"};

constexpr std::string_view text(Source source) {
  return source_names[static_cast<std::size_t>(source)];
}

/// Some of them; at first all.
class Sources {
 public:
  constexpr bool has(Source source) const noexcept { return (bits_ & bit(source)) != 0; }
  constexpr void add(Source source) noexcept { bits_ |= bit(source); }
  constexpr void drop(Source source) noexcept { bits_ &= ~bit(source); }
  static constexpr Sources none() noexcept {
    Sources sources;
    sources.bits_ = 0;
    return sources;
  }
  /// By their names. Error: bad_input, with all names there are.
  static Result<Sources> parse(const std::vector<std::string>& names);
  friend constexpr bool operator==(Sources, Sources) noexcept = default;

 private:
  static constexpr std::uint32_t bit(Source source) noexcept {
    return 1u << static_cast<unsigned>(source);
  }
  std::uint32_t bits_ = ~0u;
};

}  // namespace sollol::discovery

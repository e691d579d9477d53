#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/environment.h"
#include "base/result.h"
#include "discovery/node_spec.h"

namespace sollol::discovery {

/// Whether nodes may be looked for on the network (SOLLOL_AUTO_DISCOVER).
enum class AutoDiscover : std::uint8_t { on, off };

/// What the environment says about nodes.
struct EnvironmentNodes {
  std::optional<NodeSpec> ollama_host;  // OLLAMA_HOST, unset and blank alike giving none
  std::vector<NodeSpec> base_urls;      // OLLAMA_BASE_URLS, separated by `;`
  AutoDiscover auto_discover = AutoDiscover::on;
  std::vector<std::string> warnings;  // one for each value that was ignored, for a human
};

/// Reads OLLAMA_HOST, OLLAMA_BASE_URLS and SOLLOL_AUTO_DISCOVER. Never fails: a bad value becomes a
/// warning.
EnvironmentNodes nodes_from_environment(const Environment& environment);

/// Parses a value of OLLAMA_HOST exactly as Ollama's own clients do.
///
/// Blanks and quotes around it are dropped. Default port 11434 without a scheme, but 80 after
/// `http://` and 443 after `https://`. A port that is none is replaced by the default. No host, and
/// the addresses that mean "all interfaces", mean loopback. Error: bad_input for another scheme or
/// a host that can be none.
Result<NodeSpec> parse_ollama_host(std::string_view value);

}  // namespace sollol::discovery

#pragma once

#include <cstdint>
#include <string_view>

namespace sollol::sim {

enum class OriginCheck : std::uint8_t {
  none,
  allowed,
  refused
};  // none: not a cross-origin request

/// What Ollama thinks of an `Origin` header: pages of this machine and of desktop applications may
/// ask, others not.
OriginCheck check_origin(std::string_view origin, std::string_view host);

/// Whether a server on a loopback address refuses this `Host` header: names of other machines, and
/// public addresses.
bool refused_host(std::string_view host, bool on_loopback);

}  // namespace sollol::sim

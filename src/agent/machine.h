#pragma once

#include <string>
#include <string_view>

#include "agent/report.h"
#include "agent/roots.h"

namespace sollol::agent {

/// The facts of this machine but for its load over time: identity, cores, memory, addresses.
///
/// Reads a few small files and getifaddrs(3); any thread. What cannot be read is left unknown.
Machine read_machine(const Roots& roots = {});

/// Which Ollama or agent is asked must not learn the machine's own id, so it is shown as a keyed
/// hash, as sd_id128_get_machine_app_specific(3) does: HMAC-SHA-256 with the id as key, 32 hex
/// digits. Empty for an empty or unset id.
std::string hashed_id(std::string_view id, std::string_view purpose);

}  // namespace sollol::agent

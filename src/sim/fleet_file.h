#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "sim/spec.h"

namespace sollol::sim {

/// Reads a fleet file (TOML; docs/sim.md has every field). `file` is only for messages.
/// Error: one line that names file, line, field and mend.
Result<FleetConfig> read_fleet(std::string_view toml, std::string_view file);

/// The file that gives this fleet; fields that have their default are left out.
std::string to_toml(const FleetConfig& fleet);

/// "1.5 GB", "24GiB", "512" as bytes.
Result<std::uint64_t> parse_bytes(std::string_view text);

}  // namespace sollol::sim

#pragma once

#include <string>

#include "base/result.h"
#include "world/fleet.h"
#include "world/plot.h"

namespace sollol::cli {

/// The nodes of a file for `sollol sim --fleet`, as the simulator of policies knows nodes.
Result<world::Fleet> read_fleet_file(const std::string& name);

/// The table of policies: its head names the scenario.
void print_table_head(const world::Row& row);
void print_table_row(const world::Row& row);

}  // namespace sollol::cli

#pragma once

#include <CLI/CLI.hpp>
#include <memory>

#include "cli/config.h"

namespace sollol::cli {

/// Gives `app` a flag for every setting (`--queue-max-waiting N` for queue.max_waiting), with the
/// table's help.
///
/// The map that comes back is filled when the command line is parsed; hand it to load_settings.
std::shared_ptr<const FlagValues> add_setting_flags(CLI::App& app);

}  // namespace sollol::cli

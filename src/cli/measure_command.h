#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "cli/command.h"

namespace sollol::cli {

/// The word `measure` of `sollol nodes`. Both flags are those of `nodes`, read when it runs.
void add_measure_word(CLI::App& nodes, Action& chosen, std::shared_ptr<const std::string> gateway,
                      std::shared_ptr<const bool> as_json);

}  // namespace sollol::cli

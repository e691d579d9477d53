#pragma once

#include <string>
#include <vector>

#include "cli/config.h"
#include "discovery/node_spec.h"
#include "gateway/options.h"

namespace sollol::cli {

/// What `sollol up` was told on its command line beside the settings.
struct UpArguments {
  std::vector<std::string> nodes;  // values of --node
  bool use_node_file = true;
  bool demo = false;
};

/// Nodes of all sources in their order of precedence (docs/configuration.md), and what was wrong
/// with some.
struct KnownNodes {
  std::vector<discovery::NodeSpec> nodes;
  std::vector<std::string> warnings;
};
/// Error: bad_input for a bad --node; a bad node file or variable is a warning.
Result<KnownNodes> known_nodes(const Settings& settings, const UpArguments& arguments,
                               const Environment& environment);

/// The gateway's options from the settings. Error: bad_input, naming the setting.
Result<gateway::Options> gateway_options(const Settings& settings);

}  // namespace sollol::cli

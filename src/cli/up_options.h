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
  bool take_over = false;
};

/// Nodes of all sources in their order of precedence (docs/configuration.md), and what was wrong
/// with some.
struct KnownNodes {
  std::vector<discovery::NodeSpec> nodes;
  std::vector<discovery::NodeSpec> written;  // of the node file, where nodes are looked for
  bool discover = false;                     // whether nodes are looked for
  std::vector<std::string> warnings;
  std::vector<std::string>
      mistakes;  // of the node file: a start goes on without, a reload does not
};
/// Error: bad_input for a bad --node; a bad node file or variable is a warning.
Result<KnownNodes> known_nodes(const Settings& settings, const UpArguments& arguments,
                               const Environment& environment);

/// The gateway's options from the settings. Error: bad_input, naming the setting.
Result<gateway::Options> gateway_options(const Settings& settings);

/// The path of the state file; empty when none is kept: none is wished, there is no home folder to
/// have one in, or the port is whichever is free.
std::string state_path(const Settings& settings, const Address& listen,
                       const Environment& environment);

/// All that `sollol up` needs, read anew: settings, nodes.
struct Plan {
  gateway::Options options;
  std::vector<discovery::NodeSpec> nodes;
  std::string log_level;
  std::string file;  // the sollol.toml that was read
  std::vector<std::string> warnings;
  std::vector<std::string> mistakes;
};
Result<Plan> make_plan(const Environment& environment, const LoadOptions& load,
                       const UpArguments& arguments);

}  // namespace sollol::cli

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cluster/cluster.h"
#include "gateway/kept_findings.h"

namespace sollol::gateway {

/// A node as the state file keeps it.
struct SavedNode {
  std::string url;
  std::string name;
  std::uint32_t priority = 0;
  std::uint32_t slots = 0;
  std::string machine = {};  // the operator's words on where it runs
  std::string device = {};
  bool added = false;  // at run time: no configuration names it
  cluster::Admin admin = cluster::Admin::enabled;
  std::vector<cluster::LearntModel> models;
};

/// What outlives the process.
struct SavedState {
  std::vector<SavedNode> nodes;
  std::vector<KeptFinding> contention = {};  // what was measured of pairs of nodes
};

/// As JSON, in a fixed order: equal states have equal texts.
std::string state_text(const SavedState& state);

/// The reverse. Fields that are not known are ignored; values that make no sense are left out.
/// Error: bad_input when it is no state file.
Result<SavedState> parse_state(std::string_view text);

}  // namespace sollol::gateway

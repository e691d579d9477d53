#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "cluster/snapshot.h"
#include "gateway/control.h"

namespace sollol::gateway {

/// What a caller asks when he adds a node.
struct NodeRequest {
  cluster::NodeInfo info;
  AutoProbe probe = AutoProbe::off;
  bool save = false;  // also into the node file
};

/// The same in the caller's words. Empty: not said.
struct NodeWords {
  std::string url;
  std::string name = {};
  std::string host = {};
  std::string device = {};
  std::uint32_t priority = 0;
  std::uint32_t slots = 0;
};

/// Error: bad_input, naming the word and the mend.
Result<NodeRequest> make_node_request(const NodeWords& words);

/// Reads `{"url", "name"?, "priority"?, "slots"?, "host"?, "device"?, "auto_probe"?, "save"?}`.
/// Error: bad_input, naming the field and the mend.
Result<NodeRequest> parse_node_request(std::string_view body);

}  // namespace sollol::gateway

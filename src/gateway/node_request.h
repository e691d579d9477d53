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

/// Reads `{"url", "name"?, "priority"?, "slots"?, "host"?, "device"?, "auto_probe"?, "save"?}`.
/// Error: bad_input, naming the field and the mend.
Result<NodeRequest> parse_node_request(std::string_view body);

}  // namespace sollol::gateway

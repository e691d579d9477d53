#pragma once

#include <vector>

#include "api/errors.h"
#include "gateway/connection.h"
#include "gateway/placement.h"

namespace sollol::gateway {

/// `pull`, `push`, `create`, `copy` and `delete`: to the node that the client named, else to every
/// node that the operation concerns, with their progress merged into one answer. One node alone is
/// relayed as it is.
net::Task<void> serve_fanout(Connection& client);

/// The nodes that a request without a named node concerns: enabled and not down, in the order of
/// the snapshot. With a named node: that one. An answer instead when there is none.
struct Targets {
  std::vector<const cluster::Node*> nodes;  // in `view`
  std::shared_ptr<const FleetView> view;
  std::optional<api::Reply> answer;
};
Targets targets_of(Connection& client);
/// Gives that answer.
net::Task<void> answer_no_target(Connection& client, api::Reply reply);

}  // namespace sollol::gateway

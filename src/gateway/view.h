#pragma once

#include <memory>
#include <string>
#include <vector>

#include "api/listing.h"
#include "cluster/snapshot.h"
#include "gateway/agent_sight.h"
#include "gateway/published.h"

namespace sollol::gateway {

/// What a node last said about itself, whole: what `/api/tags`, `/api/ps` and `/v1/models` are
/// answered from.
struct NodeListing {
  std::string version;
  std::vector<api::ModelEntry> models;
  std::vector<api::LoadedModel> loaded;
  bool listed = false;                      // `/api/tags` has answered since the node was added
  std::shared_ptr<const AgentSight> agent;  // null: none on its machine, or none that tells of it
};

/// One immutable view of the fleet, taken once per request.
struct FleetView {
  std::shared_ptr<const cluster::Snapshot> cluster;
  std::vector<std::shared_ptr<const NodeListing>>
      listings;  // by index into cluster->nodes; never null
};

/// Hands the newest view from the control thread to the workers.
class ViewSource : public Published<FleetView> {
 public:
  ViewSource()
      : Published(std::make_shared<const FleetView>(
            FleetView{std::make_shared<const cluster::Snapshot>(), {}})) {}
};
using ViewReader = PublishedReader<FleetView>;

}  // namespace sollol::gateway

#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "cluster/cluster.h"
#include "world/events.h"
#include "world/machines.h"

namespace sollol::world {

/// What the gateway's control thread does: knows the nodes, probes them, asks what they have loaded
/// and publishes it all. The cluster is the gateway's own; answers come from the machines.
///
/// Probes and lists cost events only where something may have changed: of nodes that are not well,
/// and of those that loaded or unloaded something.
class Control {
 public:
  static constexpr Duration probe_interval = std::chrono::milliseconds(500);
  static constexpr Duration list_interval = std::chrono::seconds(2);

  enum class Places : std::uint8_t { known, unknown };  // which nodes share machines and devices

  Control(const Fleet& fleet, Places places, Machines& machines, Events& events, TimePoint now);

  const cluster::Snapshot& snapshot() const { return *snapshot_; }
  /// How a request at the node ended; as the gateway, successes are told only where they matter.
  void report(std::uint32_t node, cluster::RequestOutcome outcome, TimePoint now);
  /// Asks the node now what it has loaded.
  void list(std::uint32_t node, TimePoint now);
  /// The node may have loaded or unloaded something: it is asked when its turn has come.
  void touched(std::uint32_t node, TimePoint now);
  /// It stopped or began to answer, which the next probe finds out.
  void changed(std::uint32_t node, TimePoint now);

  /// The time of these has come.
  void probe_all(TimePoint now);
  void list_all(TimePoint now);
  /// Whether a node has changed its availability since last asked: waiters may have a place.
  bool take_kick() { return std::exchange(kick_, false); }

 private:
  void watch(std::uint32_t node, TimePoint now);

  const Fleet& fleet_;
  Machines& machines_;
  Events& events_;
  cluster::Cluster cluster_;
  std::vector<NodeId> ids_;
  std::shared_ptr<const cluster::Snapshot> snapshot_;
  std::vector<std::uint64_t> listed_;  // version of what was loaded, by node
  std::set<std::uint32_t> to_probe_;   // until they are well
  std::set<std::uint32_t> to_list_;
  bool kick_ = false;
};

}  // namespace sollol::world

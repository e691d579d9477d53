#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "locality/evidence.h"
#include "locality/facts.h"

namespace sollol::locality {

/// How sure measured contention must be.
struct Rules {
  double proves = 0.95;        // alone
  double corroborates = 0.80;  // together with identical model stores
};

/// Nodes of one machine that compute on one device, as far as is known.
struct Device {
  std::string id{};                  // operator's name, GPU UUIDs, "device of NODE" or "unknown"
  bool known = false;                // false: nothing tells on which device these nodes work
  std::vector<std::size_t> nodes{};  // indexes of the facts
};

/// One physical machine.
struct Host {
  std::string id{};                  // for people; no two are equal
  std::vector<std::size_t> nodes{};  // indexes of the facts
  std::vector<Device> devices{};
  /// Of its nodes, those that are known to work without slowing each other, at least one. Without
  /// evidence one machine counts once.
  std::vector<std::size_t> independent{};
};

struct Place {
  std::size_t host = 0;    // index into hosts
  std::size_t device = 0;  // index into that host's devices
};

/// Which nodes share what, and why.
struct Grouping {
  std::vector<std::string> names{};  // of the nodes, in the order of the facts
  std::vector<Host> hosts{};
  std::vector<Place> places{};  // of each node, in the order of the facts
  std::vector<Evidence> evidence{};
  /// Nodes of all hosts that work without slowing each other: each host's, without those that were
  /// measured to share a device with one of another host.
  std::vector<std::size_t> independent{};
};

/// Groups nodes into hosts and devices by evidence, strongest first.
///
/// A sign (an address, a machine id ...) joins all nodes that show it, unless stronger evidence
/// tells two of them apart: then it is the sign of no machine and joins none of those that are not
/// together already. Signs of one kind that contradict stronger evidence only as a chain are all
/// left unused.
///
/// Pure: equal facts, equal hosts, devices, ids and evidence, in whatever order they come. One node
/// more never splits others, unless it overrules a sign of theirs; that evidence then says so.
/// About O(n log n); two nodes of one machine are compared pair by pair. Any thread.
Grouping group(std::span<const NodeFacts> nodes, std::span<const Contention> contention,
               const Rules& rules = {});

}  // namespace sollol::locality

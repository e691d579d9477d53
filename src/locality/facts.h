#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sollol::locality {

/// What `sollol agent` on the node's machine says of it. Empty: not told.
struct AgentFacts {
  std::string machine_id{};              // hashed; survives a restart, is copied with a disk image
  std::string boot_id{};                 // new at each start of the kernel, one per kernel
  std::string hostname{};                // for people; proves nothing
  std::vector<std::string> gpu_uuids{};  // of the GPUs that this node uses, not of all there are
  friend auto operator<=>(const AgentFacts&, const AgentFacts&) = default;
};

/// What the kernel's neighbour table says of one of the node's addresses. Only for addresses on a
/// link of this machine: those behind a router have no entry, since the router would answer.
struct Neighbour {
  std::string mac{};       // "02:42:ac:11:00:02", any case
  bool is_router = false;  // of this machine's routes, or marked as a router by the kernel
  friend auto operator<=>(const Neighbour&, const Neighbour&) = default;
};

/// One model of a node's store, as `/api/tags` lists it.
struct StoreEntry {
  std::string digest{};
  std::int64_t modified_ns = 0;  // `modified_at` since the epoch, to the nanosecond
  friend auto operator<=>(const StoreEntry&, const StoreEntry&) = default;
};

/// All that is known of where one node runs. Plain data, copied from whoever found it out. Lists
/// are in any order.
struct NodeFacts {
  std::string name{};  // unique among the nodes
  std::uint16_t port = 0;
  /// IP literals as the resolver prints them, at which *this* machine reaches the node. Never the
  /// list of interfaces that an agent sends: 172.17.0.1 is on every machine that has Docker.
  std::vector<std::string> addresses{};
  bool on_this_machine = false;       // at a loopback address or one of our own interfaces
  std::string operator_host{};        // `host` in the configuration; empty: none
  std::string operator_device{};      // `device` in the configuration, within the host; empty: none
  std::optional<AgentFacts> agent{};  // absent: no agent there
  std::vector<Neighbour> neighbours{};  // one for each on-link address that has an entry
  /// The bridge of this machine that one of its addresses lies on ("docker0"). Not for networks
  /// that span machines (overlay, macvlan, ipvlan).
  std::string container_network{};
  std::vector<StoreEntry> store{};       // empty: not known, or no models
  std::vector<std::string> hostnames{};  // that its addresses or URL go by
  friend auto operator<=>(const NodeFacts&, const NodeFacts&) = default;
};

/// What two nodes are to each other, as measured.
enum class Relation : std::uint8_t {
  unknown,
  independent,  // neither slows when the other works
  same_host,    // both slow a little: they share a machine and have a device each
  same_device,  // both slow as those do that share a device
};

/// A finding of contention.h about two nodes; in any order, at most one of each pair counts (the
/// most confident).
struct Contention {
  std::string a{}, b{};  // names of nodes; findings about others are passed over
  Relation relation = Relation::unknown;
  double confidence = 0;  // 0..1
  friend auto operator<=>(const Contention&, const Contention&) = default;
};

}  // namespace sollol::locality

#pragma once

#include <string>
#include <utility>
#include <vector>

#include "discovery/container_engine.h"
#include "discovery/scan.h"
#include "net/links.h"

namespace sollol::discovery {

/// One node as the network shows it, however many addresses lead to it.
struct DiscoveredNode {
  Address address;                // the one to use
  std::vector<Address> others;    // more ways to it, to fail over to
  std::vector<std::string> same;  // why they lead to the same node, for people
  std::string version;
  std::vector<api::ModelEntry> models;
  std::optional<std::vector<api::LoadedModel>> loaded;
  bool on_this_machine = false;    // at one of our own addresses, or in a container here
  std::string container_network;   // "docker0": where it is in a container of this machine
  std::string mac;                 // of a neighbour on our link; empty: unknown, or behind a router
  std::string container = {};      // its name, where an engine tells it
  std::string container_key = {};  // equal for all ways to one port of one container
  std::vector<Source> sources = {};  // who named its addresses
  Duration round_trip{};
};

/// Puts together what leads to one node, in whatever order it is found.
///
/// Two addresses are one node when port and version agree and
/// - both are this machine's and the port is open on all of its addresses at once, or
/// - they are ways to one port of one container, as its engine tells; or
/// - they hold the same models, changed in the same nanosecond, with the same ones loaded until the
///   same nanosecond, and either have one MAC address or lie in different networks: a server with
///   two interfaces. In one network, two MAC addresses are two machines, whatever store they share.
/// Two machines that share a store over the network, stand in different networks and have nothing
/// loaded look like one until they load something.
class NodeCollector {
 public:
  /// `listeners`: what this machine listens on (`net::read_listeners`).
  NodeCollector(net::Links links, std::vector<Address> listeners);

  /// Whether the MAC address at this address is still to be asked for.
  bool lacks_mac(const std::string& ip) const;
  /// What the kernel has learnt since, from the connections themselves.
  void set_neighbours(std::vector<net::Neighbour> neighbours);

  /// What the engines tell: holds for what is added from here on, and puts together what is there.
  void set_containers(std::vector<ContainerWay> ways);

  enum class Outcome : std::uint8_t { another, known };
  /// Takes in a node that was found; the index of the node that it is.
  std::pair<Outcome, std::size_t> add(Found found);
  const std::vector<DiscoveredNode>& nodes() const noexcept { return nodes_; }

 private:
  DiscoveredNode describe(Found found) const;
  void label(DiscoveredNode& node) const;
  bool join(DiscoveredNode& known, DiscoveredNode& fresh) const;
  std::string reason_same(const DiscoveredNode& a, const DiscoveredNode& b) const;
  unsigned rank(const DiscoveredNode& node) const;
  bool listens_everywhere(std::uint16_t port) const;
  std::string network_of(const std::string& ip) const;

  net::Links links_;
  std::vector<Address> listeners_;
  std::vector<ContainerWay> containers_;
  std::vector<DiscoveredNode> nodes_;
};

}  // namespace sollol::discovery

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace sollol::net {

/// One of this machine's interfaces.
struct Interface {
  /// What it is, as far as it matters to who may stand behind it.
  enum class Kind : std::uint8_t {
    network,         // a card, or a virtual one with a network behind it
    loopback,        // this machine alone
    point_to_point,  // a tunnel: one peer, or a network that is nobody's neighbourhood
    bridge,          // of containers or virtual machines on this machine, unless it has a card
    inner,           // a container's end of a pair: what it carries is behind a bridge
  };
  unsigned index = 0;
  std::string name;
  Kind kind = Kind::network;
  std::string mac;  // "02:42:ac:11:00:02"; empty: none
  bool up = false;
  unsigned master = 0;  // index of the bridge that it belongs to; 0: none
};

/// One address of one of them.
struct OwnAddress {
  std::string ip;
  unsigned prefix_bits = 0;
  unsigned interface = 0;  // its index
  std::string network;     // "192.168.1.0/24"
};

/// Somebody whom this machine has spoken with on a link, as the kernel remembers.
struct Neighbour {
  std::string ip;
  std::string mac;
  unsigned interface = 0;
  bool is_router = false;  // it said so, or the default route goes through it
};

/// What the kernel knows of this machine's links.
struct Links {
  std::vector<Interface> interfaces;
  std::vector<OwnAddress> addresses;
  std::vector<Neighbour> neighbours;

  const Interface* interface(unsigned index) const;
  /// Whether it is one of our own addresses, loopback included.
  bool is_own(std::string_view ip) const;
  /// The bridge of containers of this machine that the address lies on; empty: none.
  std::string_view container_network(std::string_view ip) const;
  /// The MAC address of a neighbour on one of our links; empty when the kernel knows none. An
  /// address that is reached through a router has none of its own here.
  std::string_view mac_of(std::string_view ip) const;
};

/// The addresses and ports that this machine listens on over TCP; empty where the system does not
/// tell (/proc/self/net/tcp, tcp6).
std::vector<Address> read_listeners();

/// Who is known on our links at present; empty where the system does not tell.
std::vector<Neighbour> read_neighbours();

/// The index of the interface by which the address is reached without a router; none: there is a
/// router between, or no way at all.
std::optional<unsigned> direct_interface(const std::string& ip);

/// Asks the kernel (rtnetlink). Takes some milliseconds at most. Error: refused, with the system's
/// reason.
Result<Links> read_links();

}  // namespace sollol::net

#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/environment.h"
#include "base/result.h"
#include "base/time.h"
#include "discovery/scan_plan.h"
#include "net/links.h"
#include "net/scheduler.h"

namespace sollol::discovery {

/// A container that runs on this machine, as its engine (Docker, Podman) tells.
struct Container {
  struct Interface {
    std::string ip;
    std::string mac;  // empty: not told
    friend bool operator==(const Interface&, const Interface&) = default;
  };
  /// A TCP port of the container that the machine has too.
  struct Published {
    std::uint16_t inside = 0;
    Address at;  // 0.0.0.0 and :: stand for all addresses of the machine
    friend bool operator==(const Published&, const Published&) = default;
  };
  std::string id;
  std::string name;
  std::vector<Interface> interfaces;
  std::vector<Published> published;
  friend bool operator==(const Container&, const Container&) = default;
};

/// Bounds of what an engine tells; what goes beyond them is dropped.
struct EngineLimits {
  std::size_t sockets_max = 8;         // engines that are asked
  std::size_t reply_max = 8u << 20;    // bytes; a longer answer is not used
  std::size_t containers_max = 4096;   // of one engine
  std::size_t addresses_max = 64;      // of one container, and as many published ports
  std::size_t candidates_max = 16384;  // addresses to look at, of all of them
};

/// The sockets of the engines that may be here, first first: DOCKER_HOST where it names one, then
/// Docker's, then Podman's of this user, then Podman's of root. Whether they exist is not asked.
std::vector<std::string> engine_sockets(const Environment& environment);

/// Reads the answer to `GET /containers/json`. Fields that are missing or of another kind are as
/// not told. Error: bad_reply when it is no list.
Result<std::vector<Container>> parse_containers(std::string_view json,
                                                const EngineLimits& limits = {});

/// Asks one engine which containers run. Error: not_found and forbidden when the socket is not
/// there or not ours to use, timeout, bad_reply, overloaded when the answer is too long.
net::Task<Result<std::vector<Container>>> list_containers(net::asio::io_context& context,
                                                          net::Scheduler& scheduler,
                                                          std::string socket, TimePoint deadline,
                                                          EngineLimits limits = {});

/// One way to a port of a container.
struct ContainerWay {
  Address address;
  std::string name;  // of the container, "ollama"
  std::string key;   // equal for all ways to one port of one container
  std::string mac;   // the container's own, at its own address; empty: not told, or published
  bool published = false;
  friend bool operator==(const ContainerWay&, const ContainerWay&) = default;
};

/// Where from here the containers' servers on the ports looked at may be reached: at their own
/// addresses, where a network of ours leads to them, and at the ports of this machine that lead to
/// them. Private and loopback addresses alone, whatever the engine says. Pure.
std::vector<ContainerWay> container_ways(const std::vector<Container>& containers,
                                         const net::Links& links, const ScanOptions& options,
                                         const EngineLimits& limits = {});

}  // namespace sollol::discovery

#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "base/time.h"
#include "discovery/node_spec.h"
#include "discovery/source.h"
#include "net/links.h"
#include "net/mdns.h"

namespace sollol::discovery {

/// Where nodes are looked for and how, in the same words wherever discovery can be asked for.
struct ScanOptions {
  Duration timeout = std::chrono::milliseconds(500);  // for a connection, and again for an answer
  std::vector<std::uint16_t> ports = {default_port};
  std::vector<std::string> subnets;  // these alone; empty: those of this machine's interfaces
  bool exclude_localhost = false;    // leave out 127.0.0.0/8 and ::1
  bool discover_all_nodes = true;    // false: the first is enough
  bool auto_resolve_docker = true;   // ask container engines where their containers are reached
  Sources sources;                   // who may name addresses; engines only with the line above
  std::function<net::Announced()> announced;  // asked when the scan is through; none: nobody is
  std::vector<std::string> engine_sockets;  // empty: those of `engine_sockets` (container_engine.h)
  std::size_t addresses_max = 1000;         // tried at once
  unsigned connects_per_s = 4000;           // beyond a first burst
};

/// The widest network of an interface that is scanned without being named: 4,094 addresses.
inline constexpr unsigned widest_prefix_bits = 20;
/// Addresses of all subnets that are named.
inline constexpr std::uint64_t named_addresses_max = 1u << 20;

/// The kernel keeps 1,024 IPv4 neighbours (neigh/default/gc_thresh3), those that it looks for
/// included, and silently sends nothing to more; some room is left to others.
inline constexpr std::size_t neighbours_at_once_max = 1000;
/// At least so many are looked for at once, however many are known.
inline constexpr std::size_t neighbours_at_once_min = 128;

/// Consecutive IPv4 addresses.
struct AddressRange {
  std::uint32_t first = 0;  // in host order
  std::uint32_t last = 0;   // included
  std::string network;      // "192.168.1.0/24"
  std::string source;       // "eth0", "--subnet"
  bool of_containers = false;
  bool contains(std::uint32_t address) const { return first <= address && address <= last; }
  std::uint64_t size() const { return last - first + 1ull; }
  friend bool operator==(const AddressRange&, const AddressRange&) = default;
};

/// What is not scanned, and why.
struct SkippedRange {
  std::string network;
  std::string reason;
};

/// The addresses to be tried, in order, each once: this machine, the neighbours that the kernel
/// knows, then range after range.
struct ScanPlan {
  std::vector<Address> named;      // with ports of their own, tried before everything
  std::vector<std::string> first;  // addresses tried before the ranges
  std::size_t own_count = 0;       // of `first`: so many at its begin are this machine's
  std::vector<AddressRange> ranges;
  std::vector<SkippedRange> skipped;
  /// The networks of this machine's links, where the kernel must find each address's neighbour
  /// first, and how many neighbours it has room for beside those that it knows.
  std::vector<AddressRange> links;
  std::size_t neighbours_max = neighbours_at_once_max;

  /// Whether connecting to the address makes the kernel look for a neighbour.
  bool on_link(std::string_view ip) const;
  bool contains(std::string_view ip) const;
  /// Who named the address.
  Source source_of(std::string_view ip) const;
};

/// Hands out a plan's addresses one after the other. No memory for the ranges, however wide.
class PlanCursor {
 public:
  explicit PlanCursor(const ScanPlan& plan);
  std::optional<std::string> next();

 private:
  bool seen(std::uint32_t address) const;

  const ScanPlan& plan_;
  std::unordered_set<std::uint32_t> before_;  // the plan's first addresses
  std::size_t first_ = 0;
  std::size_t range_ = 0;
  std::uint32_t offset_ = 0;
};

/// What to scan, given this machine's links.
///
/// Private ranges of interfaces that are up (RFC 1918, RFC 4193); never public addresses, tunnels
/// or loopback, unless 127.0.0.0/8 is named. Error: bad_input for a subnet that is none, is public,
/// or has too many addresses.
Result<ScanPlan> plan_scan(const net::Links& links, const ScanOptions& options);

}  // namespace sollol::discovery

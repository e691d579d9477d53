#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/listing.h"
#include "discovery/scan_plan.h"
#include "net/connector.h"
#include "net/scheduler.h"

namespace sollol::discovery {

/// What answered at an address.
struct Found {
  enum class What : std::uint8_t {
    node,     // an Ollama, by /api/version and /api/tags
    gateway,  // a gateway of ours
    other,    // something else that has the port
    silent,   // accepts, and says nothing in time
  };
  Address address;
  What what = What::silent;
  std::string version = {};                  // of a node
  std::vector<api::ModelEntry> models = {};  // of a node
  // Of a node; nothing when it did not say in time, as it may not while it loads.
  std::optional<std::vector<api::LoadedModel>> loaded = {};
  Source source = Source::subnets;  // who named the address
  std::string says = {};            // other: who it is, as far as it tells
  Duration round_trip{};            // of the connection
  Duration after{};                 // since the scan began
};

/// How a scan went.
struct ScanFigures {
  std::uint64_t tried = 0;  // addresses and ports
  std::uint64_t open = 0;
  std::uint64_t nodes = 0;
  std::uint64_t unsent = 0;  // tries that this machine had no descriptor or no buffer for
  bool stopped_early = false;
  Duration took{};
};

/// Told of each open port as it is known; not of closed ones. On the scanner's thread.
using OnFound = std::function<void(Found)>;

/// Told of each address that refuses a connection, so that its machine is there. On the scanner's
/// thread.
using OnRefused = std::function<void(const Address&)>;

/// Tries every address of the plan at every port: a connection, then what Ollama alone answers.
///
/// This machine's own addresses come before loopback, so that a node of this machine is known by an
/// address that others can use. At most `addresses_max` addresses at once, and half of the
/// descriptors; beyond a first burst of as many, `connects_per_s`. On this machine's own links no
/// more than the kernel has room for: some 300 addresses a second beyond the first thousand. Runs
/// on the context's thread, for the time-out and as long again where somebody accepts and keeps
/// silent, as often as the tries do not fit at once.
net::Task<ScanFigures> scan(net::asio::io_context& context, net::Scheduler& scheduler,
                            net::Connector& connector, ScanPlan plan, ScanOptions options,
                            OnFound on_found, OnRefused on_refused = {});

}  // namespace sollol::discovery

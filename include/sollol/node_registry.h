#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "sollol/failure.h"

namespace sollol {

/// A model as a node has it.
struct NodeModel {
  std::string name;
  std::string digest;
  std::uint64_t bytes = 0;  // on disk
};

/// A node and what it last told of itself.
struct NodeReport {
  std::string url;
  std::string name;
  unsigned priority = 0;  // lower is preferred
  unsigned slots = 0;     // requests of one model at once, as configured; 0: learnt
  std::string origin;     // who named it: "admin" (`add`), "discovered", "node file PATH"
  bool healthy = false;
  std::string version;  // of Ollama; empty: not told yet
  std::vector<NodeModel> models;
  std::uint64_t loaded_bytes = 0;  // of models in memory, a GPU's included
  std::uint64_t vram_bytes = 0;    // of that, in a GPU's memory
  std::string gpu;                 // "yes", "partly", "no"; "unknown" while nothing is loaded
  double round_trip_s = 0;         // smoothed; 0: not measured yet
  // As `NodeRegistry::check` found it:
  unsigned failed_checks = 0;                 // in a row
  std::vector<double> checked_round_trips_s;  // the last hundred, oldest first
};

/// A node to be added.
struct NewNode {
  std::string url;  // http://HOST:11434, or what else `sollol up --node` takes
  std::string name = {};
  unsigned priority = 0;
  std::string host = {};    // the machine it runs on: equal words, one machine
  std::string device = {};  // and the GPU
  unsigned slots = 0;       // requests of one model at once (OLLAMA_NUM_PARALLEL there); 0: learnt
  bool auto_probe = true;   // ask it first; false: add it as it is
};

/// Where is looked, and how.
struct DiscoverOptions {
  double timeout_s = 0.5;  // for a connection, and again for an answer
  std::vector<std::uint16_t> ports = {11434};
  std::vector<std::string> subnets = {};  // these alone; none: this machine's private networks
  bool exclude_localhost = false;
  bool auto_resolve_docker = true;
  bool discover_all_nodes = true;  // false: the first is enough
};

/// How nodes are checked.
struct CheckOptions {
  double timeout_s = 2;          // for an answer
  double connect_timeout_s = 1;  // for a connection
  bool remove = false;           // those that have failed too often in a row
  unsigned failures_max = 3;
};

/// Whether tasks should run at once.
struct ParallelAdvice {
  bool parallel = false;
  std::size_t width = 0;  // workers worth having
  std::string reason;
};

/// The nodes of a program of yours, kept by the very code that keeps a gateway's: probed in the
/// background, judged, grouped by machine.
///
/// Every call may be made from any thread and blocks until it is done. Destroying it ends its
/// thread.
class NodeRegistry {
 public:
  NodeRegistry();
  ~NodeRegistry();
  NodeRegistry(NodeRegistry&&) noexcept;
  NodeRegistry& operator=(NodeRegistry&&) noexcept;

  /// Adds a node. One whose address is known already is returned as it is. Failures: a field that
  /// cannot be used, by name; a node that was asked and does not answer.
  std::expected<NodeReport, Failure> add(const NewNode& node);
  /// Forgets the node of this name or URL. Whether there was one.
  bool remove(std::string_view name_or_url);
  /// All nodes, in the order in which they came.
  std::vector<NodeReport> list();

  /// Looks for nodes and adds those that are new; how many. Unless subnets are named, the
  /// environment is honoured: OLLAMA_HOST and OLLAMA_BASE_URLS name nodes that come first if they
  /// answer, SOLLOL_DISCOVERY_SUBNETS and SOLLOL_DISCOVERY_PORTS say where is looked, and with
  /// SOLLOL_AUTO_DISCOVER=false nowhere is.
  std::expected<std::size_t, Failure> discover(const DiscoverOptions& how = {});

  /// Asks every node whether it is there, now and all at once; returns when all have answered or
  /// were given up. The nodes in the order of `list`; what was removed is told too.
  std::vector<NodeReport> check(const CheckOptions& how = {});

  /// Adds the nodes of a node file that are not known yet; how many. `~` is the home folder.
  std::expected<std::size_t, Failure> load(const std::string& path);
  /// Writes all nodes into a node file that do not stand there yet, with their origin; how many.
  /// What stands there stays as it is.
  std::expected<std::size_t, Failure> save(const std::string& path);

  /// Machines, however many nodes each has.
  std::size_t count_unique_physical_hosts();
  /// Whether so many tasks should run at once, and why.
  ParallelAdvice advise(std::size_t num_tasks);
  bool should_use_parallel_execution(std::size_t num_tasks) { return advise(num_tasks).parallel; }
  /// Machines, the nodes of each, and the evidence: what `sollol nodes explain` prints.
  std::string explain();

 private:
  friend class Pool;
  struct Impl;
  explicit NodeRegistry(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol

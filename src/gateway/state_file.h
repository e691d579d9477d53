#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "cluster/cluster.h"
#include "cluster/learn.h"
#include "gateway/kept_findings.h"

namespace sollol::gateway {

/// A node as the state file keeps it.
struct SavedNode {
  std::string url;
  std::string name{};
  std::uint32_t priority = 0;
  std::uint32_t slots = 0;
  std::string machine{};  // the operator's words on where it runs
  std::string device{};
  bool added = false;  // at run time: no configuration names it
  cluster::Admin admin = cluster::Admin::enabled;
  std::chrono::sys_days seen{};  // last known to a gateway
  cluster::LearntNode learnt{};
  bool operator==(const SavedNode&) const = default;
};

/// On how many nodes an operator wants models loaded: by key, with the name as written.
using SavedWishes = std::map<std::string, std::pair<std::string, std::uint32_t>>;

/// What outlives the process.
struct SavedState {
  std::vector<SavedNode> nodes{};
  std::vector<KeptFinding> contention{};  // what was measured of pairs of nodes
  SavedWishes wishes{};
  std::map<std::uint64_t, cluster::KeptEstimate> answer_lengths{};  // see cluster::History
};

/// One moment by both clocks: the file has wall time, a process its own.
struct Moment {
  TimePoint now{};
  WallTime wall{};
};

/// Nodes that no gateway has known for so long, and lengths of answers not measured since, are
/// forgotten.
inline constexpr auto state_kept = std::chrono::days(90);

/// The state file: a SQLite database, opened for each use, so that a file that was moved away, a
/// disk that is back and another process are met as they are. One thread at a time.
class StateFile {
 public:
  explicit StateFile(std::string path) : path_(std::move(path)) {}

  /// Values that make no sense are left out. Errors: not_found; bad_input: it is no state file, is
  /// damaged, or a newer version wrote it; forbidden: it cannot be read.
  Result<SavedState> read(const Moment& at);

  /// Writes what is not in the file yet, in one transaction: a process that is killed leaves the
  /// old state or the new one. Errors as of `read`.
  Result<void> write(const SavedState& state, const Moment& at);

  /// Moves what is there out of the way, for `read` has refused it: to the path returned.
  std::string set_aside();

 private:
  const std::string path_;
  std::map<std::string, SavedNode> written_nodes_;  // by URL
  SavedState written_;                              // without nodes
};

}  // namespace sollol::gateway

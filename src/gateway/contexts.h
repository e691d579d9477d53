#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/recent_table.h"
#include "cluster/snapshot.h"
#include "cluster/thrash.h"
#include "gateway/options.h"

namespace sollol::gateway {

struct Request;
class Slot;
struct Work;

/// The pin of a model, or null. `model_key`: the text of its ModelKey.
const ContextPin* pin_of(const Options& options, std::string_view model_key);

/// Loads that undo each other and cannot be kept apart, since no other node could take one of
/// those that want them.
struct Thrashing {
  std::string node;
  std::vector<std::string> models;  // one: for different runner options
  std::uint32_t loads = 0;
  std::vector<cluster::ThrashWatch::Wish> wishes;
  std::string text;  // a sentence with the mend
};

/// What is noted of contexts, for all workers, under locks that only requests take for which a
/// model is loaded or whose context is cut.
class ContextWatch {
 public:
  /// A load begins for the request. `other_options`: the model was loaded, with others.
  void load(const Request& request, const Work& work, const Slot& slot, bool other_options,
            const LoadOptions& limits, TimePoint now);
  /// What thrashes now.
  std::vector<Thrashing> thrashing(const cluster::Snapshot& snapshot, const LoadOptions& limits,
                                   TimePoint now);
  /// A client asked for more context than the pin of its model gives: warns once for each of those
  /// that asked last.
  void cut(const Request& request, std::uint32_t wanted, const ContextPin& pin);

 private:
  using Told = std::map<std::pair<std::string, std::vector<std::string>>, TimePoint>;

  RecentTable<bool> cut_{4096};
  std::mutex mutex_;  // guards what follows
  cluster::ThrashWatch watch_;
  Told told_;
};

}  // namespace sollol::gateway

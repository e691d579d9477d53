#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/preload.h"
#include "gateway/attempt.h"
#include "gateway/placement.h"

namespace sollol::gateway {

/// Notes that the request has its model loaded at the slot's node, and what it `found` there.
void note_load(Connection& client, const Work& work, const Slot& slot, routing::Warmth found);

/// A model at a node, in a view.
struct Residence {
  std::shared_ptr<const FleetView> view;
  std::size_t node = 0;
  const cluster::Model* model = nullptr;
  std::size_t replica = 0;  // among the model's
};

/// Loads that the gateway has nodes do before it sends them requests: one at a time for each model
/// on each node, on a connection of its own that no client's leaving closes.
///
/// A node throws a load away when whoever asked for it leaves (reference §13), and it may take
/// minutes; so no request may own one. Requests wait for the load that they need, and for one with
/// other runner options too: two at once would undo each other. One registry for all workers, under
/// a lock that only requests for cold models take.
class ColdLoads {
 public:
  /// Loads that one request waits for, where each turns out to be with other options than its own;
  /// then it is sent as it is.
  static constexpr unsigned waits_max = 4;

  /// Returns when the request may be sent to the slot's node: nullopt, or the verdict on an attempt
  /// that failed because the load did, its client left or `upstream.response_timeout` passed. The
  /// load goes on in the latter cases. Call it when the slot is not warm.
  net::Task<std::optional<Verdict>> ready(Connection& client, const Work& work, const Slot& slot,
                                          std::string_view body);
  /// Has the node load the model though nobody asks for it yet, with the runner options that were
  /// last asked for; requests that come meanwhile wait for it. Returns what went wrong, if anything
  /// did. On the worker's thread.
  net::Task<std::string> preload(Worker& worker, Residence at);
  /// Has the node keep the model as long again as it would after a request. Nothing is done where
  /// it is not known how the model was loaded, since that would load it anew.
  net::Task<std::string> keep(Worker& worker, Residence at);

  /// Any thread: everybody who waits is told `why`. The loads go on.
  void give_up_all(const Error& why);

 private:
  using Key = std::pair<NodeId, ModelId>;
  struct Load;
  struct Waiter;
  struct Ended;    // how a load ended
  struct Subject;  // what is loaded where

  /// A preload and its runner options, that a model was asked for with.
  struct Wanted {
    std::uint64_t runner_key;
    api::Preload preload;
  };
  static constexpr std::size_t wanted_max = 4;  // for each model

  void join(Waiter& waiter, const Work& work, const Slot& slot, std::string_view body);
  Subject begin(Worker& worker, const Work& work, const Slot& slot, std::string_view body);
  static void begin(Worker& worker, const Subject& subject);
  static Subject subject_of(Worker& worker, const Residence& at, Wanted wanted);
  void note_wanted(ModelId model, Wanted wanted);
  std::optional<Wanted> wanted(const Residence& at, std::optional<std::uint64_t> runner_key) const;
  static Wanted as_configured(Worker& worker, const Residence& at);
  void give_up(Waiter& waiter, const Error& why);
  net::Task<void> run(Worker& worker, Subject subject);
  net::Task<std::shared_ptr<const Ended>> load(Worker& worker, const Subject& subject);
  std::shared_ptr<const Ended> finish(Worker& worker, const Subject& subject, Ended ended,
                                      Duration took);

  std::mutex mutex_;  // guards what follows
  std::map<Key, std::shared_ptr<Load>> loads_;
  std::map<ModelId, std::vector<Wanted>> wanted_;  // the last one last
};

}  // namespace sollol::gateway

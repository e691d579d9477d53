#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "api/preload.h"
#include "gateway/attempt.h"
#include "gateway/placement.h"

namespace sollol::gateway {

/// Notes that the request has its model loaded at the slot's node, and what it `found` there.
void note_load(Connection& client, const Work& work, const Slot& slot, routing::Warmth found);

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
  /// Any thread: everybody who waits is told `why`. The loads go on.
  void give_up_all(const Error& why);

 private:
  using Key = std::pair<NodeId, ModelId>;
  struct Load;
  struct Waiter;
  struct Ended;    // how a load ended
  struct Subject;  // what is loaded where

  void join(Waiter& waiter, const Work& work, const Slot& slot, std::string_view body);
  static Subject begin(Worker& worker, const Work& work, const Slot& slot, std::string_view body);
  void give_up(Waiter& waiter, const Error& why);
  net::Task<void> run(Worker& worker, Subject subject);
  void finish(Worker& worker, const Subject& subject, Ended ended, Duration took);

  std::mutex mutex_;  // guards what follows
  std::map<Key, std::shared_ptr<Load>> loads_;
};

}  // namespace sollol::gateway

#pragma once

#include <atomic>
#include <mutex>
#include <unordered_map>

#include "base/random.h"
#include "cluster/wait_queue.h"
#include "gateway/connection.h"
#include "gateway/options.h"
#include "gateway/placement.h"
#include "net/scheduler.h"

namespace sollol::gateway {

/// Where requests get their place at a node, or wait for one.
///
/// While nobody waits for a model, admission is a choice and a compare-and-swap. The queue is one
/// for all workers, since order and fairness are the whole gateway's; its lock is taken only when
/// there is no free place, and waiting for a model takes seconds.
class Admission {
 public:
  /// `clock` is only asked for the time, from any thread.
  Admission(const Options& options, ViewSource& views, const net::Scheduler& clock);

  /// Any thread: limits and policy from now on.
  void configure(const Options& options);
  /// Any thread: everybody who waits gets `why` instead of a place.
  void give_up_all(const Error& why);

  /// A place for `work`; nullopt: it has to wait for one. Errors: overloaded (of work for any
  /// node), no_candidate, cancelled (the client left).
  std::optional<Result<Slot>> place_now(Connection& client, Work& work);
  /// Waits for a place. Errors: overloaded (the queue is full), timeout (waited too long),
  /// no_candidate, cancelled.
  net::Task<Result<Slot>> wait_for_place(Connection& client, Work& work);

  /// Any thread: something changed that may let waiters go.
  void kick();
  /// Any thread: nodes that requests in the queue should have woken, which takes `wake_time`.
  std::vector<NodeId> wanted_asleep(Duration wake_time);
  TimePoint now() const { return clock_.now(); }
  std::uint32_t waiting() const noexcept { return waiting_.load(std::memory_order_relaxed); }
  /// Any thread: requests that wait for a place with the model.
  std::size_t waiting(ModelId model);
  const Placement& placement() const noexcept { return placement_; }

 private:
  friend class Slot;
  struct Waiter;

  void released(std::optional<ModelId> model);
  void serve_waiting(ModelId model);
  void wake(cluster::Ticket ticket, Result<Slot> result);
  void give_up(cluster::Ticket ticket, Error error);

  ViewSource& views_;
  const net::Scheduler& clock_;
  Placement placement_;
  std::atomic<std::uint32_t> waiting_{0};
  std::mutex mutex_;  // guards what follows
  cluster::WaitQueue queue_;
  std::unordered_map<cluster::Ticket, Waiter*> waiters_;
  std::vector<routing::Candidate> scratch_;
  SeededRandom random_;
};

}  // namespace sollol::gateway

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/stream_watch.h"
#include "base/result.h"
#include "cluster/snapshot.h"
#include "cluster/wait_queue.h"
#include "gateway/view.h"
#include "routing/candidate.h"
#include "routing/policy.h"

namespace sollol::gateway {

class Admission;

/// What a request asks of a node.
struct Work {
  std::shared_ptr<const FleetView> view;
  const cluster::Model* model = nullptr;  // in `view`; null: any node will do
  routing::RequestShape shape;
  std::uint64_t runner_key = 0;
  std::uint32_t num_ctx = 0;
  std::optional<NodeId> pinned;  // the operator of the request named its node
  std::vector<NodeId> excluded;  // tried already
  std::string digest;            // of the model, when no other will do: an answer is continued
  cluster::Urgency urgency = cluster::Urgency::normal;
  std::uint64_t client = 0;
  enum class Explain : std::uint8_t { no, yes };
  Explain explain = Explain::no;  // yes: the slot tells every term of every candidate's cost

  /// Takes up a newer view; false when the model is no longer there.
  bool renew(std::shared_ptr<const FleetView> newer);
};

/// Whether any node of the view could be sent a request now.
bool any_usable(const FleetView& view);

/// Turns work for a model into work for any node that has it: for questions about a model, which
/// need no slot of it.
void ask_any_owner(Work& work);

/// A place at a node: counts as in flight until it is destroyed, which lets the next one in.
class Slot {
 public:
  Slot(Admission& admission, std::shared_ptr<const FleetView> view, const cluster::Node& node,
       const cluster::Model* model, std::shared_ptr<cluster::ReplicaLive> replica);
  Slot(Slot&& other) noexcept;
  Slot& operator=(Slot&& other) noexcept;
  ~Slot();

  const cluster::Node& node() const noexcept { return *node_; }
  cluster::ReplicaLive* replica() const noexcept { return replica_.get(); }
  std::uint32_t in_flight_at_dispatch() const noexcept { return in_flight_at_dispatch_; }
  bool is_trial() const noexcept { return trial_; }

  std::string reason;       // why this node
  std::string explanation;  // when the work asked for it
  double expected_cost_s = 0;
  unsigned candidates = 0;

 private:
  friend class Placement;
  Admission* admission_;
  std::shared_ptr<const FleetView> view_;
  const cluster::Node* node_;
  std::optional<ModelId> model_;
  std::shared_ptr<cluster::ReplicaLive> replica_;
  std::uint32_t in_flight_at_dispatch_ = 0;
  bool trial_ = false;
};

/// Turns a view into candidates, lets the policy choose and takes the place. Any thread with its
/// own scratch.
class Placement {
 public:
  Placement(routing::Policy policy, Admission& admission)
      : policy_(policy), admission_(admission) {}

  /// The policy from now on. Any thread.
  void set_policy(routing::Policy policy) noexcept { policy_ = policy; }

  /// Errors are the policy's: overloaded (wait), no_candidate (answer so).
  Result<Slot> place(const Work& work, std::vector<routing::Candidate>& scratch, TimePoint now,
                     std::uint64_t draw) const;
  /// The candidates as the policy would see them now.
  static void candidates_of(const Work& work, std::vector<routing::Candidate>& out, TimePoint now);

 private:
  std::optional<Slot> take(const Work& work, const routing::Choice& choice,
                           std::uint32_t limit) const;

  std::atomic<routing::Policy> policy_;
  Admission& admission_;
};

}  // namespace sollol::gateway

#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "api/routes.h"
#include "base/result.h"
#include "cluster/place.h"
#include "cluster/snapshot.h"
#include "cluster/wait_queue.h"
#include "gateway/view.h"
#include "routing/candidate.h"
#include "routing/consider.h"
#include "routing/policy.h"
#include "routing/survey.h"

namespace sollol::gateway {

class Admission;

/// What a request asks of a node, and how it goes about it.
struct Work : routing::Demand {
  std::shared_ptr<const FleetView> view;
  const cluster::Model* model = nullptr;  // in `view`; null: any node will do
  cluster::Urgency urgency = cluster::Urgency::normal;
  std::uint64_t client = 0;
  std::uint64_t session = 0;                      // the conversation's, of this model; 0: none
  std::size_t prompt_bytes = 0;                   // 0: not counted
  std::uint64_t num_predict = 0;                  // the longest answer asked for; 0: of any length
  enum class Use : std::uint8_t { run, unload };  // unload: the model is not wanted loaded
  Use use = Use::run;
  enum class Loads : std::uint8_t { gateway, request };  // who has a cold model loaded
  Loads loads = Loads::request;
  enum class Hedge : std::uint8_t { no, yes };  // yes: a second node may be asked in parallel
  Hedge hedge = Hedge::no;
  api::Operation operation = api::Operation::none;
  std::string model_as_written;
  enum class Explain : std::uint8_t { no, yes };
  Explain explain = Explain::no;  // yes: the slot tells every term of every candidate's cost
  // When it was first told, since it was admitted, to wait for a better place than a free one.
  std::optional<routing::AwaitedPlace> awaited;
  TimePoint wait_began{};

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

  /// Gives the place back now: the node has finished, whoever still reads its answer.
  void release() noexcept;

  const cluster::Node& node() const noexcept { return *node_; }
  const std::shared_ptr<const FleetView>& view() const noexcept { return view_; }
  cluster::ReplicaLive* replica() const noexcept { return replica_.get(); }
  /// To be kept beyond the slot.
  const std::shared_ptr<cluster::ReplicaLive>& shared_replica() const noexcept { return replica_; }
  std::optional<ModelId> model() const noexcept { return model_; }
  /// What the request finds here: whether its model has to be loaded first.
  routing::Warmth warmth() const noexcept { return warmth_; }
  std::uint32_t in_flight_at_dispatch() const noexcept { return entered_.in_flight; }
  /// After `release`: what ran beside it, on average meanwhile.
  const cluster::Company& company() const noexcept { return company_; }
  const cluster::Company& company_at_dispatch() const noexcept { return entered_.company; }
  /// The replica's, when this was sent there.
  std::uint64_t turn() const noexcept { return entered_.turn; }
  /// Of its prompt, expected in the node's cache.
  double cached_tokens() const noexcept { return cached_tokens_; }
  std::uint64_t size_bytes() const noexcept { return size_bytes_; }
  double weights() const noexcept { return weights_; }  // of its model, how many
  /// Among the replicas of the model, in the view.
  std::uint32_t replica_index() const noexcept { return replica_index_; }
  bool is_trial() const noexcept { return entered_.trial; }
  TimePoint dispatched() const noexcept { return entered_.at; }
  /// After `release`: nothing else of ours was at the node while this had its place.
  bool was_alone() const noexcept { return entered_.alone; }

  routing::Consideration considered;
  std::size_t decision = 0;  // its number in the log
  std::string reason;        // why this node
  std::string explanation;   // when the work asked for it
  double expected_cost_s = 0;
  unsigned candidates = 0;

 private:
  friend class Placement;
  Admission* admission_;
  std::shared_ptr<const FleetView> view_;
  const cluster::Node* node_;
  std::optional<ModelId> model_;
  std::shared_ptr<cluster::ReplicaLive> replica_;
  cluster::Entered entered_;
  std::uint32_t replica_index_ = 0;
  cluster::Company company_;
  double cached_tokens_ = 0;
  std::uint64_t size_bytes_ = 0;
  double weights_ = 0;
  cluster::NodeLive* settles_ = nullptr;  // where this counts as settled when it is destroyed
  routing::Warmth warmth_ = routing::Warmth::warm;
};

/// Turns a view into candidates, lets the policy choose and takes the place. Any thread with its
/// own scratch.
class Placement {
 public:
  Placement(routing::Policy policy, Admission& admission)
      : policy_(policy), admission_(admission) {}

  /// The policy from now on. Any thread.
  void set_policy(routing::Policy policy) noexcept { policy_ = policy; }

  /// By requests before this one.
  using Awaited = std::vector<routing::AwaitedPlace>;
  /// Errors are the policy's: overloaded (wait), no_candidate (answer so). A request that waits for
  /// a better place than a free one is among `awaited` afterwards.
  Result<Slot> place(const Work& work, std::vector<routing::Candidate>& scratch, Awaited& awaited,
                     TimePoint now, std::uint64_t draw) const;
  /// The place of `choice` among `candidates`; nullopt: another has just taken it.
  std::optional<Slot> take(const Work& work, std::span<const routing::Candidate> candidates,
                           const routing::Choice& choice, TimePoint now) const;
  /// Where the model was sent last.
  static std::optional<NodeId> last_node(const Work& work);
  /// The candidates as the policy would see them now.
  static void candidates_of(const Work& work, std::vector<routing::Candidate>& out, TimePoint now);

 private:
  std::optional<Slot> enter(const Work& work, const routing::Candidate& seen,
                            const cluster::Stay& stay, TimePoint now) const;

  std::atomic<routing::Policy> policy_;
  Admission& admission_;
};

}  // namespace sollol::gateway

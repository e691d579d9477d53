#include "gateway/placement.h"

#include <algorithm>

#include "cluster/place.h"
#include "gateway/admission.h"

namespace sollol::gateway {

using cluster::Availability;
using routing::Candidate;

bool Work::renew(std::shared_ptr<const FleetView> newer) {
  if (newer == view) return true;
  const cluster::Model* renewed =
      model == nullptr ? nullptr : newer->cluster->find_model(model->key);
  if (model != nullptr && renewed == nullptr) return false;
  model = renewed;
  view = std::move(newer);
  return true;
}

bool any_usable(const FleetView& view) {
  return std::ranges::any_of(view.cluster->nodes, [](const cluster::Node& node) {
    const Availability availability = node.live->availability;
    return node.live->admin == cluster::Admin::enabled &&
           (availability == Availability::healthy || availability == Availability::trial ||
            availability == Availability::suspect);
  });
}

void ask_any_owner(Work& work) {
  for (std::size_t i = 0; i < work.view->cluster->nodes.size(); ++i) {
    const auto& owners = work.model->replicas;
    if (std::ranges::find(owners, i, &cluster::Replica::node) != owners.end()) continue;
    work.excluded.push_back(work.view->cluster->nodes[i].id);
  }
  work.model = nullptr;
}

Slot::Slot(Admission& admission, std::shared_ptr<const FleetView> view, const cluster::Node& node,
           const cluster::Model* model, std::shared_ptr<cluster::ReplicaLive> replica)
    : admission_(&admission), view_(std::move(view)), node_(&node), replica_(std::move(replica)) {
  if (model != nullptr) model_ = model->id;
}

Slot::Slot(Slot&& other) noexcept
    : considered(other.considered),
      decision(other.decision),
      reason(std::move(other.reason)),
      explanation(std::move(other.explanation)),
      expected_cost_s(other.expected_cost_s),
      candidates(other.candidates),
      admission_(std::exchange(other.admission_, nullptr)),
      view_(std::move(other.view_)),
      node_(other.node_),
      model_(other.model_),
      replica_(std::move(other.replica_)),
      entered_(other.entered_),
      replica_index_(other.replica_index_),
      company_(other.company_),
      cached_tokens_(other.cached_tokens_),
      size_bytes_(other.size_bytes_),
      weights_(other.weights_),
      settles_(std::exchange(other.settles_, nullptr)),
      warmth_(other.warmth_) {}

Slot& Slot::operator=(Slot&& other) noexcept {
  if (this != &other) {
    std::destroy_at(this);
    std::construct_at(this, std::move(other));
  }
  return *this;
}

Slot::~Slot() {
  release();
  if (settles_ != nullptr) settles_->settled.fetch_add(1, std::memory_order_release);
}

void Slot::release() noexcept {
  Admission* const admission = std::exchange(admission_, nullptr);
  if (admission == nullptr) return;
  entered_.alone =
      entered_.alone && node_->live->requests.load(std::memory_order_relaxed) == entered_.requests;
  company_ = cluster::leave(*node_, replica_.get(), entered_, admission->now());
  admission->released(model_);
}

void Placement::candidates_of(const Work& work, std::vector<Candidate>& out, TimePoint now) {
  routing::survey(*work.view->cluster, work.model, work, now, out);
}

std::optional<NodeId> Placement::last_node(const Work& work) {
  if (work.model == nullptr) return std::nullopt;
  const std::uint32_t last = work.model->live->last_node.load(std::memory_order_relaxed);
  return last == cluster::ModelLive::none ? std::nullopt : std::optional(NodeId{last});
}

Result<Slot> Placement::place(const Work& work, std::vector<Candidate>& scratch, Awaited& awaited,
                              TimePoint now, std::uint64_t draw) const {
  constexpr int races_max = 4;  // another worker may take the place between looking and taking
  for (int race = 0;; ++race) {
    const auto choice = routing::survey_and_choose(policy_, *work.view->cluster, work.model, work,
                                                   awaited, now, draw, scratch);
    if (!choice) return std::unexpected(choice.error());
    if (!choice->now) {
      awaited.push_back(choice->later);
      return std::unexpected(Error{ErrorKind::overloaded, Origin::gateway, Retry::later,
                                   "a node that is full now will have finished it sooner"});
    }
    if (std::optional<Slot> slot = take(work, scratch, *choice, now)) return std::move(*slot);
    if (race == races_max) {
      return std::unexpected(Error{ErrorKind::overloaded, Origin::gateway, Retry::later,
                                   "every place was taken by others at the same moment"});
    }
    draw = draw * 6364136223846793005ULL + 1442695040888963407ULL;
  }
}

std::optional<Slot> Placement::take(const Work& work,
                                    std::span<const routing::Candidate> candidates,
                                    const routing::Choice& choice, TimePoint now) const {
  const routing::Consideration considered = routing::consider(candidates, work.shape, choice.index);
  std::optional<Slot> slot = enter(work, candidates[choice.index],
                                   routing::stay(considered.nodes.front(), work.shape), now);
  if (!slot) return slot;
  slot->reason = routing::text(choice.reason);
  slot->expected_cost_s = choice.cost_s;
  if (work.explain == Work::Explain::yes)
    slot->explanation = routing::explain(candidates, work.shape, policy_, choice);
  slot->candidates = static_cast<unsigned>(candidates.size());
  slot->considered = considered;
  return slot;
}

std::optional<Slot> Placement::enter(const Work& work, const routing::Candidate& seen,
                                     const cluster::Stay& stay, TimePoint now) const {
  std::size_t node_index = seen.replica;
  std::shared_ptr<cluster::ReplicaLive> replica;
  if (work.model != nullptr) {
    node_index = work.model->replicas[seen.replica].node;
    replica = work.model->replicas[seen.replica].live;
  }
  const cluster::Node& node = work.view->cluster->nodes[node_index];
  const auto entered = cluster::enter(node, replica.get(), seen.limit, stay, now);
  if (!entered) return std::nullopt;
  if (replica) {
    // What we send counts at once, unless a load of the gateway's own comes before it.
    if (work.loads == Work::Loads::request && work.use == Work::Use::run) {
      replica->loaded.store(true, std::memory_order_relaxed);
      replica->runner_key.store(work.runner_key, std::memory_order_relaxed);
    }
    work.model->live->last_node.store(node.id.value(), std::memory_order_relaxed);
    cluster::note_recent(*work.model->live, seen.replica);
  }
  Slot slot(admission_, work.view, node, work.model, std::move(replica));
  slot.entered_ = *entered;
  slot.settles_ = node.live.get();
  slot.warmth_ = seen.warmth;
  slot.replica_index_ = seen.replica;
  slot.cached_tokens_ = seen.cached_tokens;
  slot.size_bytes_ = seen.size_bytes;
  slot.weights_ = seen.weights;
  return slot;
}

}  // namespace sollol::gateway

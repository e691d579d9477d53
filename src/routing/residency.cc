#include "routing/residency.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "cluster/takes_work.h"
#include "routing/nearness.h"

namespace sollol::routing {

using cluster::Availability;
using cluster::takes_work;
using Kind = ResidencyStep::Kind;
using Cause = ResidencyStep::Cause;

namespace {

/// A replica as the plan sees it.
struct Seat {
  std::size_t replica;
  std::size_t node;
  bool open;  // can be sent requests
  bool loaded;
  bool loading;
  double speed;  // tokens a second; 0: unknown
  std::uint32_t limit;
  bool claimed = false;  // the model needs it there
  bool held() const { return loaded || loading; }
};

struct Need {
  const cluster::Model* model = nullptr;  // null: no node has it
  std::vector<Seat> seats{};              // those that hold it first, then the fastest
  ModelStanding standing{};
  std::uint32_t hold = 0;  // nodes that stay claimed while its demand falls
  std::uint32_t claimed = 0;

  Cause cause() const { return claimed < standing.wish ? Cause::wish : Cause::demand; }
};

/// Serves what it has loaded: a moment's silence does not count.
bool open(const cluster::Node& node) {
  const Availability state = node.live->availability;
  return node.live->admin == cluster::Admin::enabled && !node.live->paused &&
         (state == Availability::healthy || state == Availability::suspect ||
          state == Availability::trial);
}

Seat seat_of(const cluster::Snapshot& snapshot, const cluster::Model& model, std::size_t index) {
  const cluster::Replica& replica = model.replicas[index];
  const cluster::Node& node = snapshot.nodes[replica.node];
  const double learnt = replica.live->decode_tokens_per_s;
  const double prior = replica.size_bytes == 0 ? 0
                                               : node.live->decode_bytes_per_s /
                                                     static_cast<double>(replica.size_bytes);
  return {.replica = index,
          .node = replica.node,
          .open = open(node),
          .loaded = replica.live->loaded,
          .loading = replica.live->loading_since_ns != 0,
          .speed = learnt > 0 ? learnt : prior,
          .limit = std::max(replica.live->limit.load(), 1u)};
}

/// Nodes of these, in their order, whose places are enough for so many requests at once.
std::uint32_t nodes_for(const std::vector<Seat>& seats, double busy, double utilisation) {
  std::uint32_t count = 0;
  double places = 0;
  for (const Seat& seat : seats) {
    if (places * utilisation >= busy) break;
    if (!seat.open) continue;
    places += seat.limit;
    ++count;
  }
  return count;
}

std::string nodes_text(std::size_t count) {
  return fmt::format("{} node{}", count, count == 1 ? "" : "s");
}

}  // namespace

std::string_view name(Kind kind) noexcept {
  switch (kind) {
    case Kind::load:
      return "load";
    case Kind::keep:
      return "keep";
    case Kind::pull:
      return "pull";
  }
  return "load";
}

std::string_view name(Cause cause) noexcept { return cause == Cause::wish ? "wish" : "demand"; }

ModelStanding standing_of(const cluster::Snapshot& snapshot, const cluster::Model& model) {
  ModelStanding standing{.key = model.key, .model = model.name};
  for (const cluster::Replica& replica : model.replicas) {
    standing.resident += open(snapshot.nodes[replica.node]) && replica.live->loaded ? 1 : 0;
    standing.loading += replica.live->loading_since_ns != 0 ? 1 : 0;
  }
  return standing;
}

// ---- wishes

void Residency::wish(const std::string& key, std::string model, std::uint32_t replicas) {
  if (replicas == 0) {
    wishes_.erase(key);
    return;
  }
  wishes_[key] = {.model = std::move(model), .replicas = replicas};
  std::erase_if(tried_, [&](const auto& tried) { return tried.first.second == key; });
}

void Residency::restore_wish(const std::string& key, std::string model, std::uint32_t replicas) {
  wishes_[key] = {.model = std::move(model), .replicas = replicas, .asked = false};
}

std::map<std::string, std::pair<std::string, std::uint32_t>> Residency::wishes() const {
  std::map<std::string, std::pair<std::string, std::uint32_t>> out;
  for (const auto& [key, wish] : wishes_) out.emplace(key, std::pair(wish.model, wish.replicas));
  return out;
}

// ---- demand

void Residency::measure(const cluster::Snapshot& snapshot, const ResidencySight& sight,
                        TimePoint now) {
  const TimePoint last = measured_at_.value_or(now);
  const double passed_s = to_seconds(now - last);
  measured_at_ = now;
  if (passed_s <= 0) return;
  ++round_;
  const double old_rate = std::exp2(-passed_s / to_seconds(rate_half_life));
  const double old_busy = std::exp2(-passed_s / to_seconds(busy_half_life));
  std::map<ModelId, Meter> meters;
  for (const auto& [key, model] : snapshot.models) {
    double requests = 0, area_s = 0;
    bool used = false, resident = false;
    for (const cluster::Replica& replica : model.replicas) {
      const std::uint64_t turns = replica.live->turns.load(std::memory_order_relaxed);
      if (turns == 0) continue;
      used = true;
      resident = resident || replica.live->loaded;
      double area = 0;
      {
        const std::scoped_lock lock(replica.live->learning);
        area = replica.live->occupancy.area_s(now);
      }
      Counted& counted = counted_[replica.live.get()];
      requests += static_cast<double>(turns - std::min(counted.turns, turns));
      // While it loads, requests wait for that and no further node would help them.
      if (replica.live->loading_since_ns == 0) area_s += std::max(area - counted.area_s, 0.0);
      counted = {.turns = turns, .area_s = area, .round = round_};
    }
    const auto known = meters_.find(model.id);
    if (!used && known == meters_.end()) continue;
    Meter meter = known == meters_.end() ? Meter{} : known->second;
    const double waiting = resident ? static_cast<double>(sight.waiting(model.id)) : 0;
    meter.per_s += (1 - old_rate) * (requests / passed_s - meter.per_s);
    meter.busy += (1 - old_busy) * (area_s / passed_s + waiting - meter.busy);
    meters.emplace(model.id, meter);
  }
  meters_ = std::move(meters);
  std::erase_if(counted_, [this](const auto& one) { return one.second.round != round_; });
}

// ---- the plan

struct Residency::Draft {
  Residency& residency;
  const cluster::Snapshot& snapshot;
  const ResidencySight& sight;
  TimePoint now{};
  std::vector<Need> needs{};
  std::vector<std::uint32_t> claims{};  // by node: models that are needed there
  std::vector<bool> taken{};            // by node: something is under way there, or planned
  std::vector<ResidencyStep> steps{};

  void look_at(const cluster::Model& model);
  void look_at_unknown(const std::string& key, const Wish& wish);
  void claim(Need& need);
  void keep(const Need& need);
  void fill(Need& need);
  struct Found {
    std::size_t seat;
    bool pushes_out;
  };
  std::optional<Found> best_seat(const Need& need) const;
  bool pull(const Need& need);
  std::optional<std::size_t> node_to_pull_at(const Need& need) const;
  std::string why_not(const Need& need) const;
  std::string why(const Need& need) const;
  bool paused(NodeId node, const std::string& key) const {
    return residency.paused({node, key}, now);
  }
};

void Residency::Draft::look_at(const cluster::Model& model) {
  const auto wished = residency.wishes_.find(model.key);
  const auto met = residency.meters_.find(model.id);
  if (wished == residency.wishes_.end() && met == residency.meters_.end()) return;
  if (std::ranges::any_of(model.replicas, &cluster::Replica::remote)) return;
  Need need{.model = &model, .standing = standing_of(snapshot, model)};
  ModelStanding& standing = need.standing;
  for (std::size_t i = 0; i < model.replicas.size(); ++i)
    need.seats.push_back(seat_of(snapshot, model, i));
  std::ranges::sort(need.seats, {}, [](const Seat& seat) {
    return std::tuple(!seat.held(), -seat.speed, seat.replica);
  });
  if (met != residency.meters_.end()) {
    standing.per_hour = met->second.per_s * 3600;
    standing.busy = met->second.busy;
  }
  const ResidencyLimits& limits = residency.limits_;
  if (standing.per_hour >= limits.hot_per_hour || standing.busy >= busy_hot) {
    standing.need = std::max(nodes_for(need.seats, standing.busy, limits.utilisation), 1u);
    need.hold = nodes_for(need.seats, standing.busy, limits.utilisation * release_share);
  }
  if (wished != residency.wishes_.end()) {
    standing.wish = wished->second.replicas;
    standing.problem = wished->second.failure;
    standing.need = std::max(standing.need, standing.wish);
    standing.asked = wished->second.asked;
  }
  needs.push_back(std::move(need));
}

/// Wished for, and no node has it.
void Residency::Draft::look_at_unknown(const std::string& key, const Wish& wish) {
  needs.push_back({.standing = {.key = key,
                                .model = wish.model,
                                .wish = wish.replicas,
                                .need = wish.replicas,
                                .asked = wish.asked,
                                .problem = wish.failure}});
}

/// Takes the nodes that hold it, as many as it needs.
void Residency::Draft::claim(Need& need) {
  const std::uint32_t most = std::max(need.standing.need, need.hold);
  for (Seat& seat : need.seats) {
    if (need.claimed == most) return;
    if (!seat.loading && !(seat.loaded && seat.open)) continue;
    seat.claimed = true;
    ++claims[seat.node];
    ++need.claimed;
  }
}

/// Those that it has stay, where their time is nearly over.
void Residency::Draft::keep(const Need& need) {
  for (const Seat& seat : need.seats) {
    if (!seat.claimed || !seat.loaded) continue;
    const cluster::ReplicaLive& live = *need.model->replicas[seat.replica].live;
    if (live.in_flight > 0 || !takes_work(*snapshot.nodes[seat.node].live)) continue;
    const auto expires = sight.expires_in_s(seat.node, need.standing.key);
    if (!expires || *expires > to_seconds(keep_within)) continue;
    steps.push_back({.kind = Kind::keep,
                     .node = snapshot.nodes[seat.node].id,
                     .node_index = seat.node,
                     .key = need.standing.key,
                     .model = need.standing.model,
                     .replica = seat.replica,
                     .cause = need.standing.wish > 0 ? Cause::wish : Cause::demand,
                     .why = why(need)});
  }
}

std::string Residency::Draft::why(const Need& need) const {
  if (need.cause() == Cause::wish)
    return fmt::format("wished for on {}", nodes_text(need.standing.wish));
  const std::string often = fmt::format("asked for {:.0f} times an hour, {:.2f} requests at once",
                                        need.standing.per_hour, need.standing.busy);
  return need.standing.need > 1
             ? fmt::format("{}: {} for that", often, nodes_text(need.standing.need))
             : often;
}

/// Where it should be loaded next.
std::optional<Residency::Draft::Found> Residency::Draft::best_seat(const Need& need) const {
  double fastest = 0;
  for (const Seat& seat : need.seats) fastest = std::max(fastest, seat.speed);
  using Rank = std::tuple<std::uint32_t, int, bool, std::uint32_t, double>;
  std::optional<std::pair<Rank, Found>> best;
  for (std::size_t i = 0; i < need.seats.size(); ++i) {
    const Seat& seat = need.seats[i];
    const cluster::Node& node = snapshot.nodes[seat.node];
    const cluster::ReplicaLive& live = *need.model->replicas[seat.replica].live;
    if (seat.held() || !takes_work(*node.live) || taken[seat.node] ||
        paused(node.id, need.standing.key))
      continue;
    if (live.failures > 0 && !need.standing.asked) continue;
    const bool wished = need.cause() == Cause::wish;
    if (!wished && seat.speed > 0 && seat.speed * slower_most < fastest) continue;
    const bool room = !cluster::is_full(*node.live);
    const bool idle = claims[seat.node] == 0 && node.live->in_flight == 0;
    const bool asked = wished && need.standing.asked;
    if (!room && !asked && (!idle || paused(node.id, {}))) continue;
    const bool near = std::ranges::any_of(need.seats, [&](const Seat& other) {
      return other.held() && nearness(snapshot.nodes[other.node], node) != Nearness::apart;
    });
    const Rank rank{node.info.tier,
                    room   ? 0
                    : idle ? 1
                           : 2,
                    near, node.live->in_flight, -(seat.speed > 0 ? seat.speed : fastest)};
    if (!best || rank < best->first) best = {rank, {.seat = i, .pushes_out = !room}};
  }
  return best ? std::optional(best->second) : std::nullopt;
}

/// Plans what is missing.
void Residency::Draft::fill(Need& need) {
  while (need.claimed < need.standing.need) {
    const auto found = need.model == nullptr ? std::nullopt : best_seat(need);
    if (!found) break;
    Seat& seat = need.seats[found->seat];
    const std::size_t node = seat.node;
    steps.push_back({.kind = Kind::load,
                     .node = snapshot.nodes[node].id,
                     .node_index = node,
                     .key = need.standing.key,
                     .model = need.standing.model,
                     .replica = seat.replica,
                     .cause = need.cause(),
                     .pushes_out = found->pushes_out,
                     .asked = need.standing.asked && need.cause() == Cause::wish,
                     .why = why(need)});
    seat.loading = true;
    taken[node] = true;
    ++claims[node];
    ++need.claimed;
  }
  if (need.claimed >= need.standing.need || pull(need)) return;
  if (need.standing.problem.empty()) need.standing.problem = why_not(need);
}

/// Whether a node gets it that has not.
bool Residency::Draft::pull(const Need& need) {
  if (!sight.may_pull || !residency.pulling_.empty()) return !residency.pulling_.empty();
  const auto node = node_to_pull_at(need);
  if (!node) return false;
  steps.push_back({.kind = Kind::pull,
                   .node = snapshot.nodes[*node].id,
                   .node_index = *node,
                   .key = need.standing.key,
                   .model = need.standing.model,
                   .cause = need.cause(),
                   .asked = need.standing.asked && need.cause() == Cause::wish,
                   .why = why(need)});
  taken[*node] = true;
  return true;
}

/// The idlest of the best tier, which for demand's sake must have a model at least as large.
std::optional<std::size_t> Residency::Draft::node_to_pull_at(const Need& need) const {
  std::vector<bool> has(snapshot.nodes.size()), holds_such(snapshot.nodes.size());
  std::uint64_t size = 0;
  if (need.model != nullptr) {
    for (const cluster::Replica& replica : need.model->replicas) {
      has[replica.node] = true;
      size = std::max(size, replica.size_bytes);
    }
  }
  for (const auto& [key, model] : snapshot.models) {
    for (const cluster::Replica& replica : model.replicas) {
      if (replica.size_bytes >= size) holds_such[replica.node] = true;
    }
  }
  using Rank = std::tuple<std::uint32_t, std::uint32_t, std::uint32_t>;
  std::optional<std::pair<Rank, std::size_t>> best;
  for (std::size_t i = 0; i < snapshot.nodes.size(); ++i) {
    const cluster::Node& node = snapshot.nodes[i];
    if (has[i] || taken[i] || !takes_work(*node.live) || paused(node.id, need.standing.key))
      continue;
    if (need.cause() == Cause::demand && !holds_such[i]) continue;
    const Rank rank{node.info.tier, claims[i], node.live->in_flight};
    if (!best || rank < best->first) best = {rank, i};
  }
  return best ? std::optional(best->second) : std::nullopt;
}

std::string Residency::Draft::why_not(const Need& need) const {
  if (need.model == nullptr)
    return sight.may_pull ? "no node can pull it now" : "no node has it, and auto_pull is off";
  const auto could = static_cast<std::size_t>(std::ranges::count_if(
      need.seats, [&](const Seat& seat) { return takes_work(*snapshot.nodes[seat.node].live); }));
  if (could < need.standing.need) {
    return fmt::format("{} that can be used {} it{}", nodes_text(could),
                       could == 1 ? "has" : "have", sight.may_pull ? "" : ", and auto_pull is off");
  }
  return "the other nodes that have it have no room beside models that are needed there, are busy "
         "loading, or failed to load it lately";
}

ResidencyPlan Residency::plan(const cluster::Snapshot& snapshot, const ResidencySight& sight,
                              TimePoint now) {
  measure(snapshot, sight, now);
  std::erase_if(tried_,
                [&](const auto& tried) { return now - tried.second.at >= 2 * tried.second.pause; });
  Draft draft{.residency = *this, .snapshot = snapshot, .sight = sight, .now = now};
  draft.claims.resize(snapshot.nodes.size());
  draft.taken.resize(snapshot.nodes.size());
  for (const auto& [key, model] : snapshot.models) {
    draft.look_at(model);
    for (const cluster::Replica& replica : model.replicas) {
      if (replica.live->loading_since_ns != 0) draft.taken[replica.node] = true;
    }
  }
  for (const auto& [key, wish] : wishes_) {
    if (snapshot.find_model(key) == nullptr) draft.look_at_unknown(key, wish);
  }
  for (std::size_t i = 0; i < snapshot.nodes.size(); ++i) {
    const NodeId node = snapshot.nodes[i].id;
    if (loading_.contains(node) || pulling_.contains(node)) draft.taken[i] = true;
  }
  std::ranges::sort(draft.needs, [](const Need& a, const Need& b) {
    const auto rank = [](const Need& need) {
      const ModelStanding& standing = need.standing;
      return std::tuple(standing.wish == 0, -standing.busy, -standing.per_hour,
                        std::string_view(standing.key));
    };
    return rank(a) < rank(b);
  });
  for (Need& need : draft.needs) draft.claim(need);
  for (const Need& need : draft.needs) draft.keep(need);
  for (Need& need : draft.needs) draft.fill(need);

  ResidencyPlan plan{.steps = std::move(draft.steps)};
  for (Need& need : draft.needs) {
    const auto wish = wishes_.find(need.standing.key);
    const auto of_it = [&](const ResidencyStep& step) { return step.key == need.standing.key; };
    // Done, or nothing more can be: from now on it is kept as the mode says.
    const bool under_way = need.standing.loading > 0 || !pulling_.empty() || !loading_.empty() ||
                           std::ranges::any_of(plan.steps, of_it);
    if (wish != wishes_.end() && (need.standing.resident >= need.standing.wish || !under_way))
      wish->second.asked = false;
    need.standing.asked = wish != wishes_.end() && wish->second.asked;
    plan.models.push_back(std::move(need.standing));
  }
  return plan;
}

// ---- what is under way

bool Residency::paused(const At& at, TimePoint now) const {
  const auto tried = tried_.find(at);
  return tried != tried_.end() && now - tried->second.at < tried->second.pause;
}

/// From now on; longer where the last pause is not long over.
void Residency::pause(const At& at, TimePoint now) {
  const auto [tried, first] = tried_.try_emplace(at, Tried{.pause = limits_.pause});
  if (!first)
    tried->second.pause =
        std::min(2 * tried->second.pause, (1u << pause_doubled_most) * limits_.pause);
  tried->second.at = now;
}

bool Residency::may_begin(const ResidencyStep& step) const {
  return step.kind == Kind::pull ? pulling_.empty() : loading_.size() < limits_.loads_at_once;
}

void Residency::begun(const ResidencyStep& step, TimePoint now) {
  pause({step.node, step.key}, now);
  if (step.pushes_out) pause({step.node, {}}, now);
  (step.kind == Kind::pull ? pulling_ : loading_).insert(step.node);
}

void Residency::ended(const ResidencyStep& step, std::string failure) {
  (step.kind == Kind::pull ? pulling_ : loading_).erase(step.node);
  // What was pulled is loaded next.
  if (step.kind == Kind::pull && failure.empty()) tried_.erase({step.node, step.key});
  const auto wish = wishes_.find(step.key);
  if (wish != wishes_.end()) wish->second.failure = std::move(failure);
}

}  // namespace sollol::routing

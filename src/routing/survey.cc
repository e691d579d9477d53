#include "routing/survey.h"

#include <algorithm>
#include <array>
#include <limits>
#include <span>

#include "base/random.h"
#include "cluster/place.h"
#include "routing/nearness.h"

namespace sollol::routing {

using cluster::Availability;

namespace {

Candidate node_candidate(const cluster::Node& node, const Demand& demand) {
  Candidate candidate{.node = node.id};
  candidate.tier = node.info.tier;
  candidate.availability = node.live->availability.load(std::memory_order_relaxed);
  if (candidate.availability == Availability::trial &&
      !node.live->trial_free.load(std::memory_order_relaxed)) {
    candidate.availability = Availability::ejected;
  }
  candidate.node_in_flight = node.live->in_flight.load(std::memory_order_relaxed);
  candidate.rtt_s = node.live->round_trip_s.load(std::memory_order_relaxed);
  const cluster::Beside beside = cluster::beside(node, candidate.node_in_flight);
  candidate.device_in_flight = beside.device;
  candidate.machine_in_flight = beside.machine;
  candidate.foreign_slowdown = node.live->foreign_slowdown.load(std::memory_order_relaxed);
  candidate.full = cluster::is_full(*node.live);
  candidate.wakeable = node.live->wakeable.load(std::memory_order_relaxed);
  candidate.excluded =
      node.live->paused.load(std::memory_order_relaxed) ||
      node.live->admin.load(std::memory_order_relaxed) != cluster::Admin::enabled ||
      std::ranges::find(demand.excluded, node.id) != demand.excluded.end() ||
      (demand.pinned && *demand.pinned != node.id);
  return candidate;
}

/// The cache of a slot is kept until another conversation takes the slot.
double cached_tokens(const cluster::ReplicaLive& replica, const cluster::SessionTrace& trace) {
  const std::uint64_t since = replica.turns.load(std::memory_order_relaxed) - trace.turn;
  return since < replica.limit.load(std::memory_order_relaxed) ? trace.tokens : 0;
}

/// From what its other models told, for one of which nothing is known.
double rate_by_size(const std::atomic<double>& per_s, double size) {
  return size == 0 ? 0 : per_s.load(std::memory_order_relaxed) / size;
}

void add_replica(Candidate& candidate, const cluster::Node& node, const cluster::Replica& replica,
                 const Demand& demand, TimePoint now) {
  const cluster::ReplicaLive& live = *replica.live;
  candidate.in_flight = live.in_flight.load(std::memory_order_relaxed);
  candidate.limit = live.limit.load(std::memory_order_relaxed);
  candidate.left_s = live.departures.left_s(now);
  candidate.left_doubt = live.departures.doubt();
  candidate.warmth = replica.remote ? Warmth::warm : warmth_of(live, demand);
  if (candidate.warmth == Warmth::other_options && candidate.in_flight == 0) {
    const Duration used_at(live.used_at_ns.load(std::memory_order_relaxed));
    candidate.unused_s = std::max(to_seconds(now.time_since_epoch() - used_at), 0.0);
  }
  candidate.size_bytes = replica.size_bytes;
  candidate.prefill_tokens_per_s =
      live.prefill_setback.rate(live.prefill_tokens_per_s.load(std::memory_order_relaxed), now);
  candidate.decode_tokens_per_s =
      live.decode_setback.rate(live.decode_tokens_per_s.load(std::memory_order_relaxed), now);
  candidate.weights = replica.weights;
  const auto bytes = static_cast<double>(replica.size_bytes);
  candidate.prefill_prior = rate_by_size(node.live->prefill_weights_per_s, replica.weights);
  candidate.decode_prior = rate_by_size(node.live->decode_bytes_per_s, bytes);
  const double load_rate = rate_by_size(node.live->load_bytes_per_s, bytes);
  candidate.load_prior_s = load_rate > 0 ? 1 / load_rate : 0;
  if (const std::int64_t since = live.loading_since_ns.load(std::memory_order_relaxed); since != 0)
    candidate.loading_for_s = 1e-9 * static_cast<double>(now.time_since_epoch().count() - since);
  // Whoever joins a load that is under way waits for the rest of that alone.
  if (candidate.warmth != Warmth::warm && candidate.loading_for_s == 0 &&
      cluster::waits_for_room(*node.live, candidate.in_flight > 0 ? 1 : 0))
    candidate.room_wait_s = node.live->room_wait_s.load(std::memory_order_relaxed);
  candidate.decode_share = live.decode_share.load(std::memory_order_relaxed);
  candidate.device_share = live.device_share.load(std::memory_order_relaxed);
  candidate.doubt = live.doubt.load(std::memory_order_relaxed);
  candidate.load_s = live.load_s.load(std::memory_order_relaxed);
  candidate.service_s = live.service_s.load(std::memory_order_relaxed);
  candidate.peak_service_s = live.peak_service_s.load(std::memory_order_relaxed);
  candidate.peak_at = TimePoint(Duration(live.peak_at_ns.load(std::memory_order_relaxed)));
  if (candidate.warmth == Warmth::warm && demand.trace && demand.trace->node == candidate.node)
    candidate.cached_tokens = cached_tokens(live, *demand.trace);
  if (!demand.digest.empty() && replica.digest != demand.digest) candidate.excluded = true;
  const bool avoided =
      live.avoid_until_ns.load(std::memory_order_relaxed) > now.time_since_epoch().count();
  if (avoided && candidate.availability == Availability::healthy)
    candidate.availability = Availability::suspect;
}

Candidate replica_candidate(const cluster::Snapshot& snapshot, const cluster::Model& model,
                            std::size_t index, const Demand& demand, TimePoint now) {
  const cluster::Replica& replica = model.replicas[index];
  const cluster::Node& node = snapshot.nodes[replica.node];
  Candidate candidate = node_candidate(node, demand);
  candidate.replica = static_cast<std::uint32_t>(index);
  add_replica(candidate, node, replica, demand, now);
  return candidate;
}

/// Asks for the memory of all before any is read: in a large fleet none of it is in the cache, and
/// what is fetched together costs little more than the first.
void fetch_ahead(const cluster::Snapshot& snapshot, const cluster::Model& model,
                 std::span<const std::uint32_t> indices) {
  constexpr std::size_t line = 64;
  const auto fetch = [](const void* begin, const void* end) {
    for (const char* at = static_cast<const char*>(begin); at < end; at += line)
      __builtin_prefetch(at);
  };
  for (const std::uint32_t index : indices)
    fetch(&model.replicas[index], &model.replicas[index] + 1);
  for (const std::uint32_t index : indices) {
    // Of both, what a choice reads.
    const cluster::Node& node = snapshot.nodes[model.replicas[index].node];
    fetch(&node.id, &node.id + 1);
    fetch(&node.info.tier, &node.info.tier + 1);
    fetch(&node.live, &node + 1);
    const cluster::ReplicaLive& live = *model.replicas[index].live;
    fetch(&live.limit, &live + 1);
  }
  for (const std::uint32_t index : indices) {
    const cluster::NodeLive* live = snapshot.nodes[model.replicas[index].node].live.get();
    fetch(live, live + 1);
  }
}

}  // namespace

Warmth warmth_of(const cluster::ReplicaLive& replica, const Demand& demand) {
  const std::uint64_t loaded_with = replica.runner_key.load(std::memory_order_relaxed);
  if (!replica.loaded.load(std::memory_order_relaxed)) {
    // Who joins a load with other options has to have it loaded again.
    const bool loading = replica.loading_since_ns.load(std::memory_order_relaxed) != 0;
    return loading && loaded_with != demand.runner_key ? Warmth::other_options : Warmth::cold;
  }
  const std::uint32_t context = replica.loaded_context.load(std::memory_order_relaxed);
  const bool same_options =
      loaded_with == demand.runner_key || (demand.num_ctx != 0 && demand.num_ctx == context);
  return same_options ? Warmth::warm : Warmth::other_options;
}

void survey(const cluster::Snapshot& snapshot, const cluster::Model* model, const Demand& demand,
            TimePoint now, std::vector<Candidate>& out) {
  out.clear();
  if (model == nullptr) {
    for (const cluster::Node& node : snapshot.nodes) {
      Candidate candidate = node_candidate(node, demand);
      candidate.replica = static_cast<std::uint32_t>(out.size());
      candidate.in_flight = candidate.node_in_flight;
      candidate.limit = std::numeric_limits<std::uint32_t>::max();
      candidate.warmth = Warmth::warm;
      out.push_back(candidate);
    }
    return;
  }
  for (std::size_t i = 0; i < model->replicas.size(); ++i)
    out.push_back(replica_candidate(snapshot, *model, i, demand, now));
}

void survey_beside(const cluster::Snapshot& snapshot, const cluster::Model& model,
                   const Demand& demand, NodeId first, TimePoint now, std::vector<Candidate>& out) {
  survey(snapshot, &model, demand, now, out);
  const auto is_first = [&](const cluster::Replica& replica) {
    return snapshot.nodes[replica.node].id == first;
  };
  const auto first_replica = std::ranges::find_if(model.replicas, is_first);
  for (Candidate& candidate : out) {
    const cluster::Replica& replica = model.replicas[candidate.replica];
    if (first_replica == model.replicas.end() || is_first(replica) ||
        replica.digest != first_replica->digest || replica.remote) {
      candidate.excluded = true;
      continue;
    }
    candidate.nearness =
        nearness(snapshot.nodes[replica.node], snapshot.nodes[first_replica->node]);
  }
}

bool survey_some(const cluster::Snapshot& snapshot, const cluster::Model* model,
                 const Demand& demand, TimePoint now, std::uint64_t draw,
                 std::vector<Candidate>& out) {
  if (model == nullptr || model->replicas.size() <= survey_whole_max || demand.pinned) return false;
  std::array<std::uint32_t, cluster::ModelLive::recent_max + survey_drawn + 1> indices;
  std::size_t count = 0;
  const auto look_at = [&](std::size_t index) {
    const auto at = static_cast<std::uint32_t>(index);
    if (std::find(indices.begin(), indices.begin() + count, at) == indices.begin() + count)
      indices[count++] = at;
  };
  for (const auto& noted : model->live->recent) {
    const std::size_t index = noted.load(std::memory_order_relaxed);
    if (index > 0 && index <= model->replicas.size()) look_at(index - 1);
  }
  if (demand.trace && demand.trace->replica < model->replicas.size())
    look_at(demand.trace->replica);
  SeededRandom random(draw);
  for (std::size_t i = 0; i < survey_drawn; ++i)
    look_at(random.bits() % std::max<std::size_t>(model->best_tier_count, 1));
  const std::span chosen(indices.data(), count);
  fetch_ahead(snapshot, *model, chosen);
  out.clear();
  for (const std::uint32_t index : chosen)
    out.push_back(replica_candidate(snapshot, *model, index, demand, now));
  return true;
}

bool good_enough(const Result<Choice>& choice, const std::vector<Candidate>& some) {
  if (!choice || choice->reason == Reason::spilled || choice->reason == Reason::last_resort)
    return false;
  const std::uint32_t best = std::ranges::min(some, {}, &Candidate::tier).tier;
  return some[choice->index].tier == best;
}

Result<Choice> survey_and_choose(Policy policy, const cluster::Snapshot& snapshot,
                                 const cluster::Model* model, const Demand& demand,
                                 std::span<const AwaitedPlace> awaited, TimePoint now,
                                 std::uint64_t draw, std::vector<Candidate>& scratch) {
  std::optional<NodeId> after;
  if (model != nullptr) {
    const std::uint32_t last = model->live->last_node.load(std::memory_order_relaxed);
    if (last != cluster::ModelLive::none) after = NodeId{last};
  }
  const auto choose_among = [&] {
    for (const AwaitedPlace& place : awaited) {
      const auto found = std::ranges::find(scratch, place.node, &Candidate::node);
      if (found != scratch.end()) found->awaited_s += place.stay_s;
    }
    return choose(policy, scratch, demand.shape, now, draw, after);
  };
  // Only where costs are estimated is one good node as good as another.
  const bool some = policy == Policy::expected_completion &&
                    survey_some(snapshot, model, demand, now, draw, scratch);
  if (!some) survey(snapshot, model, demand, now, scratch);
  const auto choice = choose_among();
  if (!some || good_enough(choice, scratch)) return choice;
  survey(snapshot, model, demand, now, scratch);
  return choose_among();
}

}  // namespace sollol::routing

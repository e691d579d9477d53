#include "routing/policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

#include "cluster/learn.h"
#include "routing/compared.h"

namespace sollol::routing {

using cluster::Availability;

namespace {

/// Costs within this share of each other are equal: estimates are no better, and turns then spread
/// the work.
constexpr double tie_share = 0.01;
/// What is not known well is costed better by its doubt, at most by this: so nodes are tried early,
/// and again when what is known of them has grown old.
constexpr double optimism_max = 0.2;
/// Reading a model from an NVMe disk; a load that was measured there, of any model, replaces it.
constexpr double load_bytes_per_s = 1e9;
/// Decoding reads the whole model once a token: 200 GB/s of memory, between a laptop's and a
/// mid-range GPU's.
constexpr double memory_bytes_per_s = 200e9;
/// Prefill is bound by arithmetic: some twenty times the decode rate on the same machines.
constexpr double prefill_per_decode = 20;
constexpr double decode_tokens_per_s_prior = 30;  // when not even the size is known
/// Share of a load that is taken to be left however long it has gone on.
constexpr double load_share_left = 0.1;
/// Who waits hears nothing meanwhile: when waiting is weighed, a second before the first token
/// counts for this much more than one of the answer. Of 0, 0.5 and 1 the least at which no
/// published scenario has its first tokens late for it (`sollol bench policies`, scenarios slots,
/// mixed).
constexpr double silence_weight = 0.5;
/// A place that is not free yet must promise an end this much sooner than one that is. Of 0.5, 0.6,
/// 0.7 and 0.8 the best balance of typical and of late answers (`sollol bench policies`).
constexpr double worth_waiting_share = 0.7;
/// Loads that follow from one that pushes a model out: the one that brings that back, and what it
/// pushes out in turn. Of 0, 1, 2 and 4 the best balance of loads and waiting (`sollol bench
/// policies`, scenarios models, contexts, large).
constexpr double evicted_share = 2;
/// The same of a load for other runner options: whoever wants what is loaded now has it loaded
/// again, and so in turns, where both can keep to a node of their own each. Of 2, 4, 6, 8, 10, 12,
/// 16 and 24 the most at which the latest answers come no later than behind the best of the other
/// policies (`sollol bench policies --queue own`, scenario contexts).
constexpr double reloaded_share = 12;
/// What nobody has asked for in so long is the less likely asked for the longer ago it was.
constexpr double wanted_for_s = 60;
/// One choice in 2^n is offered to a node on trial while healthy ones are free: told by the draw's
/// topmost bits, which no policy uses.
constexpr unsigned trial_lot_bits = 3;

struct PolicyName {
  Policy policy;
  std::string_view name;
};
constexpr std::array<PolicyName, 10> policy_names{
    {{Policy::expected_completion, "expected_completion"},
     {Policy::round_robin, "round_robin"},
     {Policy::least_connections, "least_connections"},
     {Policy::power_of_two, "power_of_two"},
     {Policy::random, "random"},
     {Policy::fastest, "fastest"},
     {Policy::priority, "priority"},
     {Policy::peak_ewma, "peak_ewma"},
     {Policy::lmetric, "lmetric"},
     {Policy::points, "points"}}};

bool last_resort(const Candidate& c) {
  return !c.excluded &&
         (c.availability == Availability::suspect || c.availability == Availability::unknown);
}
bool has_room(const Candidate& c) { return c.in_flight < c.limit; }

/// The candidates among which the policy picks: one tier, one kind of availability, all with room.
class Pool {
 public:
  enum class Kind : std::uint8_t { healthy, trial, last_resort };

  Pool(std::span<const Candidate> candidates, Kind kind, std::uint32_t tier)
      : candidates_(candidates), kind_(kind), tier_(tier) {}

  bool holds(const Candidate& c) const {
    if (c.tier != tier_ || c.excluded || !has_room(c)) return false;
    switch (kind_) {
      case Kind::healthy:
        return c.availability == Availability::healthy;
      case Kind::trial:
        return c.availability == Availability::trial;
      case Kind::last_resort:
        return last_resort(c);
    }
    return false;
  }
  std::size_t size() const {
    return static_cast<std::size_t>(
        std::ranges::count_if(candidates_, [this](const auto& c) { return holds(c); }));
  }
  std::size_t nth(std::size_t rank) const {
    for (std::size_t i = 0; i < candidates_.size(); ++i) {
      if (holds(candidates_[i]) && rank-- == 0) return i;
    }
    return candidates_.size();
  }
  std::span<const Candidate> all() const { return candidates_; }
  Kind kind() const { return kind_; }

 private:
  std::span<const Candidate> candidates_;
  Kind kind_;
  std::uint32_t tier_;
};

/// The least by `cost` in the pool; among equals the next after `after` in the order of node ids,
/// cyclically.
template <class CostOf>
std::pair<std::size_t, double> least(const Pool& pool, std::optional<NodeId> after,
                                     CostOf&& cost_of) {
  // Each cost is reckoned once where there are few candidates, which is the rule (survey.h).
  constexpr std::size_t kept_max = 64;
  constexpr double infinite = std::numeric_limits<double>::infinity();
  std::array<double, kept_max> kept;
  const std::span<const Candidate> all = pool.all();
  double best = infinite;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const double cost = pool.holds(all[i]) ? cost_of(all[i]) : infinite;
    if (i < kept_max) kept[i] = cost;
    best = std::min(best, cost);
  }
  const auto turn =
      [&](NodeId id) {  // distance after the cursor; 64 bits, so that wrapping cannot collide
        const std::uint64_t start = after ? std::uint64_t{after->value()} + 1 : 0;
        const std::uint64_t at = id.value();
        return at >= start ? at - start : at + (std::uint64_t{1} << 32) - start;
      };
  const double bound = best + std::abs(best) * tie_share;
  std::size_t chosen = all.size();
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bool among =
        i < kept_max ? kept[i] <= bound : pool.holds(all[i]) && cost_of(all[i]) <= bound;
    if (!among || (i < kept_max && kept[i] == infinite)) continue;
    if (chosen == all.size() || turn(all[i].node) < turn(all[chosen].node)) chosen = i;
  }
  return {chosen, best};
}

/// Work at other nodes of its device counts: it takes the same device's time.
double load_per_slot(const Candidate& c) {
  return static_cast<double>(c.in_flight + c.device_in_flight) / std::max(1u, c.limit);
}

Choice pick_least_cost(const Pool& pool, const RequestShape& shape, std::optional<NodeId> after) {
  const Priors priors = priors_of(pool.all());
  const auto cost_of = [&](const Candidate& c) {
    const Cost cost = expected_completion(c, shape, priors);
    return cost.total() * (1 - std::min(cost.known ? c.doubt : 1, optimism_max));
  };
  const auto [index, cost] = least(pool, after, cost_of);
  const Candidate& chosen = pool.all()[index];
  bool others_cold = chosen.warmth == Warmth::warm;
  for (const Candidate& c : pool.all()) {
    if (&c != &chosen && pool.holds(c) && c.warmth == Warmth::warm) others_cold = false;
  }
  const bool known = expected_completion(chosen, shape, priors).known;
  const Reason reason = others_cold && pool.size() > 1 ? Reason::warm
                        : known                        ? Reason::least_cost
                                                       : Reason::exploring;
  return {index, chosen.node, cost, reason};
}

/// The better by `load` of two drawn at random.
template <class LoadOf>
Choice pick_of_two(const Pool& pool, std::uint64_t draw, LoadOf&& load) {
  const std::size_t count = pool.size();
  const std::size_t first = (draw >> 32) % count;
  const std::size_t step = count == 1 ? 0 : 1 + (draw & 0xffffffff) % (count - 1);
  const std::size_t a = pool.nth(first);
  const std::size_t b = pool.nth((first + step) % count);
  const std::size_t better = load(pool.all()[b]) < load(pool.all()[a]) ? b : a;
  return {better, pool.all()[better].node, 0, Reason::drawn};
}

/// The least by `cost`, whatever that is.
template <class CostOf>
Choice pick_least(const Pool& pool, std::optional<NodeId> after, Reason reason, CostOf&& cost) {
  const std::size_t index = least(pool, after, cost).first;
  return {index, pool.all()[index].node, 0, reason};
}

/// What a policy is asked with.
struct Question {
  const RequestShape& shape;
  TimePoint now;
  std::uint64_t draw;
  std::optional<NodeId> after;
};

Choice pick(Policy policy, const Pool& pool, const Question& asked) {
  const auto equal = [](const Candidate&) { return 0.0; };
  switch (policy) {
    case Policy::expected_completion:
      break;
    case Policy::round_robin:
      return pick_least(pool, asked.after, Reason::next_in_turn, equal);
    case Policy::least_connections:
      return pick_least(pool, asked.after, Reason::fewest_in_flight, load_per_slot);
    case Policy::power_of_two:
      return pick_of_two(pool, asked.draw, load_per_slot);
    case Policy::random: {
      const std::size_t index = pool.nth(asked.draw % pool.size());
      return {index, pool.all()[index].node, 0, Reason::drawn};
    }
    case Policy::fastest:  // one that was not measured yet comes first
      return pick_least(pool, asked.after, Reason::fastest_of_late,
                        [](const Candidate& c) { return c.service_s; });
    case Policy::priority:
      return pick_least(pool, std::nullopt, Reason::first_free, equal);
    case Policy::peak_ewma:
      return pick_of_two(pool, asked.draw,
                         [&](const Candidate& c) { return peak_latency_load(c, asked.now); });
    case Policy::lmetric:
      return pick_least(pool, asked.after, Reason::least_score,
                        [&](const Candidate& c) { return new_tokens_by_batch(c, asked.shape); });
    case Policy::points:
      return pick_least(pool, asked.after, Reason::least_score,
                        [](const Candidate& c) { return -points(c); });
  }
  return pick_least_cost(pool, asked.shape, asked.after);
}

/// A full node of the chosen one's tier for whose next place it is better to wait.
std::optional<Choice> pick_to_wait_for(std::span<const Candidate> candidates,
                                       const RequestShape& shape, const Choice& free) {
  const Candidate& chosen = candidates[free.index];
  if (!shape.may_wait || shape.waited_s >= free.cost_s || free.reason == Reason::exploring)
    return std::nullopt;
  const Priors priors = priors_of(candidates);
  const auto weighed = [](double total_s, const Cost& cost) {
    return total_s + silence_weight * (cost.wait_s + cost.load_s + cost.prefill_s);
  };
  std::optional<Choice> best;
  double bound =
      worth_waiting_share * weighed(free.cost_s, expected_completion(chosen, shape, priors));
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    const bool full = c.tier == chosen.tier && !c.excluded &&
                      c.availability == Availability::healthy && !has_room(c);
    if (!full) continue;
    const Cost cost = expected_completion(c, shape, priors);
    if (!cost.known || weighed(cost.total(), cost) >= bound) continue;
    bound = weighed(cost.total(), cost);
    best = Choice{.index = i,
                  .node = c.node,
                  .cost_s = cost.total(),
                  .reason = Reason::worth_waiting,
                  .now = false,
                  .later = {.node = c.node, .wait_s = cost.wait_s, .stay_s = cost.stay_s()}};
  }
  return best;
}

/// The best tier with a candidate that `wanted` accepts.
template <class Wanted>
std::optional<std::uint32_t> best_tier(std::span<const Candidate> candidates, Wanted&& wanted) {
  std::optional<std::uint32_t> tier;
  for (const Candidate& c : candidates) {
    if (wanted(c) && (!tier || c.tier < *tier)) tier = c.tier;
  }
  return tier;
}

/// What of its cost comes from neighbours and from other programs; empty: nothing.
std::string slowed_text(const Candidate& c) {
  std::string out;
  if (c.device_in_flight > 0)
    fmt::format_to(std::back_inserter(out), " (its device has {} requests of other nodes)",
                   c.device_in_flight);
  if (c.machine_in_flight > 0)
    fmt::format_to(std::back_inserter(out), " (its machine's other devices have {} requests)",
                   c.machine_in_flight);
  if (c.foreign_slowdown > 1)
    fmt::format_to(std::back_inserter(out), " (other programs make it {:.2f} times as slow)",
                   c.foreign_slowdown);
  return out;
}

Error nothing_to_choose(std::span<const Candidate> candidates) {
  std::array<unsigned, 7> by_state{};
  unsigned excluded = 0;
  for (const Candidate& c : candidates) {
    c.excluded ? ++excluded : ++by_state[std::to_underlying(c.availability)];
  }
  const bool full = std::ranges::any_of(
      candidates, [](const Candidate& c) { return can_serve(c) || last_resort(c); });
  if (full) {
    return {ErrorKind::overloaded, Origin::gateway, Retry::later,
            fmt::format("all {} nodes that could serve are at their limit",
                        candidates.size() - excluded)};
  }
  if (std::ranges::any_of(candidates, asleep)) {
    return {ErrorKind::overloaded, Origin::gateway, Retry::later,
            "the nodes that could serve are asleep, and waking is not done in a moment"};
  }
  return {ErrorKind::no_candidate, Origin::gateway, Retry::later,
          fmt::format("no usable node: of {} that have the model, {} down, {} ejected after "
                      "failures, {} starting, {} "
                      "tried already, paused or taken out",
                      candidates.size(), by_state[std::to_underlying(Availability::down)],
                      by_state[std::to_underlying(Availability::ejected)] +
                          by_state[std::to_underlying(Availability::trial)],
                      by_state[std::to_underlying(Availability::starting)], excluded)};
}

}  // namespace

Result<Policy> parse_policy(std::string_view text) {
  for (const PolicyName& known : policy_names) {
    if (known.name == text) return known.policy;
  }
  std::string names;
  for (const PolicyName& known : policy_names)
    names += fmt::format("{}{}", names.empty() ? "" : ", ", known.name);
  return std::unexpected(
      bad_input(fmt::format("policy: '{}' is unknown; use one of {}", text, names)));
}

std::string_view name(Policy policy) noexcept {
  return std::ranges::find(policy_names, policy, &PolicyName::policy)->name;
}

std::span<const Policy> policies() noexcept {
  static constexpr auto all = [] {
    std::array<Policy, policy_names.size()> out{};
    std::ranges::transform(policy_names, out.begin(), &PolicyName::policy);
    return out;
  }();
  return all;
}

std::string_view text(Reason reason) noexcept {
  switch (reason) {
    case Reason::only_candidate:
      return "only_candidate";
    case Reason::least_cost:
      return "least_cost";
    case Reason::warm:
      return "warm";
    case Reason::exploring:
      return "exploring";
    case Reason::next_in_turn:
      return "next_in_turn";
    case Reason::fewest_in_flight:
      return "fewest_in_flight";
    case Reason::fastest_of_late:
      return "fastest_of_late";
    case Reason::drawn:
      return "drawn";
    case Reason::first_free:
      return "first_free";
    case Reason::spilled:
      return "spilled_to_lower_tier";
    case Reason::on_trial:
      return "on_trial";
    case Reason::last_resort:
      return "last_resort";
    case Reason::worth_waiting:
      return "worth_waiting";
    case Reason::least_score:
      return "least_score";
    case Reason::hedge:
      return "hedge";
  }
  return "unknown";
}

Priors priors_of(std::span<const Candidate> candidates) noexcept {
  double prefill = 0, decode = 0, size = 0, service = std::numeric_limits<double>::infinity();
  for (const Candidate& c : candidates) {
    prefill = std::max(prefill, c.prefill_tokens_per_s);
    decode = std::max(decode, c.decode_tokens_per_s);
    size = std::max(size, static_cast<double>(c.size_bytes));
    if (c.service_s > 0) service = std::min(service, c.service_s);
  }
  if (decode > 0) service = std::numeric_limits<double>::infinity();
  if (decode == 0) decode = size > 0 ? memory_bytes_per_s / size : decode_tokens_per_s_prior;
  if (prefill == 0) prefill = decode * prefill_per_decode;
  return {prefill, decode, std::isfinite(service) ? service : 0};
}

Cost expected_completion(const Candidate& c, const RequestShape& shape,
                         const Priors& priors) noexcept {
  Cost cost;
  const bool rates_known =
      c.decode_tokens_per_s > 0 || (shape.expected_tokens <= 1 && c.prefill_tokens_per_s > 0);
  cost.known = rates_known || c.service_s > 0;
  if (cost.known && !rates_known) {
    cost.decode_s =
        c.service_s;  // only how long whole requests took: some APIs report no durations
  } else {
    const auto known_or = [](double learnt, double of_node, double of_others) {
      return learnt > 0 ? learnt : of_node > 0 ? of_node : of_others;
    };
    const double prefill =
        known_or(c.prefill_tokens_per_s, c.prefill_prior, priors.prefill_tokens_per_s);
    const double decode =
        known_or(c.decode_tokens_per_s, c.decode_prior, priors.decode_tokens_per_s);
    cost.prefill_s = std::max(shape.prompt_tokens - c.cached_tokens, 0.0) / prefill;
    cost.decode_s = shape.expected_tokens / decode;
  }
  // Rates that nobody measured must not make the unknown node worse than what another is known to
  // do.
  if (!cost.known && c.decode_prior == 0 && priors.service_s > 0 &&
      cost.prefill_s + cost.decode_s > priors.service_s) {
    cost.prefill_s = 0;
    cost.decode_s = priors.service_s;
  }
  const double machine = cluster::slowed_by_machine(c.foreign_slowdown, c.machine_in_flight);
  const double of_other_models = c.node_in_flight - std::min(c.in_flight, c.node_in_flight);
  const double neighbours = c.device_share * (of_other_models + c.device_in_flight);
  // Where it waits for a place, the batch will have one less.
  const double batch = c.decode_share * std::min(c.in_flight, std::max(c.limit, 1u) - 1);
  cost.slowdown = machine * (1 + c.device_share * c.device_in_flight);
  cost.crowd_s = machine * (neighbours * cost.prefill_s + (batch + neighbours) * cost.decode_s);
  cost.prefill_s *= machine * (1 + neighbours);
  cost.decode_s *= machine * (1 + batch + neighbours);
  if (c.warmth != Warmth::warm) {
    const double load_s = c.load_s > 0 ? c.load_s
                          : c.load_prior_s > 0
                              ? c.load_prior_s
                              : static_cast<double>(c.size_bytes) / load_bytes_per_s;
    cost.load_s = c.room_wait_s + load_s;
    // Who joins a load waits for the rest of it; of one that takes longer than expected, some.
    if (c.loading_for_s > 0)
      cost.load_s = std::max(cost.load_s - c.loading_for_s, load_s * load_share_left);
    if (c.warmth == Warmth::other_options) {
      // Its own load comes after one that is under way, and after what runs (reference §14.3).
      if (c.loading_for_s > 0) cost.load_s += load_s;
      cost.load_s += c.in_flight * (cost.prefill_s + cost.decode_s);
      cost.evict_s = load_s * reloaded_share * wanted_for_s / std::max(c.unused_s, wanted_for_s);
    } else if (c.full) {
      // What is pushed out is loaded again for the next one who wants it.
      cost.evict_s = cost.load_s * evicted_share;
    }
  }
  const double service =
      c.service_s > 0 ? c.service_s * cost.slowdown : cost.prefill_s + cost.decode_s;
  if (c.in_flight >= c.limit) {
    // Of n ends that are spread evenly over twice their mean, the first is at 1 / (n + 1) of that.
    const double left = std::max(c.left_s, cluster::part_left * c.left_doubt * service);
    const double first = 2 * left / (std::max(1u, c.in_flight) + 1);
    const double before = service * (c.in_flight - c.limit) + c.awaited_s;
    cost.wait_s = first + before / std::max(1u, c.limit);
  }
  cost.network_s = c.rtt_s;
  return cost;
}

Result<Choice> choose(Policy policy, std::span<const Candidate> candidates,
                      const RequestShape& shape, TimePoint now, std::uint64_t draw,
                      std::optional<NodeId> after) {
  const Question asked{shape, now, draw, after};
  const auto free = [](const Candidate& c) { return can_serve(c) && has_room(c); };
  const auto tier = best_tier(candidates, free);
  if (!tier) {
    // A place at a good node comes free sooner than a doubtful one gets well, and a node that fails
    // fast always has room.
    if (std::ranges::any_of(candidates, can_serve))
      return std::unexpected(nothing_to_choose(candidates));
    const auto resort =
        best_tier(candidates, [](const Candidate& c) { return last_resort(c) && has_room(c); });
    if (!resort) return std::unexpected(nothing_to_choose(candidates));
    Choice choice = pick(policy, {candidates, Pool::Kind::last_resort, *resort}, asked);
    choice.reason = Reason::last_resort;
    return choice;
  }
  const Pool healthy(candidates, Pool::Kind::healthy, *tier);
  const Pool on_trial(candidates, Pool::Kind::trial, *tier);
  const std::size_t count = healthy.size();
  // A node on trial looks idle; it gets its one request by lot, not by looking good.
  if (on_trial.size() > 0 && (count == 0 || draw >> (64 - trial_lot_bits) == 0)) {
    Choice choice = pick(policy, on_trial, asked);
    choice.reason = Reason::on_trial;
    return choice;
  }
  Choice choice = pick(policy, healthy, asked);
  if (policy == Policy::expected_completion) {
    if (const auto later = pick_to_wait_for(candidates, shape, choice)) return *later;
  }
  const auto best_serving = best_tier(candidates, can_serve);
  if (best_serving && *best_serving < *tier) {
    choice.reason = Reason::spilled;
  } else if (count == 1) {
    choice.reason = Reason::only_candidate;
  }
  return choice;
}

std::string explain(std::span<const Candidate> candidates, const RequestShape& shape, Policy policy,
                    const Choice& choice) {
  std::string out = fmt::format("policy {}, {}\n", name(policy), text(choice.reason));
  const Priors priors = priors_of(candidates);
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    const Candidate& c = candidates[i];
    const Cost cost = expected_completion(c, shape, priors);
    fmt::format_to(std::back_inserter(out),
                   "{} node {} tier {} {}/{} in flight: wait {:.3f} s + load {:.3f} s + evict "
                   "{:.3f} s + crowd {:.3f} s + prefill "
                   "{:.3f} s + decode "
                   "{:.3f} s + network {:.4f} s = {:.3f} s{}{}{}\n",
                   i == choice.index ? '*' : ' ', c.node.value(), c.tier, c.in_flight, c.limit,
                   cost.wait_s, cost.load_s, cost.evict_s, cost.crowd_s, cost.prefill_s,
                   cost.decode_s, cost.network_s, cost.total(), slowed_text(c),
                   cost.known ? "" : " (speed not known yet)",
                   can_serve(c) && has_room(c) ? "" : " (not available)");
  }
  return out;
}

}  // namespace sollol::routing

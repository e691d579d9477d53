#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/time.h"
#include "routing/candidate.h"

namespace sollol::routing {

enum class Policy : std::uint8_t {
  expected_completion,  // least expected time to the last token
  round_robin,          // the next node in turn
  least_connections,    // least requests in flight at its device for its limit
  power_of_two,         // the better of two drawn at random
  random,
  fastest,   // the free node that took the least time of late, whatever it has to do
  priority,  // the first free node of the best tier, in the order of registration
  // Those of others, to compare with (compared.h).
  peak_ewma,  // the better of two drawn at random, by peaks of latency and requests in flight
  lmetric,    // least new prompt tokens times requests in flight
  points,     // most points
};

/// Error: bad_input, listing the names.
Result<Policy> parse_policy(std::string_view name);
std::string_view name(Policy policy) noexcept;
/// All of them, the default first.
std::span<const Policy> policies() noexcept;

/// Why the chosen node was chosen.
enum class Reason : std::uint8_t {
  only_candidate,
  least_cost,
  warm,       // least cost, and the others would have had to load the model
  exploring,  // its speed is not known yet
  next_in_turn,
  fewest_in_flight,
  fastest_of_late,
  drawn,  // at random
  first_free,
  spilled,      // better tiers are full
  on_trial,     // half-open: one request finds out
  last_resort,  // nothing healthy is left
  worth_waiting,
  least_score,  // of a policy whose figures are no seconds
  hedge,        // the first node tried is unusually late: see choose_hedge
};
std::string_view text(Reason reason) noexcept;

/// A place that a request waits for.
struct AwaitedPlace {
  NodeId node{0};
  double wait_s = 0;  // expected, until it is free
  double stay_s = 0;  // how long the request will have it
};

struct Choice {
  std::size_t index;  // into the candidates
  NodeId node;
  double cost_s;  // expected seconds to completion; 0 for policies that do not estimate
  Reason reason;
  bool now = true;          // false: wait for a place there
  AwaitedPlace later = {};  // which, then
};

/// What one candidate would cost, in seconds: the request's own time, and others'.
struct Cost {
  double wait_s = 0;   // for a slot
  double load_s = 0;   // of a model that is not warm
  double evict_s = 0;  // what those will wait whose model it pushes out
  double crowd_s = 0;  // what those lose that run beside it
  double prefill_s = 0;
  double decode_s = 0;
  double network_s = 0;
  double slowdown = 1;  // of prefill and decode: by other nodes' work and other programs there
  bool known = false;   // from this node's own measurements
  /// How long the request will have the place.
  double stay_s() const noexcept { return load_s + prefill_s + decode_s + network_s; }
  /// Its expected completion time.
  double own_s() const noexcept { return wait_s + stay_s(); }
  /// Which the choice makes least.
  double total() const noexcept { return own_s() + evict_s + crowd_s; }
};

/// What stands in for unknown rates: the best of the candidates that have them, else guesses by
/// model size.
struct Priors {
  double prefill_tokens_per_s;
  double decode_tokens_per_s;
  double service_s = 0;  // of a whole request, where none has rates; 0: none has it
};
Priors priors_of(std::span<const Candidate> candidates) noexcept;

/// wait for a slot + load if cold + prompt tokens / prefill rate + expected tokens / decode rate at
/// that concurrency + round trip (design §5). Prefill and decode take longer beside requests of
/// other nodes on the same device or machine, and beside other programs.
///
/// Others pay for a choice too. Where each of n requests takes d of the time of one beside it, one
/// that would take t alone takes t (1 + d n), and each of the n loses d t meanwhile: as much
/// together as it loses by them. Pure; O(1).
Cost expected_completion(const Candidate& candidate, const RequestShape& shape,
                         const Priors& priors) noexcept;

/// Picks a node. Pure: equal arguments, equal answer. O(n); allocates at most an error's text; any
/// thread.
///
///   candidates  any order, may be empty
///   now         for policies that age what they know
///   draw        64 uniform bits
///   after       the node chosen last for this model: round-robin's cursor, and how ties rotate
///
/// The best tier with a free node (healthy or on trial, below its limit) is used, then the next;
/// late and never probed nodes only when no tier has a healthy one, free or not. A request that
/// `may_wait` waits rather than going to a free node of that tier when expected_completion says
/// that a full one of it will have finished the request clearly sooner, until it has waited as long
/// as the free one would have taken. Errors: overloaded when all that could serve are at their
/// limit or asleep (wait), no_candidate when none could, with why.
Result<Choice> choose(Policy policy, std::span<const Candidate> candidates,
                      const RequestShape& shape, TimePoint now, std::uint64_t draw,
                      std::optional<NodeId> after);

/// Every candidate with each term of its cost, one line each, the chosen one marked.
std::string explain(std::span<const Candidate> candidates, const RequestShape& shape, Policy policy,
                    const Choice& choice);

}  // namespace sollol::routing

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>

#include "base/time.h"
#include "routing/candidate.h"

namespace sollol::routing {

/// Second tries in parallel, where the first is unusually late.
struct HedgeOptions {
  bool enabled = false;
  std::uint32_t budget_percent = 5;                     // of the requests that may be hedged
  Duration delay_min = std::chrono::milliseconds(100);  // no request is late before
  std::uint32_t tokens_max = 64;  // expected of the answer; a longer one is not hedged
};

/// So often a second node is looked for, where none will do at first.
inline constexpr unsigned hedge_looks_max = 4;

/// A request's first try, which has not been answered yet.
struct FirstTry {
  std::uint32_t tier = 0;  // of its node
  double expected_s = 0;   // from its dispatch to the whole answer
  double late_factor = 0;  // of its node and model (cluster::learn_lateness); 0: not known
};

/// How long after its dispatch the first try is unusually late, at least `least`; nullopt while
/// nothing tells what is usual there.
///
/// Source: "The Tail at Scale" (Dean, Barroso; CACM 56(2), 2013): a second request after the 95th
/// percentile of the expected latency costs some 5 % of load and cuts the tail.
std::optional<Duration> hedge_delay(const FirstTry& first, Duration least) noexcept;

/// A second try at the same request, in parallel.
struct Hedge {
  std::size_t index;  // into the candidates
  double cost_s;      // expected seconds to its completion
  Duration after;     // from the first's dispatch; not before, whatever the delay
};

/// Where a second try would be best: a healthy node, of no worse tier than the first's, that has
/// the model warm and a free place; of those the best tier's, then the one that shares least with
/// the first, then the one that would be done soonest. Nothing is known of when the first will be
/// done, but that durations have a heavy tail: what is late already takes about as long again as it
/// has taken. So the second is worth it once the first has been out for as long as the second
/// would take.
///
/// Pure; O(n). nullopt: nowhere.
std::optional<Hedge> choose_hedge(std::span<const Candidate> candidates, const RequestShape& shape,
                                  const FirstTry& first);

}  // namespace sollol::routing

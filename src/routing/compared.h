#pragma once

#include "base/time.h"
#include "routing/candidate.h"

namespace sollol::routing {

/// What other load balancers look at, written from their published descriptions, to compare with.
/// Pure; O(1).

/// Peak EWMA: the latency of whole requests, which follows a slower one at once and faster ones by
/// their age (`cluster::peak_decay`), times the requests in flight with this one. Unknown: the
/// least of all while nothing is in flight there, the most while something is. Less is better.
/// Source: Finagle's and Linkerd's documentation of their default balancer.
double peak_latency_load(const Candidate& candidate, TimePoint now) noexcept;

/// LMetric: prompt tokens that the node would have to evaluate anew, times the requests that would
/// run there. Less is better. Source: "LMetric: Simple is Better", arXiv 2603.15202.
double new_tokens_by_batch(const Candidate& candidate, const RequestShape& shape) noexcept;

/// Points as Ollama Herd gives them (docs/fleet-manager-routing-engine.md there), as far as what a
/// gateway knows of a node goes: +50 for a loaded model, +10 for one on disk; −6 for each request
/// of the model there, at most −30; −1 for each ten seconds that these will take, at most −25. Its
/// points for free memory, kinds of machine, their owners and long contexts are left out: here they
/// would be the same for all nodes. More is better.
double points(const Candidate& candidate) noexcept;

}  // namespace sollol::routing

#pragma once

#include <optional>
#include <span>

#include "base/time.h"
#include "routing/candidate.h"

namespace sollol::routing {

/// How long a model's queue is.
struct Waiting {
  std::size_t requests = 1;  // that wait for the model
  Duration longest{};        // that one of them has waited
};

/// Which sleeping node a request that waits should have woken: of the best tier that has one, the
/// one that would be done first; none while the nodes of that tier and better ones will have a
/// place for all that wait before a machine could be awake, which takes `wake_time`. Once a request
/// has waited so long they had not, whatever was expected.
///
/// Pure; O(n). The index into the candidates.
std::optional<std::size_t> choose_to_wake(std::span<const Candidate> candidates,
                                          const RequestShape& shape, const Waiting& waiting,
                                          Duration wake_time);

}  // namespace sollol::routing

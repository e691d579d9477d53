#pragma once

#include "base/time.h"
#include "gateway/attempt.h"
#include "gateway/placement.h"
#include "gateway/request.h"

namespace sollol::gateway {

class Worker;

/// What an attempt taught: rates and slots of the replica from the node's durations, what its
/// conversation left behind, its health from the outcome, and the figures of the access log.
void learn(Worker& worker, const Slot& slot, const Work& work, const Verdict& verdict,
           Request& request);

}  // namespace sollol::gateway

#pragma once

#include <cstdint>
#include <string>

#include "base/time.h"
#include "cluster/wait_queue.h"
#include "routing/hedge.h"
#include "routing/policy.h"
#include "world/control.h"
#include "world/report.h"
#include "world/workload.h"

namespace sollol::world {

/// A fleet, what is asked of it, and what its gateway is told.
struct Scenario {
  std::string name{};
  std::string about{};
  Fleet fleet{};
  Workload workload{};
  Control::Places places = Control::Places::known;
  double noise = 0.1;  // of every request's time: the spread of its logarithm
  cluster::QueueLimits queue{};
};

/// Where requests wait that find every place taken.
enum class Queueing : std::uint8_t {
  gateway,  // here: a place that comes free goes to whom it suits
  nodes     // at the node that was chosen, as behind balancers that know no places
};

/// As the gateway's `models.placement`: automatic loads models before they are asked for.
enum class ModelPlacement : std::uint8_t { off, automatic };

struct Options {
  Queueing queueing = Queueing::gateway;
  routing::Policy policy = routing::Policy::expected_completion;
  std::uint64_t seed = 1;
  Duration wait_max = std::chrono::seconds(300);  // in the queue
  std::uint32_t attempts_max = 2;                 // tries after the first
  std::uint32_t retry_percent = 20;
  routing::HedgeOptions hedge{};
  ModelPlacement residency = ModelPlacement::off;
  Duration residency_interval = std::chrono::seconds(5);
};

/// Plays the scenario from the first request to the last answer, in virtual time. Equal arguments,
/// equal report. One thread; O(requests × candidates).
Report run(const Scenario& scenario, const Options& options);

}  // namespace sollol::world

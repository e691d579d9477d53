#pragma once

#include <cstddef>
#include <span>

#include "locality/facts.h"

namespace sollol::locality {

/// Where one relation ends and the next begins, and how sure a verdict is. `slowdown` is how many
/// times as long a token takes while the other node works.
struct ContentionRules {
  /// From here they share a machine. Two that share none slow each other by nothing; clocks, heat
  /// and foreign work vary by a few percent.
  double host_slowdown = 1.045;
  /// From here they share a device: two that take turns on one need twice as long, those that fill
  /// each other's gaps somewhat less; buses, memory and power of a machine seldom cost a quarter.
  double device_slowdown = 1.4;
  /// Below it, sharing a machine must show in rates that were taken in turn: drift, heat above all,
  /// makes a tenth too.
  double drift_slowdown = 1.13;
  double confidence = 0.998;     // of a verdict; below it the relation is unknown
  std::size_t samples_min = 4;   // of each kind, before any verdict
  std::size_t samples_max = 32;  // of each kind that are kept; then "unknown" is the answer
  double noise = 0.02;           // what a rate varies by, when few samples cannot tell
};

/// Decode rates in tokens per second, from the nodes' own durations, of one model with one context
/// and one stream. `alone`: no other suspected neighbour worked at any time of it. `beside`: the
/// other one worked all the time of it. In any order.
struct NodeRates {
  std::span<const double> alone{};
  std::span<const double> beside{};
};

struct Verdict {
  Relation relation = Relation::unknown;
  double confidence = 0;  // of the likeliest relation, also while unknown
  double slowdown = 1;    // estimated; geometric mean of both nodes'
  double independent = 0, same_host = 0, same_device = 0;  // how likely each is; their sum is 1
  /// How many more beside-samples of each node (with as many alone) will likely decide; 0 when
  /// decided, or when no bearable number will.
  std::size_t more_samples = 0;
};

/// Judges what two nodes are to each other. One of them may have no samples at all.
///
/// On logarithms of rates, each node's slowdown is the Hodges-Lehmann estimate: the median of all
/// differences alone - beside, which bears up to 29 % outliers (Hodges, Lehmann 1963). The spread
/// of each list is its median absolute deviation, made fit for few samples by the factors of Croux
/// and Rousseeuw (1992), and moderated by `noise` as if it had been seen in four more (as in Smyth
/// 2004). The standard error is that of a median-like estimate, sigma^2 (1/n + 1/m) pi/3. The
/// likelihood that the slowdown lies between two bounds is Student's t, through Wallace's normal
/// approximation (1959). Foreign work at a node looks like contention of one side; so no verdict
/// of sharing comes while one of two measured nodes is not slowed.
///
/// Pure; rates that are not positive numbers are passed over, only the last `samples_max` of each
/// list count. O(samples^2). Any thread.
Verdict judge(const NodeRates& a, const NodeRates& b, const ContentionRules& rules = {});

}  // namespace sollol::locality

#include "routing/compared.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "cluster/live.h"

namespace sollol::routing {

double peak_latency_load(const Candidate& c, TimePoint now) noexcept {
  if (c.peak_service_s == 0) return c.in_flight == 0 ? 0 : std::numeric_limits<double>::max() / 2;
  const double age = to_seconds(now - c.peak_at) / to_seconds(cluster::peak_decay);
  return c.peak_service_s * std::exp(-std::max(age, 0.0)) * (c.in_flight + 1);
}

double new_tokens_by_batch(const Candidate& c, const RequestShape& shape) noexcept {
  return std::max(shape.prompt_tokens - c.cached_tokens, 1.0) * (c.node_in_flight + 1);
}

double points(const Candidate& c) noexcept {
  const double loaded = c.warmth == Warmth::cold ? 10 : 50;
  const double depth = std::min(30.0, 6.0 * c.in_flight);
  const double wait = std::min(25.0, c.in_flight * c.service_s / 10);
  return loaded - depth - wait;
}

}  // namespace sollol::routing

#pragma once

#include <cmath>
#include <cstdint>
#include <numbers>

#include "base/random.h"

namespace sollol::world {

/// Draws from distributions, out of one seed.
class Chance {
 public:
  explicit Chance(std::uint64_t seed) : random_(seed) {}

  std::uint64_t bits() { return random_.bits(); }
  /// In [0, 1).
  double share() { return static_cast<double>(random_.bits() >> 11) * 0x1p-53; }
  std::uint32_t below(std::uint32_t limit) {
    return static_cast<std::uint32_t>(share() * static_cast<double>(limit));
  }
  double exponential(double mean) { return -mean * std::log1p(-share()); }
  double normal() {
    const double radius = std::sqrt(exponential(2));
    return radius * std::cos(2 * std::numbers::pi * share());
  }
  double log_normal(double median, double spread) { return median * std::exp(spread * normal()); }

 private:
  SeededRandom random_;
};

}  // namespace sollol::world

#pragma once

#include <cstdint>

namespace sollol {

/// Where chance comes from: the operating system in the gateway, a seed in tests and the simulator.
class Random {
 public:
  virtual ~Random() = default;
  virtual std::uint64_t bits() = 0;
};

/// SplitMix64: 64 well-mixed bits a call, equal seed, equal sequence. Not for secrets. One thread
/// at a time. Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA
/// 2014.
class SeededRandom final : public Random {
 public:
  explicit SeededRandom(std::uint64_t seed) noexcept : state_(seed) {}
  std::uint64_t bits() override;

 private:
  std::uint64_t state_;
};

/// 64 bits from the operating system, to seed the above.
std::uint64_t entropy_seed();

}  // namespace sollol

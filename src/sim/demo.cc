#include "sim/demo.h"

#include "sim/models.h"

namespace sollol::sim {
namespace {

/// A model as it runs on a machine so many times as fast.
ModelSpec at_speed(ModelSpec model, double factor) {
  model.prefill_tokens_per_s *= factor;
  model.decode_tokens_per_s *= factor;
  model.load_bytes_per_s *= factor;
  return model;
}

constexpr std::uint64_t gib = 1ULL << 30;

}  // namespace

FleetConfig demo_fleet() {
  NodeSpec fast{.name = "fast", .address = "127.0.0.1:0", .slots = 4, .memory_bytes = 24 * gib};
  fast.models = {at_speed(llama(), 2), at_speed(coder(), 2), at_speed(nomic(), 2)};
  NodeSpec medium{.name = "medium", .address = "127.0.0.1:0", .slots = 2, .memory_bytes = 12 * gib};
  medium.models = {llama(), coder(), nomic()};
  NodeSpec slow{.name = "slow", .address = "127.0.0.1:0", .memory_bytes = 8 * gib};
  slow.models = {at_speed(llama(), 0.2), at_speed(nomic(), 0.2)};
  return {.nodes = {std::move(fast), std::move(medium), std::move(slow)}, .time_scale = 1};
}

}  // namespace sollol::sim

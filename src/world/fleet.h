#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"

namespace sollol::world {

/// A model, wherever it runs.
struct ModelSpec {
  std::string name{};
  std::uint64_t size_bytes = 2'000'000'000;
  double weights = 0;                          // how many; 0: not told to the gateway
  std::uint64_t kv_bytes_per_token = 114'688;  // memory of one token of context
  std::uint32_t context_length = 131'072;      // what it was trained for
};

/// A model on one node's disk, and how that node runs it.
struct ReplicaSpec {
  std::uint32_t model = 0;  // index into Fleet::models
  double prefill_tokens_per_s = 2000;
  double decode_tokens_per_s = 100;
  Duration load_time = std::chrono::seconds(1);
};

/// A time in which nothing listens at a node: what ran there breaks off, its models are cold after.
struct Outage {
  Duration from{};
  Duration until{};
};

/// A time in which all that runs at a node takes so many times as long: another program has its
/// machine. Nothing tells of it.
struct SlowSpell {
  Duration from{};
  Duration until{};
  double slowdown = 1;
};

/// One node as it truly is: what the gateway does not know and has to learn. The same figures, with
/// the same meaning, as a simulated node of `sollol sim`.
struct NodeSpec {
  std::string name{};
  std::vector<ReplicaSpec> models{};
  std::uint32_t tier = 0;
  std::uint32_t slots = 1;         // of each model
  std::uint32_t slots_told = 0;    // to the gateway; 0: it has to learn them
  std::uint32_t max_loaded = 3;    // models
  std::uint64_t memory_bytes = 0;  // for models and their contexts; 0: no limit
  std::uint32_t context_length =
      0;  // of a request that asks for none; 0: by memory, as Ollama does
  Duration keep_alive = std::chrono::minutes(5);  // negative: forever
  std::string host{};               // nodes that name the same host share its memory bandwidth
  std::string device{};             // nodes of one host that name the same device share it
  double parallel_slowdown = 0.25;  // each further stream of a runner makes a token so much slower
  double device_slowdown = 1;       // the same for each stream of another runner on the device
  double host_slowdown = 0.1;       // and for each on another device of the host
  double cpu_slowdown = 8;          // a token computed wholly outside the device's memory
  Duration network_delay{};         // from the gateway to it and back
  std::vector<Outage> outages{};    // in order
  std::vector<SlowSpell> slow{};    // in order, one after the other
};

struct Fleet {
  std::vector<ModelSpec> models{};
  std::vector<NodeSpec> nodes{};
};

/// Index into the fleet's models.
inline std::optional<std::uint32_t> find_model(const Fleet& fleet, std::string_view name) {
  const auto found = std::ranges::find(fleet.models, name, &ModelSpec::name);
  if (found == fleet.models.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - fleet.models.begin());
}
/// The same; one that is not there yet is added, with the size of any.
inline std::uint32_t add_model(Fleet& fleet, const std::string& name) {
  if (const auto found = find_model(fleet, name)) return *found;
  fleet.models.push_back({.name = name});
  return static_cast<std::uint32_t>(fleet.models.size() - 1);
}

}  // namespace sollol::world

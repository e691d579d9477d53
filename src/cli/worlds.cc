#include "cli/worlds.h"

#include <fmt/format.h>

#include <cstdio>
#include <map>
#include <utility>

#include "discovery/files.h"
#include "sim/fleet_file.h"

namespace sollol::cli {
namespace {

world::NodeSpec node_of(const sim::NodeSpec& node) {
  return {.name = node.name,
          .slots = node.slots,
          .max_loaded = node.max_loaded == 0 ? 3 : node.max_loaded,
          .memory_bytes = node.memory_bytes,
          .context_length = node.context_length,
          .keep_alive = node.keep_alive,
          .host = node.host,
          .device = node.device,
          .parallel_slowdown = node.parallel_slowdown,
          .device_slowdown = node.device_slowdown,
          .host_slowdown = node.host_slowdown,
          .cpu_slowdown = node.cpu_slowdown,
          .network_delay = node.network_delay};
}

/// The nodes of `sollol sim --fleet`, as the simulator of policies knows nodes.
world::Fleet fleet_of(const sim::FleetConfig& config) {
  world::Fleet fleet;
  std::map<std::string, std::uint32_t> known;
  for (const sim::NodeSpec& node : config.nodes) {
    world::NodeSpec spec = node_of(node);
    for (const sim::ModelSpec& model : node.models) {
      const auto [found, fresh] =
          known.emplace(model.name, static_cast<std::uint32_t>(fleet.models.size()));
      if (fresh) {
        fleet.models.push_back({.name = model.name,
                                .size_bytes = model.size_bytes,
                                .kv_bytes_per_token = model.kv_bytes_per_token,
                                .context_length = model.context_length});
      }
      const Duration load =
          model.load_time > Duration::zero()
              ? model.load_time
              : from_seconds(static_cast<double>(model.size_bytes) / model.load_bytes_per_s);
      spec.models.push_back({.model = found->second,
                             .prefill_tokens_per_s = model.prefill_tokens_per_s,
                             .decode_tokens_per_s = model.decode_tokens_per_s,
                             .load_time = load});
    }
    fleet.nodes.push_back(std::move(spec));
  }
  return fleet;
}

}  // namespace

Result<world::Fleet> read_fleet_file(const std::string& name) {
  const auto text = discovery::read_file(name);
  if (!text) return std::unexpected(text.error());
  const auto config = sim::read_fleet(*text, name);
  if (!config) return std::unexpected(config.error());
  return fleet_of(*config);
}

void print_table_head(const world::Row& row) {
  fmt::print("\n{}: {}\n", row.scenario, row.about);
  fmt::print("{:<25} {:>7} {:>7} {:>7}  {:>7} {:>7} {:>7}  {:>7} {:>6} {:>7} {:>8} {:>6} {:>6}\n",
             "", "ttft 50", "95", "99 s", "last 50", "95", "99 s", "req/s", "loads", "lost",
             "/ bound", "fair", "error");
}

void print_table_row(const world::Row& row) {
  const world::Report& r = row.report;
  fmt::print(
      "{:<25} {:>7.2f} {:>7.2f} {:>7.2f}  {:>7.2f} {:>7.2f} {:>7.2f}  {:>7.2f} {:>6} {:>7} "
      "{:>8.3f} {:>6.3f} {:>6.3f}{}{}\n",
      row.policy, r.ttft_s.p50, r.ttft_s.p95, r.ttft_s.p99, r.completion_s.p50, r.completion_s.p95,
      r.completion_s.p99, r.requests_per_s, r.cold_loads, r.refused + r.timed_out + r.failed,
      r.lower_bound_s > 0 ? r.makespan_s / r.lower_bound_s : 0, r.fairness,
      r.calibration[std::to_underlying(routing::Predicted::completion)].all.value,
      r.planned_loads + r.kept > 0
          ? fmt::format("  {} loads planned, kept {} times", r.planned_loads, r.kept)
          : "",
      r.hedges > 0 ? fmt::format("  {} hedged, {} won", r.hedges, r.hedges_won) : "");
}

}  // namespace sollol::cli

#include "world/control.h"

#include <fmt/format.h>

#include <map>

namespace sollol::world {

using cluster::Availability;
using cluster::NodeHealth;
using cluster::ProbeOutcome;
using cluster::RequestOutcome;

namespace {

/// The next time at which something done every `interval` is done.
TimePoint next_turn(TimePoint now, Duration interval) {
  return TimePoint((now.time_since_epoch() / interval + 1) * interval);
}

cluster::NodeInfo info_of(const NodeSpec& spec, std::size_t index) {
  const std::string host = fmt::format("node{}", index);
  return {.name = spec.name.empty() ? host : spec.name,
          .url = "http://" + host + ":11434",
          .host = host,
          .path_prefix = {},
          .tier = spec.tier,
          .slots = spec.slots_told,
          .origin = "world"};
}

}  // namespace

Control::Control(const Fleet& fleet, Places places, Machines& machines, Events& events,
                 TimePoint now)
    : fleet_(fleet),
      machines_(machines),
      events_(events),
      cluster_(cluster::HealthOptions{}),
      listed_(fleet.nodes.size()) {
  std::map<NodeId, cluster::NodePlace> shared;
  for (std::size_t i = 0; i < fleet.nodes.size(); ++i) {
    const NodeSpec& spec = fleet.nodes[i];
    const NodeId id = *cluster_.add(info_of(spec, i));
    ids_.push_back(id);
    std::vector<cluster::ModelRecord> models;
    for (const ReplicaSpec& replica : spec.models) {
      const ModelSpec& model = fleet.models[replica.model];
      models.push_back({.key = model.name,
                        .name = model.name,
                        .digest = model.name,
                        .size_bytes = model.size_bytes,
                        .weights = model.weights});
    }
    cluster_.set_models(id, std::move(models));
    cluster_.update_health(id, now, [&](NodeHealth& h) { h.on_probe(ProbeOutcome::ok, now); });
    cluster_.note_round_trip(id, spec.network_delay);
    if (!spec.host.empty())
      shared[id] = {.machine = spec.host,
                    .device = spec.device.empty() ? std::to_string(i) : spec.device};
  }
  if (places == Places::known) cluster_.set_places(shared);
  cluster_.on_transition(
      [this](NodeId, Availability, Availability, std::string_view) { kick_ = true; });
  snapshot_ = cluster_.snapshot();
}

void Control::report(std::uint32_t node, RequestOutcome outcome, TimePoint now) {
  if (outcome == RequestOutcome::ok &&
      !snapshot_->nodes[node].live->wants_outcomes.load(std::memory_order_relaxed))
    return;
  cluster_.update_health(ids_[node], now,
                         [&](NodeHealth& health) { health.on_request(outcome, now); });
  watch(node, now);
}

/// Nodes that are not well are probed until they are.
void Control::watch(std::uint32_t node, TimePoint now) {
  const auto availability =
      snapshot_->nodes[node].live->availability.load(std::memory_order_relaxed);
  if (availability == Availability::healthy) return;
  if (to_probe_.empty()) events_.add(next_turn(now, probe_interval), Event::Kind::probe);
  to_probe_.insert(node);
}

void Control::changed(std::uint32_t node, TimePoint now) {
  if (to_probe_.empty()) events_.add(next_turn(now, probe_interval), Event::Kind::probe);
  to_probe_.insert(node);
}

void Control::probe_all(TimePoint now) {
  for (const std::uint32_t node : std::exchange(to_probe_, {})) {
    const auto outcome = machines_.is_down(node) ? ProbeOutcome::refused : ProbeOutcome::ok;
    cluster_.update_health(ids_[node], now,
                           [&](NodeHealth& health) { health.on_probe(outcome, now); });
    watch(node, now);
  }
}

void Control::list(std::uint32_t node, TimePoint now) {
  if (machines_.is_down(node)) return touched(node, now);
  std::vector<cluster::Cluster::LoadedRecord> records;
  for (const TrueNode::Loaded& loaded : machines_.at(node).loaded())
    records.push_back({fleet_.models[loaded.model].name, loaded.context});
  cluster_.set_loaded(ids_[node], records, now);
  listed_[node] = machines_.at(node).loaded_version();
}

void Control::touched(std::uint32_t node, TimePoint now) {
  if (machines_.at(node).loaded_version() == listed_[node]) return;
  if (to_list_.empty()) events_.add(next_turn(now, list_interval), Event::Kind::list);
  to_list_.insert(node);
}

void Control::list_all(TimePoint now) {
  for (const std::uint32_t node : std::exchange(to_list_, {})) list(node, now);
}

}  // namespace sollol::world

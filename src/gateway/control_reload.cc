// The part of the control thread that takes up changed options, and what an earlier process knew.
#include <spdlog/spdlog.h>

#include "api/model_name.h"
#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "gateway/nodes.h"
#include "gateway/state_file.h"

namespace sollol::gateway {

namespace {

bool same(const cluster::NodeInfo& a, const cluster::NodeInfo& b) {
  return a.name == b.name && a.url == b.url && a.path_prefix == b.path_prefix && a.tier == b.tier &&
         a.slots == b.slots && a.machine == b.machine && a.device == b.device &&
         a.wake_mac == b.wake_mac && a.origin == b.origin;
}

/// What an earlier process knew of a node. One that is perhaps asleep lists no models before it is
/// woken for one: those that it had are taken as listed until then.
void take_up(cluster::Cluster& cluster, NodeId node, const SavedNode& saved) {
  cluster.set_admin(node, saved.admin);
  cluster.remember(node, saved.learnt);
  if (cluster.info(node)->wake_mac.empty()) return;
  std::vector<cluster::ModelRecord> had;
  for (const cluster::LearntModel& model : saved.learnt.models)
    had.push_back(
        {.key = model.key, .name = api::canonical_name(model.key), .digest = model.digest});
  cluster.set_models(node, std::move(had));
}

bool same_address(const cluster::NodeInfo& a, const cluster::NodeInfo& b) {
  return a.host == b.host && a.port == b.port;
}

}  // namespace

net::Task<NodeChanges> Control::apply(std::shared_ptr<const Options> options) {
  options_ = std::move(options);
  cluster_.set_health_options(options_->health);
  NodeChanges changes;
  const auto& wanted = options_->nodes;
  for (auto& [id, probe] : probes_) {
    const bool stays = added_over_http(probe->info) ||  // no file takes it away
                       probe->info.origin == discovered_origin ||
                       std::ranges::any_of(wanted, [&](const cluster::NodeInfo& info) {
                         return same_address(info, probe->info);
                       });
    if (stays || probe->leaving) continue;
    probe->leaving = true;
    cluster_.set_admin(id, cluster::Admin::draining);
    ++changes.removed;
    spdlog::info("node {}: no longer configured; it finishes {} requests", probe->info.name,
                 cluster_.in_flight(id));
  }
  for (const cluster::NodeInfo& info : wanted) {
    const auto known = std::ranges::find_if(
        probes_, [&](const auto& item) { return same_address(item.second->info, info); });
    if (known != probes_.end()) {
      changes.changed += change(*known->second, info) ? 1 : 0;
      continue;
    }
    make_room_for(info, no_node);
    const Result<NodeId> added = cluster_.add(info);
    if (!added) {
      spdlog::warn("node {} left out: {}", info.url, added.error().detail);
      continue;
    }
    start_probe(*added);
    ++changes.added;
  }
  join_mdns();
  publish();
  co_return changes;
}

/// A node that was known before; whether something of it changed.
bool Control::change(Probe& probe, cluster::NodeInfo info) {
  const bool returns = std::exchange(probe.leaving, false);
  if (returns) cluster_.set_admin(probe.id, cluster::Admin::enabled);
  if (same(probe.info, info)) return returns;
  make_room_for(info, probe.id);
  if (probe.info.url != info.url) {
    // What was made under the old URL may speak another protocol than the new one says.
    if (probe.liveness) probe.liveness->cancel();
    if (node_gone_) node_gone_(probe.id);
  }
  places_changed_ = true;
  probe.info = info;
  probe.host_field = cluster::host_field(info);
  cluster_.update(probe.id, std::move(info));
  return true;
}

void Control::restore(const SavedState& state) {
  for (const KeptFinding& finding : state.contention) findings_.note(finding);
  for (const SavedNode& saved : state.nodes) {
    auto spec = discovery::parse_node_url(saved.url);
    if (!spec) continue;
    cluster::NodeInfo info = to_node_info(*spec);
    if (!saved.name.empty()) info.name = saved.name;
    info.tier = saved.priority;
    info.slots = saved.slots;
    info.machine = saved.machine;
    info.device = saved.device;
    info.origin = admin_origin;
    NodeId known = no_node;
    for (const NodeId id : cluster_.nodes()) {
      if (same_address(*cluster_.info(id), info)) known = id;
    }
    if (known == no_node && !saved.added) {
      away_.push_back(saved);
      continue;
    }
    if (known == no_node) {
      const Result<NodeId> added = cluster_.add(std::move(info));
      if (!added) {
        spdlog::warn("node {} of the state file left out: {}", saved.url, added.error().detail);
        continue;
      }
      known = *added;
    }
    take_up(cluster_, known, saved);
  }
}

/// A node that joins is what it was to an earlier process.
void Control::recall(NodeId node) {
  const auto found = std::ranges::find(away_, cluster_.info(node)->url, &SavedNode::url);
  if (found == away_.end()) return;
  take_up(cluster_, node, *found);
  away_.erase(found);
}

net::Task<SavedState> Control::saved_state() {
  findings_now();  // what is out of date goes
  SavedState state{.nodes = away_, .contention = findings_.all()};
  const auto today = std::chrono::floor<std::chrono::days>(scheduler_.wall_now());
  for (const auto& [id, probe] : probes_) {
    if (probe->leaving) continue;
    const cluster::NodeInfo& info = probe->info;
    state.nodes.push_back({.url = info.url,
                           .name = info.name,
                           .priority = info.tier,
                           .slots = info.slots,
                           .machine = info.machine,
                           .device = info.device,
                           .added = info.origin == admin_origin,
                           .admin = cluster_.admin(id),
                           .seen = today,
                           .learnt = cluster_.learnt(id)});
  }
  co_return state;
}

/// A node on its way out, or one added at run time, gives its name to one that is configured.
void Control::make_room_for(const cluster::NodeInfo& info, NodeId keeper) {
  for (auto& [id, probe] : probes_) {
    if (id == keeper || probe->info.name != info.name) continue;
    probe->info.name += "@" + to_string(Address{probe->info.host, probe->info.port});
    cluster_.update(id, probe->info);
  }
}

}  // namespace sollol::gateway

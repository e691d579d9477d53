// The part of the control thread that follows a node to another address: a laptop with a new lease.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>

#include "gateway/control.h"
#include "gateway/control_probe.h"

namespace sollol::gateway {

using discovery::DiscoveredNode;

namespace {

using Store = std::set<std::pair<std::string, std::string>>;

/// What a node holds: digests, and when each was written, to the nanosecond. Stubs of models that
/// are elsewhere say nothing of it.
Store store_of(const std::vector<api::ModelEntry>& models) {
  Store store;
  for (const api::ModelEntry& model : models)
    if (!model.remote) store.emplace(model.digest, model.modified_at);
  return store;
}

}  // namespace

/// The node that this one may be: one that was found before, at the same port, with the same MAC
/// address, or with the same store if no other node has that too, and that this look has not come
/// upon. Null: it is a new one.
std::shared_ptr<Control::Probe> Control::who_moved(const DiscoveredNode& found) const {
  std::vector<std::shared_ptr<Probe>> by_mac;
  std::vector<std::shared_ptr<Probe>> by_store;
  const Store store = store_of(found.models);
  for (const auto& [id, probe] : probes_) {
    if (probe->leaving || probe->info.port != found.address.port) continue;
    if (!found.mac.empty() && probe->mac == found.mac) by_mac.push_back(probe);
    if (!store.empty() && store_of(probe->listing->models) == store) by_store.push_back(probe);
  }
  const auto lost = [this](const std::vector<std::shared_ptr<Probe>>& alike) {
    const bool clear = alike.size() == 1 && alike[0]->info.origin == discovered_origin &&
                       alike[0]->seen_at < look_began_;
    return clear ? alike[0] : nullptr;
  };
  const auto moved = lost(by_mac);
  return moved ? moved : lost(by_store);
}

/// Whether it has moved is known when the look is over: its old address may come yet.
void Control::wait_for_end_of_look(const DiscoveredNode& found) {
  const auto known = std::ranges::find_if(strangers_, [&](const DiscoveredNode& stranger) {
    return stranger.address == found.address ||
           std::ranges::find(found.others, stranger.address) != found.others.end();
  });
  if (known != strangers_.end())
    *known = found;
  else
    strangers_.push_back(found);
}

net::Task<void> Control::settle_strangers() {
  const std::vector<DiscoveredNode> strangers = std::exchange(strangers_, {});
  for (const DiscoveredNode& found : strangers) {
    const std::shared_ptr<Probe> lost = who_moved(found);
    bool stays = lost == nullptr;
    if (!stays) {
      auto asking = answers_still(lost);
      stays = co_await std::move(asking);
    }
    if (stays)
      join(found);
    else if (!lost->gone)
      move_to(*lost, found);
  }
}

/// Whether somebody still accepts connections where the node was.
net::Task<bool> Control::answers_still(std::shared_ptr<Probe> probe) {
  const TimePoint deadline = scheduler_.now() + options_->discovery.scan.timeout;
  auto connecting = net::connect_any(connector_, scheduler_, probe->addresses, deadline);
  const auto connected = co_await std::move(connecting);
  co_return connected.has_value();
}

/// The node keeps its name, its learnt speeds and what the operator said of it.
void Control::move_to(Probe& probe, const DiscoveredNode& found) {
  auto spec = discovery::make_node({.host = found.address.ip, .port = found.address.port});
  if (!spec) return;
  const std::string before = probe.info.url;
  const bool same_mac = !found.mac.empty() && found.mac == probe.mac;
  probe.info.host = spec->host;
  probe.info.url = spec->url;
  probe.info.alternatives = found.others;
  probe.host_field = cluster::host_field(probe.info);
  probe.mac = found.mac;
  probe.seen_at = scheduler_.now();
  if (probe.liveness) probe.liveness->cancel();
  if (node_gone_) node_gone_(probe.id);  // connections to the old address
  probe.addresses = {found.address};
  std::ranges::copy(found.others, std::back_inserter(probe.addresses));
  probe.resolved_at = scheduler_.now();
  cluster_.update(probe.id, probe.info);
  cluster_.set_addresses(probe.id, probe.addresses);
  spdlog::info("discovery: node {} has moved from {} to {}: {}, and the old address is silent",
               probe.info.name, before, probe.info.url,
               same_mac ? "the same MAC address " + probe.mac : "the same store of models");
  publish();
}

/// Other nodes that turn out to be this one leave it to the first.
void Control::leave_others(const DiscoveredNode& found, NodeId keeper) {
  for (auto& [id, probe] : probes_) {
    if (id == keeper || probe->leaving || probe->info.origin != discovered_origin) continue;
    const Address at{probe->info.host, probe->info.port};
    const bool same =
        at == found.address || std::ranges::find(found.others, at) != found.others.end();
    if (!same) continue;
    spdlog::info("discovery: node {} is another way to {}", probe->info.name,
                 probes_.at(keeper)->info.name);
    probe->leaving = true;
    cluster_.set_admin(id, cluster::Admin::draining);
  }
}

}  // namespace sollol::gateway

// The part of the control thread that knows which nodes share a machine or a device.
#include <algorithm>

#include "api/timestamp.h"
#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "locality/advice.h"
#include "locality/grouping.h"
#include "net/links.h"
#include "net/network.h"

namespace sollol::gateway {

namespace {

/// How often nodes may be grouped anew, and how often at least: the kernel learns of neighbours
/// without telling.
constexpr Duration group_interval_min = 500ms;
constexpr Duration group_interval_max = 30s;
/// Grouping may take this share of the control thread's time.
constexpr int group_rest_per_work = 20;

/// What is known of where a node runs.
locality::NodeFacts facts_of(const cluster::NodeInfo& info, const std::vector<Address>& addresses,
                             const NodeListing& listing, const net::Links& links) {
  locality::NodeFacts facts{.name = info.name,
                            .port = info.port,
                            .operator_host = info.machine,
                            .operator_device = info.device};
  for (const Address& address : addresses) {
    facts.addresses.push_back(address.ip);
    if (links.is_own(address.ip)) {
      facts.on_this_machine = true;
      continue;
    }
    if (const auto bridge = links.container_network(address.ip); !bridge.empty())
      facts.container_network = bridge;
    const auto known = std::ranges::find(links.neighbours, address.ip, &net::Neighbour::ip);
    if (known != links.neighbours.end())
      facts.neighbours.push_back({.mac = known->mac, .is_router = known->is_router});
  }
  for (const api::ModelEntry& model : listing.models) {
    const auto modified = api::parse_timestamp(model.modified_at);
    if (!model.remote && modified) facts.store.push_back({model.digest, *modified});
  }
  if (listing.agent != nullptr) facts.agent = facts_of(*listing.agent);
  if (!net::is_ip(info.host)) facts.hostnames.push_back(info.host);
  return facts;
}

std::vector<locality::Contention> contention_of(const std::vector<NamedFinding>& findings) {
  std::vector<locality::Contention> known;
  for (const auto& [a, b, finding] : findings)
    known.push_back({a, b, finding.relation, finding.confidence});
  return known;
}

}  // namespace

std::vector<locality::NodeFacts> Control::facts() const {
  const net::Links links = net::read_links().value_or(net::Links{});
  std::vector<locality::NodeFacts> facts;
  for (const auto& [id, probe] : probes_)
    facts.push_back(facts_of(probe->info, probe->addresses, *probe->listing, links));
  return facts;
}

net::Task<Control::Locality> Control::locality(std::size_t tasks) {
  Locality found{.grouping = {}, .advice = {}, .measured = findings_now()};
  found.grouping = locality::group(facts(), contention_of(found.measured));
  found.advice = locality::advise(found.grouping, tasks);
  co_return found;
}

void Control::group_nodes_if_due() {
  const TimePoint now = scheduler_.now();
  if (now < grouped_at_ + group_pause_) return;
  if (!std::exchange(places_changed_, false) && now < grouped_at_ + group_interval_max) return;
  std::vector<locality::NodeFacts> seen = facts();
  std::vector<locality::Contention> measured = contention_of(findings_now());
  if (seen != grouped_facts_ || measured != grouped_contention_) {
    grouped_facts_ = std::move(seen);
    grouped_contention_ = std::move(measured);
    const locality::Grouping grouping = locality::group(grouped_facts_, grouped_contention_);
    std::map<NodeId, cluster::NodePlace> places;
    auto probe = probes_.begin();  // in the order of the facts
    for (const locality::Place& place : grouping.places) {
      const locality::Host& host = grouping.hosts[place.host];
      places[(probe++)->first] = {host.id, host.devices[place.device].id};
    }
    cluster_.set_places(places);
    publish();
  }
  grouped_at_ = scheduler_.now();
  group_pause_ = std::max(group_interval_min, group_rest_per_work * (grouped_at_ - now));
}

}  // namespace sollol::gateway

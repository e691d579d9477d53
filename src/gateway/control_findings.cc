// The part of the control thread that keeps what was measured of pairs of nodes.
#include "gateway/control.h"
#include "gateway/control_probe.h"

namespace sollol::gateway {

namespace {

constexpr Duration neighbours_interval = 1s;  // of looking whether the fleet has changed
constexpr Duration facts_stay = 60s;          // where it has not, facts are read anew after
constexpr Duration judge_interval = 1s;
constexpr std::size_t neighbours_max = 8192;  // pairs; beyond, traffic is not judged

}  // namespace

NodeSign Control::sign_of(const Probe& probe) const {
  NodeSign sign{.url = probe.info.url, .addresses = {}, .version = probe.listing->version};
  for (const Address& address : probe.addresses) sign.addresses.push_back(address.ip);
  return sign;
}

/// The findings about nodes that are there; those that are out of date are forgotten.
std::vector<NamedFinding> Control::findings_now() {
  std::map<std::string, const Probe*, std::less<>> by_url;
  for (const auto& [id, probe] : probes_) by_url[probe->info.url] = probe.get();
  const WallTime oldest = scheduler_.wall_now() - std::chrono::duration_cast<WallTime::duration>(
                                                      options_->locality.remember);
  findings_.drop_stale(oldest, [&](const std::string& url) -> std::optional<NodeSign> {
    const auto found = by_url.find(url);
    if (found == by_url.end()) return std::nullopt;
    return sign_of(*found->second);
  });
  std::vector<NamedFinding> named;
  for (const KeptFinding& finding : findings_.all()) {
    const auto a = by_url.find(finding.a.url), b = by_url.find(finding.b.url);
    if (a == by_url.end() || b == by_url.end()) continue;
    named.push_back({a->second->info.name, b->second->info.name, finding});
  }
  return named;
}

/// Takes up what was noted, and keeps what it shows. With every tick.
void Control::judge_traffic(TimePoint now) {
  if (now >= traffic_.next) {
    traffic_.next = now + neighbours_interval;
    watch_traffic(now);
  }
  if (traffic_.version == 0) return;
  // In this order: whatever is settled by now has been noted before.
  const auto snapshot = cluster_.snapshot();
  std::vector<NodeId> at_rest;
  for (const cluster::Node& node : snapshot->nodes) {
    if (!traffic_judge_.watches(node.id)) continue;
    const std::uint64_t settled = node.live->settled.load(std::memory_order_acquire);
    if (node.live->requests.load(std::memory_order_acquire) == settled) at_rest.push_back(node.id);
  }
  const auto [records, lost] = traffic_notes_.take();
  for (const locality::TrafficRecord& record : records) traffic_judge_.note(record);
  if (lost || measuring_now()) traffic_judge_.blind(now);
  for (const NodeId node : at_rest) traffic_judge_.settled(node, now);
  traffic_judge_.advance(now);
  if (now - traffic_.judged < judge_interval) return;
  traffic_.judged = now;
  for (const auto& [a, b, verdict] : traffic_judge_.news()) {
    const auto probe_a = probes_.find(a), probe_b = probes_.find(b);
    if (probe_a == probes_.end() || probe_b == probes_.end()) continue;
    findings_.note({.a = sign_of(*probe_a->second),
                    .b = sign_of(*probe_b->second),
                    .relation = verdict.relation,
                    .confidence = verdict.confidence,
                    .slowdown = verdict.slowdown,
                    .source = MeasuredBy::traffic,
                    .when = scheduler_.wall_now()});
  }
}

/// Finds out whose requests are worth noting: those of nodes that may share something, and of all
/// that are on one machine, whether or not it is known already what they share.
void Control::watch_traffic(TimePoint now) {
  const auto snapshot = cluster_.snapshot();
  const bool wanted = options_->locality.passive && snapshot->nodes.size() > 1;
  const bool fresh = snapshot->version == traffic_.version && now - traffic_.last < facts_stay;
  if (wanted && fresh) return;
  traffic_.last = now;
  traffic_.version = wanted ? snapshot->version : 0;
  std::vector<locality::TrafficJudge::Pair> pairs;
  if (wanted) {
    const locality::Grouping grouping = locality::group(facts(), {});
    const auto suspects = locality::suspects(grouping, {.pairs_max = neighbours_max + 1});
    std::map<std::string, NodeId, std::less<>> ids;
    for (const auto& [id, probe] : probes_) ids.emplace(probe->info.name, id);
    const auto add = [&](const std::string& a, const std::string& b) {
      pairs.emplace_back(ids.at(a), ids.at(b));
    };
    for (const auto& [a, b] : suspects) add(a, b);
    for (const locality::Host& host : grouping.hosts) {
      for (std::size_t i = 1; i < host.nodes.size() && pairs.size() <= neighbours_max; ++i) {
        for (std::size_t j = 0; j < i; ++j)
          add(grouping.names[host.nodes[j]], grouping.names[host.nodes[i]]);
      }
    }
    if (pairs.size() > neighbours_max) pairs.clear();  // some left out would disturb unseen
  }
  traffic_judge_.watch(pairs);
  for (const cluster::Node& node : snapshot->nodes)
    node.live->watched.store(traffic_judge_.watches(node.id), std::memory_order_relaxed);
}

}  // namespace sollol::gateway

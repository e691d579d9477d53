// The part of the control thread that keeps what was measured of pairs of nodes.
#include "gateway/control.h"
#include "gateway/control_probe.h"

namespace sollol::gateway {

NodeSign Control::sign_of(const Probe& probe) const {
  NodeSign sign{.url = probe.info.url, .addresses = {}, .version = probe.listing->version};
  for (const Address& address : probe.addresses) sign.addresses.push_back(address.ip);
  return sign;
}

/// The findings about nodes that are there; those that are out of date are forgotten.
std::vector<Control::NamedFinding> Control::findings_now() {
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

}  // namespace sollol::gateway

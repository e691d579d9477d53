// The part of the control thread that looks for nodes on the network.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>

#include "base/version.h"
#include "discovery/discover.h"
#include "discovery/node_file.h"
#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "gateway/nodes.h"
#include "net/address.h"
#include "net/network.h"

namespace sollol::gateway {

namespace asio = net::asio;
using cluster::Availability;
using discovery::DiscoveredNode;
using discovery::Found;
using discovery::NodeCollector;

namespace {

constexpr double jitter = 0.2;  // so that the gateways of a network do not look all at once

/// Whether one of the node's addresses is among these.
bool leads_to(const DiscoveredNode& node, const std::vector<Address>& addresses) {
  return std::ranges::any_of(addresses, [&](const Address& address) {
    return address == node.address || std::ranges::find(node.others, address) != node.others.end();
  });
}

}  // namespace

void Control::announce(std::optional<std::uint16_t> port) {
  asio::post(context_, [this, port] {
    served_port_ = port;
    join_mdns();
  });
}

/// Tells the links of this gateway, and hears who else is there, as far as either is wanted now.
void Control::join_mdns() {
  const auto join = [](bool wanted, std::unique_ptr<net::Mdns>& joined, net::MdnsOptions how) {
    if (wanted == (joined != nullptr)) return;
    joined = nullptr;
    if (!wanted) return;
    std::string why;
    how.told = [](const std::string& what) { spdlog::info("{}", what); };
    joined = net::Mdns::open(std::move(how), why);
    if (joined == nullptr) spdlog::debug("mDNS: {}", why);
  };
  const DiscoveryOptions& discovery = options_->discovery;
  join(discovery.enabled && discovery.scan.sources.has(discovery::Source::mdns), heard_,
       {.browse = true});
  join(discovery.announce && served_port_ && !net::is_loopback(options_->listen), announced_,
       {.announce = net::Announcement{.service = net::gateway_service,
                                      .port = served_port_.value_or(0),
                                      .name = "SOLLOL on " + net::own_host_name(),
                                      .texts = {fmt::format("version={}", version), "path=/"}}});
}

net::Task<void> Control::watch_network() {
  while (true) {
    if (options_->discovery.enabled) {
      auto looking = look_for_nodes();
      co_await std::move(looking);
    }
    const double unit = static_cast<double>(random_.bits() >> 11) / static_cast<double>(1ull << 53);
    const double spread = 1 + jitter * (2 * unit - 1);
    const Duration pause = from_seconds(to_seconds(options_->discovery.interval) * spread);
    auto pausing = scheduler_.sleep_until(scheduler_.now() + pause);
    co_await std::move(pausing);
  }
}

/// One look, and what follows from it for the nodes that are known.
net::Task<void> Control::look_for_nodes() {
  const auto options = options_;
  auto finding = find_nodes(options->discovery.scan);
  const Result<std::size_t> found = co_await std::move(finding);
  if (!found) {
    spdlog::warn("discovery: {}", found.error().detail);
    co_return;
  }
  use_known_nodes();
  forget_lost_nodes();
  if (options->discovery.save) save_found_nodes();
  publish();
}

/// What is new joins as it is found, unless it may be a node that has moved; what leads to a node
/// that is known is kept with it.
net::Task<Result<std::size_t>> Control::find_nodes(discovery::ScanOptions how) {
  const std::size_t before = probes_.size();
  look_began_ = scheduler_.now();
  if (heard_ != nullptr) {
    how.announced = [this] { return heard_ == nullptr ? net::Announced{} : heard_->heard(); };
  }
  strangers_.clear();
  auto looking = discovery::look(
      context_, scheduler_, connector_, std::move(how),
      [this](const DiscoveredNode& node, NodeCollector::Outcome) { take_found(node); });
  const Result<discovery::Discovery> found = co_await std::move(looking);
  if (!found) co_return std::unexpected(found.error());
  auto settling = settle_strangers();
  co_await std::move(settling);
  if (!std::exchange(looked_, true)) {
    for (const auto& skipped : found->skipped)
      spdlog::info("discovery: {} is not scanned: {}", skipped.network, skipped.reason);
    for (const Found& other : found->others) {
      if (other.what == Found::What::gateway)
        spdlog::debug("discovery: {} is a gateway", to_string(other.address));
    }
    for (const std::string& note : found->notes) spdlog::info("discovery: {}", note);
    spdlog::info("discovery: {} nodes in {:.2f} s, {} addresses tried", found->nodes.size(),
                 to_seconds(found->figures.took), found->figures.tried);
  }
  for (const DiscoveredNode& node : found->nodes) {
    for (const std::string& duplicate : node.same) spdlog::info("discovery: {}", duplicate);
  }
  publish();
  co_return probes_.size() - std::min(before, probes_.size());
}

/// A node that was found: a new one joins, a known one is seen.
void Control::take_found(const DiscoveredNode& found) {
  std::vector<Address> ways = found.others;
  ways.push_back(found.address);
  for (auto& [id, probe] : probes_) {
    cluster::NodeInfo& info = probe->info;
    const bool known = leads_to(found, probe->addresses) || leads_to(found, info.alternatives) ||
                       leads_to(found, {{info.host, info.port}});
    if (!known) continue;
    probe->seen_at = scheduler_.now();
    probe->mac = found.mac;
    leave_others(found, id);
    std::erase(ways, Address{info.host, info.port});
    if (info.alternatives == ways) return;
    info.alternatives = std::move(ways);
    probe->resolved_at = {};
    cluster_.update(id, info);
    return;
  }
  if (who_moved(found)) return wait_for_end_of_look(found);
  join(found);
}

/// A node of which nothing is known yet.
void Control::join(const DiscoveredNode& found) {
  auto spec = discovery::make_node({.host = found.address.ip, .port = found.address.port});
  if (!spec) return;
  cluster::NodeInfo info = to_node_info(*spec);
  info.origin = discovered_origin;
  for (const cluster::NodeInfo& written : options_->discovery.known) {
    if (!leads_to(found, {{written.host, written.port}})) continue;
    info.name = written.name;
    info.tier = written.tier;
    info.slots = written.slots;
    info.machine = written.machine;
    info.device = written.device;
    info.wake_mac = written.wake_mac;
  }
  info.alternatives = found.others;
  // The node that once was at this address may have moved and kept the name.
  const std::string name = info.name;
  const auto taken = [&](const auto& item) { return item.second->info.name == info.name; };
  for (unsigned number = 2; std::ranges::any_of(probes_, taken); ++number)
    info.name = fmt::format("{}-{}", name, number);
  const Result<NodeId> added = cluster_.add(std::move(info));
  if (!added) {
    spdlog::warn("discovery: {} left out: {}", to_string(found.address), added.error().detail);
    return;
  }
  recall(*added);
  start_probe(*added);
  probes_.at(*added)->seen_at = scheduler_.now();
  probes_.at(*added)->mac = found.mac;
  spdlog::info("discovery: found {} (Ollama {}, {} models{})", to_string(found.address),
               found.version, found.models.size(),
               found.on_this_machine ? ", on this machine" : "");
  publish();
}

/// Into the node file, what is not there yet. A file that cannot be written is told of once.
void Control::save_found_nodes() {
  const Result<std::size_t> saved =
      discovery::save_found(specs_of(discovered_origin), options_->node_file);
  if (!saved && !std::exchange(save_failed_, true))
    spdlog::warn("discovery: what was found is not saved: {}", saved.error().detail);
  if (saved) save_failed_ = false;
  if (saved && *saved > 0)
    spdlog::info("discovery: {} nodes saved in {}", *saved, options_->node_file);
}

/// The node file is what there is where nothing is found; a machine that sleeps is never found.
void Control::use_known_nodes() {
  const bool none = probes_.empty();
  for (const cluster::NodeInfo& info : options_->discovery.known) {
    if (!none && info.wake_mac.empty()) continue;
    const bool another_way = std::ranges::any_of(probes_, [&](const auto& item) {
      return std::ranges::find(item.second->info.alternatives, Address{info.host, info.port}) !=
             item.second->info.alternatives.end();
    });
    if (another_way) continue;
    const Result<NodeId> added = cluster_.add(info);
    if (!added) continue;
    spdlog::info("discovery: {}; {} is of the {}", none ? "none found" : "perhaps asleep", info.url,
                 info.origin);
    recall(*added);
    start_probe(*added);
  }
  publish();
}

/// Takes a node that is gone out of the node file, if a scan had put it there.
void Control::forget_saved(const cluster::NodeInfo& info) {
  auto file = discovery::NodeFile::load(options_->node_file);
  if (!file || !file->remove_found(to_node_spec(info))) return;
  const Result<void> saved = file->save();
  if (!saved) spdlog::warn("discovery: {}", saved.error().detail);
}

/// What was found once and has not answered for long.
void Control::forget_lost_nodes() {
  const TimePoint now = scheduler_.now();
  for (auto& [id, probe] : probes_) {
    if (probe->info.origin != discovered_origin || probe->leaving) continue;
    if (!probe->info.wake_mac.empty()) continue;  // it may sleep for long
    const cluster::NodeHealth* health = cluster_.health(id);
    if (health->availability(now) != Availability::down) probe->seen_at = now;
    if (now - probe->seen_at < options_->discovery.forget_after) continue;
    spdlog::info("node {}: not found for {:.0f} s; forgotten", probe->info.name,
                 to_seconds(now - probe->seen_at));
    probe->leaving = true;
    cluster_.set_admin(id, cluster::Admin::draining);
    if (options_->discovery.save) forget_saved(probe->info);
  }
}

}  // namespace sollol::gateway

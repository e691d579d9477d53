// The part of the control thread that wakes machines which sleep and are wanted.
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "net/wake.h"

namespace sollol::gateway {

namespace {

constexpr Duration look_interval = 100ms;

}  // namespace

net::Task<void> Control::watch_sleepers() {
  while (true) {
    bool any = false;
    for (const auto& [id, probe] : probes_) {
      any = any || !probe->info.wake_mac.empty();
      judge_sleeper(*probe);
    }
    if (any && wanted_asleep_) {
      for (const NodeId id : wanted_asleep_(options_->discovery.wake.time)) {
        const auto probe = probes_.find(id);
        if (probe != probes_.end()) wake(*probe->second);
      }
    }
    auto pause = scheduler_.sleep_until(scheduler_.now() + look_interval);
    co_await std::move(pause);
  }
}

/// Tells the workers whether the node is worth waiting for when it is down.
void Control::judge_sleeper(Probe& probe) {
  const TimePoint now = scheduler_.now();
  if (cluster_.health(probe.id)->availability(now) != cluster::Availability::down)
    probe.wake_calls.awake();
  const bool lost = probe.wake_calls.given_up(now, options_->discovery.wake);
  cluster_.set_wakeable(probe.id, !probe.info.wake_mac.empty() && !lost);
  if (std::exchange(probe.given_up, lost) == lost || !lost) return;
  spdlog::warn(
      "node {}: did not come in spite of magic packets to {}; nobody waits for it for a while. "
      "Does "
      "its card wake it (`ethtool` shows `Wake-on: g`)?",
      probe.info.name, probe.info.wake_mac);
  if (changed_) changed_();
}

void Control::wake(Probe& probe) {
  const TimePoint now = scheduler_.now();
  if (!probe.wake_calls.may_send(now, options_->discovery.wake)) return;
  probe.wake_calls.sent(now, options_->discovery.wake);
  const auto links = net::read_links();
  if (!links) return spdlog::warn("node {}: {}", probe.info.name, links.error().detail);
  const std::vector<std::string> targets = net::wake_targets(*links, probe.addresses);
  if (targets.empty()) {
    return spdlog::warn(
        "node {}: asleep and wanted, and on no network of this machine: a magic packet does not "
        "pass routers",
        probe.info.name);
  }
  const Result<void> sent = net::send_magic_packet(probe.info.wake_mac, targets);
  if (!sent) return spdlog::warn("node {}: {}", probe.info.name, sent.error().detail);
  cluster_.note_wake(probe.id);
  spdlog::info("node {}: asleep and wanted: magic packet to {} by {}", probe.info.name,
               probe.info.wake_mac, fmt::to_string(fmt::join(targets, ", ")));
}

}  // namespace sollol::gateway

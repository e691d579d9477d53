// The part of the control thread that asks the agents on the nodes' machines.
#include <spdlog/spdlog.h>

#include <algorithm>

#include "agent/client.h"
#include "gateway/agent_sight.h"
#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "net/address.h"
#include "net/network.h"

namespace sollol::gateway {

namespace {

constexpr Duration links_stay = 5s;         // our own addresses and bridges seldom change
constexpr Duration absent_pause_max = 30s;  // between questions to an agent that is not there
constexpr int intervals_to_stale = 3;       // without an answer, what was told no longer counts

}  // namespace

net::Task<void> Control::watch_agent(std::shared_ptr<Probe> probe) {
  Duration pause = options_->agents.interval;
  while (!probe->gone) {
    if (probe->addresses.empty()) {
      pause = options_->probe.interval;
    } else {
      auto asking = ask_agent(probe);
      const bool told = co_await std::move(asking);
      const Duration interval = options_->agents.interval;
      pause =
          told ? interval : std::clamp(2 * pause, interval, std::max(interval, absent_pause_max));
    }
    auto pausing = scheduler_.sleep_until(scheduler_.now() + pause);
    co_await std::move(pausing);
  }
}

/// Whether it told something of this node.
net::Task<bool> Control::ask_agent(std::shared_ptr<Probe> probe) {
  const auto options = options_;
  const std::string ip = probe->addresses.front().ip;
  const auto token = credentials_.agent_token();
  const auto at = agent_address({.ip = ip,
                                 .near = nearness_of(ip),
                                 .has_token = !token->empty(),
                                 .over_http = added_over_http(probe->info),
                                 .allowed = options->access.node_networks},
                                options->agents.port);
  const TimePoint now = scheduler_.now();
  const auto last = probe->listing->agent;
  const bool outdated =
      last != nullptr && (!at || last->ip != ip ||
                          now - last->told_at > intervals_to_stale * options->agents.interval);
  if (outdated) take_sight(*probe, nullptr);
  if (!at) co_return false;
  auto fetching =
      agent::fetch_report(connector_, scratch_,
                          {.at = *at, .token = *token, .deadline = now + options->agents.timeout});
  auto report = co_await std::move(fetching);
  if (probe->gone) co_return false;
  if (!report) {
    // An agent that is not there is the usual case; one that does not take the token is told once.
    const bool told = probe->agent_problem == report.error().detail;
    if (report.error().kind == ErrorKind::untrusted && !told)
      spdlog::warn("node {}: {}", probe->info.name, report.error().detail);
    probe->agent_problem = report.error().detail;
    co_return false;
  }
  probe->agent_problem.clear();
  auto sight =
      make_sight(ip, probe->info.port, *std::move(report), options->agents, scheduler_.now());
  const bool about_it = sight != nullptr;
  take_sight(*probe, std::move(sight));
  co_return about_it;
}

/// Null: there is no agent, or none any more.
void Control::take_sight(Probe& probe, std::shared_ptr<const AgentSight> sight) {
  const auto before = probe.listing->agent;
  if (before == nullptr && sight == nullptr) return;
  const bool paused = sight != nullptr && sight->paused;
  const bool was_paused = before != nullptr && before->paused;
  if (before == nullptr) {
    spdlog::info("node {}: the agent on {} tells of {} GPUs", probe.info.name,
                 sight->report.machine.hostname, sight->report.gpus.size());
  } else if (sight == nullptr) {
    spdlog::info("node {}: no agent tells of it any more", probe.info.name);
  }
  if (paused != was_paused)
    spdlog::info("node {}: {}", probe.info.name,
                 paused ? "paused: the machine's owner works there" : "no longer paused");
  if (before == nullptr || sight == nullptr || facts_of(*before) != facts_of(*sight))
    places_changed_ = true;
  cluster_.set_foreign(probe.id, {.paused = paused, .slowdown = sight ? sight->slowdown : 1});
  update_listing(probe, [&](NodeListing& listing) { listing.agent = std::move(sight); });
}

Nearness Control::nearness_of(std::string_view ip) {
  if (net::is_loopback(Address{std::string(ip), 0})) return Nearness::loopback;
  const TimePoint now = scheduler_.now();
  if (links_at_ == TimePoint{} || now - links_at_ > links_stay) {
    links_ = net::read_links().value_or(net::Links{});
    links_at_ = now;
  }
  const bool ours = links_.is_own(ip) || !links_.container_network(ip).empty();
  return ours ? Nearness::this_machine : Nearness::elsewhere;
}

}  // namespace sollol::gateway

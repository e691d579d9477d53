#include "gateway/agent_sight.h"

#include <algorithm>

#include "net/network.h"

namespace sollol::gateway {

namespace {

constexpr double share_max = 0.8;

bool is_of(const agent::LocalNode* node, const agent::Gpu& gpu) {
  if (node == nullptr || !node->gpus_known) return true;
  return std::ranges::find(node->gpus, gpu.uuid) != node->gpus.end();
}

bool is_used_by(const agent::LocalNode* node, const agent::Gpu& gpu) {
  return node != nullptr &&
         std::ranges::find(node->gpus_in_use, gpu.uuid) != node->gpus_in_use.end();
}

double foreign_share(const agent::Gpu& gpu) {
  const double utilisation = gpu.foreign_utilisation.value_or(0) / 100.0;
  const double memory = gpu.memory_total == 0
                            ? 0
                            : static_cast<double>(gpu.foreign_memory.value_or(0)) /
                                  static_cast<double>(gpu.memory_total);
  return std::max(utilisation, memory / 2);
}

/// Nothing where the node has no GPU.
std::optional<double> gpu_share(const agent::AgentReport& report, const agent::LocalNode* node) {
  std::optional<double> used, usable;
  for (const agent::Gpu& gpu : report.gpus) {
    const double share = foreign_share(gpu);
    if (is_used_by(node, gpu)) used = std::max(share, used.value_or(0));
    if (is_of(node, gpu)) usable = std::min(share, usable.value_or(1));
  }
  return used ? used : usable;
}

}  // namespace

std::optional<Address> agent_address(const AgentWay& way, std::uint16_t port) {
  if (port == 0) return std::nullopt;
  if (way.near == Nearness::loopback) return Address{std::string(way.ip), port};
  if (way.near == Nearness::this_machine) return Address{"127.0.0.1", port};
  if (!way.has_token || !net::is_private(way.ip)) return std::nullopt;
  if (way.over_http && !net::may_connect(way.ip, way.allowed)) return std::nullopt;
  return Address{std::string(way.ip), port};
}

std::shared_ptr<const AgentSight> make_sight(std::string ip, std::uint16_t port,
                                             agent::AgentReport report, const AgentOptions& rules,
                                             TimePoint now) {
  auto sight = std::make_shared<AgentSight>();
  sight->ip = std::move(ip);
  sight->told_at = now;
  sight->report = std::move(report);
  sight->node = agent::find_node(sight->report, port);
  const bool may_be_here = std::ranges::any_of(
      sight->report.nodes,
      [](const agent::LocalNode& node) { return node.own_network || node.port == 0; });
  if (sight->node == nullptr && !may_be_here) return nullptr;
  sight->paused = rules.pause_for_owner && owner_works(sight->report.owner, rules.owner_idle);
  sight->slowdown = foreign_slowdown(sight->report, sight->node);
  return sight;
}

locality::AgentFacts facts_of(const AgentSight& sight) {
  const agent::Machine& machine = sight.report.machine;
  locality::AgentFacts facts{
      .machine_id = machine.id, .boot_id = machine.boot_id, .hostname = machine.hostname};
  if (sight.node != nullptr) facts.gpu_uuids = agent::devices_of(*sight.node);
  return facts;
}

double foreign_slowdown(const agent::AgentReport& report, const agent::LocalNode* node) {
  const double processors = report.machine.cpu_foreign.value_or(0);
  const std::optional<double> gpu = gpu_share(report, node);
  const double share = gpu ? std::max(*gpu, processors / 4) : processors;
  return 1 / (1 - std::clamp(share, 0.0, share_max));
}

bool owner_works(const agent::Owner& owner, Duration owner_idle) {
  if (owner.idle_s) return std::chrono::seconds(*owner.idle_s) < owner_idle;
  return owner.in_use.value_or(false);
}

}  // namespace sollol::gateway

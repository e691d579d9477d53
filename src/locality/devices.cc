#include "locality/devices.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <tuple>

namespace sollol::locality {
namespace {

constexpr EvidenceKind operator_only[] = {EvidenceKind::operator_device};
constexpr EvidenceKind operator_and_agent[] = {EvidenceKind::operator_device,
                                               EvidenceKind::gpu_uuid};

/// What is known of two nodes of one machine.
enum class Pair : std::uint8_t { unknown, shared, independent };

struct View {
  Nodes nodes;
  const Measured& measured;
  const Rules& rules;
  std::vector<std::size_t> host{};                               // of each node
  std::vector<std::vector<std::string>> gpus{};                  // of each node, sorted
  std::map<std::pair<std::size_t, std::size_t>, Pair> groups{};  // by roots: what pairs across say
};

std::optional<Pair> measured_pair(const View& view, std::size_t a, std::size_t b) {
  const auto found = view.measured.find(std::minmax({a, b}));
  if (found == view.measured.end() || found->second.confidence < view.rules.proves) return {};
  return found->second.relation == Relation::same_device ? Pair::shared : Pair::independent;
}

/// What facts about just these two say; measured first.
Pair pair_of(const View& view, std::size_t a, std::size_t b) {
  if (const auto measured = measured_pair(view, a, b)) return *measured;
  const auto& device_a = view.nodes[a].operator_device;
  const auto& device_b = view.nodes[b].operator_device;
  if (!device_a.empty() && !device_b.empty())
    return device_a == device_b ? Pair::shared : Pair::independent;
  const auto& gpus_a = view.gpus[a];
  const auto& gpus_b = view.gpus[b];
  if (gpus_a.empty() || gpus_b.empty()) return Pair::unknown;
  const bool common = std::ranges::find_first_of(gpus_a, gpus_b) != gpus_a.end();
  return common ? Pair::shared : Pair::independent;
}

std::vector<Sign> operator_signs(const View& view) {
  return collect(
      EvidenceKind::operator_device, Scope::device, view.nodes,
      [&](std::size_t i) {
        const auto& device = view.nodes[i].operator_device;
        if (device.empty()) return std::vector<std::string>{};
        return std::vector{fmt::format("{} {}", view.host[i], device)};  // names are a host's own
      },
      [](const std::string& value) {
        return fmt::format("the configuration gives both the device {}",
                           value.substr(value.find(' ') + 1));
      });
}

std::vector<Sign> gpu_signs(const View& view) {
  return collect(
      EvidenceKind::gpu_uuid, Scope::device, view.nodes,
      [&](std::size_t i) {
        auto values = view.gpus[i];
        for (auto& value : values) value = fmt::format("{} {}", view.host[i], value);
        return values;
      },
      [](const std::string& value) {
        return fmt::format("their agents tell one GPU, {}", value.substr(value.find(' ') + 1));
      });
}

std::vector<Sign> measured_signs(const View& view) {
  std::vector<Sign> out;
  for (const auto& [pair, finding] : view.measured) {
    const auto [a, b] = pair;
    if (view.host[a] != view.host[b] || measured_pair(view, a, b) != Pair::shared) continue;
    out.push_back({.kind = EvidenceKind::contention,
                   .scope = Scope::device,
                   .nodes = {a, b},
                   .text = "measured: each slows when the other works, as on one device",
                   .confidence = finding.confidence});
  }
  return out;
}

/// Findings that tell devices apart are evidence too.
void note_independent(const View& view, std::vector<Evidence>& log) {
  for (const auto& [pair, finding] : view.measured) {
    const auto [a, b] = pair;
    if (view.host[a] != view.host[b] || measured_pair(view, a, b) != Pair::independent) continue;
    log.push_back({.kind = EvidenceKind::contention,
                   .scope = Scope::device,
                   .a = a,
                   .b = b,
                   .standing = Standing::separates,
                   .confidence = finding.confidence,
                   .text = "measured: neither slows as on one device when the other works"});
  }
}

std::string device_id(const View& view, const Device& device) {
  if (!device.known) return "unknown";
  std::set<std::string> named, gpus;
  for (const auto node : device.nodes) {
    if (!view.nodes[node].operator_device.empty()) named.insert(view.nodes[node].operator_device);
    gpus.insert(view.gpus[node].begin(), view.gpus[node].end());
  }
  if (!named.empty()) return *named.begin();
  if (!gpus.empty()) return fmt::format("{}", fmt::join(gpus, "+"));
  return "device of " + view.nodes[device.nodes.front()].name;
}

/// The devices of one host; nodes of which nothing is known are together, last.
std::vector<Device> devices_of(const View& view, const Host& host, const Joiner& joiner,
                               const std::set<std::size_t>& told) {
  std::map<std::size_t, Device> by_root;
  Device unknown;
  for (const auto node : host.nodes) by_root[joiner.root(node)].nodes.push_back(node);
  std::vector<Device> out;
  for (auto& [root, device] : by_root) {
    device.known =
        std::ranges::any_of(device.nodes, [&](auto node) { return told.contains(node); });
    if (device.known) {
      device.id = device_id(view, device);
      out.push_back(std::move(device));
    } else {
      unknown.nodes.insert(unknown.nodes.end(), device.nodes.begin(), device.nodes.end());
    }
  }
  if (!unknown.nodes.empty()) {
    std::ranges::sort(unknown.nodes);
    unknown.id = device_id(view, unknown);
    out.push_back(std::move(unknown));
  }
  return out;
}

/// Takes node after node that is known to be independent of all taken before: those that use the
/// fewest GPUs first, so that two on a GPU each go before one on both. Never more than is known;
/// fewer than the most possible only where pairs were measured in part.
std::vector<std::size_t> independent_of(const View& view, const Host& host, const Joiner& joiner,
                                        const std::set<std::size_t>& told) {
  auto order = host.nodes;
  std::ranges::sort(order, {}, [&](auto node) {
    return std::tuple(!told.contains(node), view.gpus[node].size(), node);
  });
  std::vector<std::size_t> taken;
  for (const auto node : order) {
    const auto independent = [&](auto other) {
      const auto pair = pair_of(view, node, other);
      if (pair != Pair::unknown) return pair == Pair::independent;
      const auto a = joiner.root(node), b = joiner.root(other);
      if (a == b) return false;
      const auto across = view.groups.find(std::minmax({a, b}));
      return across != view.groups.end() && across->second == Pair::independent;
    };
    if (std::ranges::all_of(taken, independent)) taken.push_back(node);
    if (!told.contains(node)) break;  // neither it nor those after it are independent of any other
  }
  std::ranges::sort(taken);
  return taken;
}

/// What is known of two devices: independent when some pair across is, and none is known to share.
void compare_groups(View& view, const std::vector<Host>& hosts, const Joiner& joiner,
                    const std::set<std::size_t>& told) {
  std::map<std::size_t, std::size_t> size;
  for (const auto node : told) ++size[joiner.root(node)];
  for (const auto& host : hosts) {
    for (const auto a : host.nodes) {
      if (!told.contains(a)) continue;
      for (const auto b : host.nodes) {
        if (b >= a || !told.contains(b) || joiner.root(a) == joiner.root(b)) continue;
        if (size[joiner.root(a)] + size[joiner.root(b)] == 2) continue;  // the pair says it all
        auto& known = view.groups[std::minmax({joiner.root(a), joiner.root(b)})];
        const auto pair = pair_of(view, a, b);
        if (pair == Pair::shared) known = Pair::shared;
        if (pair == Pair::independent && known == Pair::unknown) known = Pair::independent;
      }
    }
  }
}

/// The nodes of whose device anything is known.
std::set<std::size_t> told_nodes(const View& view) {
  std::set<std::size_t> told;
  for (std::size_t i = 0; i < view.nodes.size(); ++i) {
    if (!view.nodes[i].operator_device.empty() || !view.gpus[i].empty()) told.insert(i);
  }
  for (const auto& [pair, finding] : view.measured) {
    const auto [a, b] = pair;
    if (view.host[a] == view.host[b] && measured_pair(view, a, b)) told.insert({a, b});
  }
  return told;
}

}  // namespace

void find_devices(std::vector<Host>& hosts, Nodes nodes, const Measured& measured,
                  const Rules& rules, std::vector<Evidence>& log) {
  View view{.nodes = nodes, .measured = measured, .rules = rules};
  view.host.resize(nodes.size());
  for (std::size_t i = 0; i < hosts.size(); ++i) {
    for (const auto node : hosts[i].nodes) view.host[node] = i;
  }
  for (const auto& node : nodes) view.gpus.push_back(gpus_of(node));

  std::vector<Labels> labels;
  for (const auto kind : operator_and_agent) {
    labels.push_back(labels_of(kind, Scope::device, nodes));
  }
  Joiner joiner(nodes.size(), std::move(labels), log);
  joiner.join(operator_signs(view), {});
  joiner.join(gpu_signs(view), operator_only);
  joiner.join(measured_signs(view), operator_and_agent);
  note_independent(view, log);

  const auto told = told_nodes(view);
  compare_groups(view, hosts, joiner, told);
  for (auto& host : hosts) {
    host.devices = devices_of(view, host, joiner, told);
    host.independent = independent_of(view, host, joiner, told);
  }
}

}  // namespace sollol::locality

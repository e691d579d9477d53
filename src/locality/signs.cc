#include "locality/signs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>

namespace sollol::locality {
namespace {

using Values = std::vector<std::string>;

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return out;
}

Values one_or_none(std::string value) {
  return value.empty() ? Values{} : Values{std::move(value)};
}

/// Ids are compared without case; those of only zeros and dashes are placeholders.
Values id_values(std::string_view id) {
  auto text = lower(id);
  if (text.find_first_not_of("0-") == std::string::npos || text == "uninitialized") return {};
  return {std::move(text)};
}

/// Addresses that name one machine wherever it is asked from here. Loopback is this_machine's;
/// link-local ones without their interface are told apart by nobody.
Values address_values(const NodeFacts& node) {
  Values out;
  for (const auto& literal : node.addresses) {
    auto text = lower(literal);
    if (text.starts_with("::ffff:") && text.contains('.')) text.erase(0, 7);
    const bool loopback = text.starts_with("127.") || text == "::1";
    const bool nowhere = text.empty() || text == "::" || text == "0.0.0.0";
    const bool unscoped = text.starts_with("fe80:") && !text.contains('%');
    if (!loopback && !nowhere && !unscoped) out.push_back(std::move(text));
  }
  return out;
}

/// MACs of one interface: no router's, not all zero, no group address, and none that several
/// routers share (VRRP and HSRP).
Values mac_values(const NodeFacts& node) {
  Values out;
  for (const auto& neighbour : node.neighbours) {
    auto mac = lower(neighbour.mac);
    std::ranges::replace(mac, '-', ':');
    if (neighbour.is_router || mac.size() != 17) continue;
    if (mac.find_first_not_of("0:") == std::string::npos) continue;
    const bool group = std::string_view("13579bdf").contains(mac[1]);
    const bool virtual_router =
        mac.starts_with("00:00:5e:00:0") || mac.starts_with("00:00:0c:07:ac");
    if (!group && !virtual_router) out.push_back(std::move(mac));
  }
  return out;
}

/// The store as one text. Times without a fraction of a second are those of images and archives,
/// which many machines unpack alike, or of file systems that keep no more.
Values store_values(const NodeFacts& node) {
  constexpr std::int64_t second = 1'000'000'000;
  auto entries = node.store;
  std::erase_if(entries, [](const auto& entry) { return entry.modified_ns % second == 0; });
  std::ranges::sort(entries);
  std::string text;
  for (const auto& entry : entries) text += fmt::format("{}@{};", entry.digest, entry.modified_ns);
  return one_or_none(std::move(text));
}

Values name_values(const NodeFacts& node) {
  auto names = node.hostnames;
  if (node.agent) names.push_back(node.agent->hostname);
  Values out;
  for (const auto& each : names) {
    auto text = lower(each);
    if (text.ends_with('.')) text.pop_back();
    if (!text.empty() && text != "localhost") out.push_back(std::move(text));
  }
  return out;
}

Values agent_values(const NodeFacts& node, std::string AgentFacts::* member) {
  return node.agent ? id_values((*node.agent).*member) : Values{};
}

Values values_of(EvidenceKind kind, const NodeFacts& node) {
  switch (kind) {
    case EvidenceKind::operator_host:
      return one_or_none(node.operator_host);
    case EvidenceKind::operator_device:
      return one_or_none(node.operator_device);
    case EvidenceKind::machine_id:
      return agent_values(node, &AgentFacts::machine_id);
    case EvidenceKind::boot_id:
      return agent_values(node, &AgentFacts::boot_id);
    case EvidenceKind::gpu_uuid:
      return gpus_of(node);
    case EvidenceKind::address:
      return address_values(node);
    case EvidenceKind::this_machine:
      return one_or_none(node.on_this_machine ? "this machine" : "");
    case EvidenceKind::mac:
      return mac_values(node);
    case EvidenceKind::container_network:
      // A container of this machine is on this machine, whatever its bridge.
      return one_or_none(node.on_this_machine || !node.container_network.empty() ? "this machine"
                                                                                 : "");
    case EvidenceKind::model_store:
      return store_values(node);
    case EvidenceKind::hostname:
      return name_values(node);
    case EvidenceKind::contention:
      break;
  }
  return {};
}

std::string text_of(EvidenceKind kind, const std::string& value) {
  switch (kind) {
    case EvidenceKind::operator_host:
      return fmt::format("the configuration puts both on host {}", value);
    case EvidenceKind::machine_id:
      return fmt::format("their agents tell one machine id, {:.8}", value);
    case EvidenceKind::boot_id:
      return fmt::format("their agents tell one running kernel, boot {:.8}", value);
    case EvidenceKind::gpu_uuid:
      return fmt::format("their agents tell one GPU, {}", value);
    case EvidenceKind::address:
      return fmt::format("both are at {}", value);
    case EvidenceKind::this_machine:
      return "both are at addresses of this machine";
    case EvidenceKind::mac:
      return fmt::format("both answer from the network interface {}", value);
    case EvidenceKind::container_network:
      return "both are on this machine, in containers of its bridges or outside";
    case EvidenceKind::model_store:
      return "their model stores are equal to the nanosecond: one store, which machines may share";
    case EvidenceKind::hostname:
      return fmt::format("both go by the name {}, which proves nothing", value);
    default:
      return {};
  }
}

std::string_view difference_of(EvidenceKind kind) {
  switch (kind) {
    case EvidenceKind::operator_host:
      return "the configuration puts them on hosts";
    case EvidenceKind::operator_device:
      return "the configuration gives them devices";
    case EvidenceKind::machine_id:
      return "their agents tell the machine ids";
    case EvidenceKind::boot_id:
      return "their agents tell two running kernels, boots";
    default:
      return "their agents tell the GPUs";
  }
}

}  // namespace

std::vector<std::string> gpus_of(const NodeFacts& node) {
  Values out;
  if (!node.agent) return out;
  for (const auto& uuid : node.agent->gpu_uuids) {
    if (!id_values(uuid).empty()) out.push_back(uuid);
  }
  std::ranges::sort(out);
  return out;
}

std::vector<Sign> collect(EvidenceKind kind, Scope scope, Nodes nodes,
                          const std::function<Values(std::size_t)>& values,
                          const std::function<std::string(const std::string&)>& text) {
  std::map<std::string, std::vector<std::size_t>> by_value;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const auto& value : values(i)) {
      auto& carriers = by_value[value];
      if (carriers.empty() || carriers.back() != i) carriers.push_back(i);
    }
  }
  std::vector<Sign> out;
  for (auto& [value, carriers] : by_value) {
    if (carriers.size() < 2) continue;
    out.push_back(
        {.kind = kind, .scope = scope, .nodes = std::move(carriers), .text = text(value)});
  }
  return out;
}

std::vector<Sign> signs_of(EvidenceKind kind, Nodes nodes) {
  return collect(
      kind, Scope::host, nodes, [&](std::size_t i) { return values_of(kind, nodes[i]); },
      [&](const std::string& value) { return text_of(kind, value); });
}

Labels labels_of(EvidenceKind kind, Scope scope, Nodes nodes) {
  Labels labels{.kind = kind, .scope = scope, .what = difference_of(kind)};
  for (const auto& node : nodes) {
    const auto values = values_of(kind, node);
    labels.of.emplace_back(values.begin(), values.end());
  }
  return labels;
}

Measured measured_pairs(Nodes nodes, std::span<const Contention> contention) {
  std::map<std::string_view, std::size_t> index;
  for (std::size_t i = 0; i < nodes.size(); ++i) index.emplace(nodes[i].name, i);
  Measured out;
  for (const auto& finding : contention) {
    const auto a = index.find(finding.a), b = index.find(finding.b);
    if (a == index.end() || b == index.end() || a->second == b->second) continue;
    if (finding.relation == Relation::unknown) continue;
    const auto [seen, fresh] = out.emplace(std::minmax({a->second, b->second}), finding);
    const auto weight = [](const Contention& c) { return std::pair(c.confidence, c.relation); };
    if (!fresh && weight(seen->second) < weight(finding)) seen->second = finding;
  }
  return out;
}

}  // namespace sollol::locality

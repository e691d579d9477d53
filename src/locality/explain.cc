#include "locality/explain.h"

#include <fmt/format.h>

#include <iterator>

namespace sollol::locality {
namespace {

std::string names(const Grouping& grouping, const std::vector<std::size_t>& nodes) {
  std::string out;
  for (const auto node : nodes) {
    if (!out.empty()) out += ", ";
    out += grouping.names[node];
  }
  return out;
}

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

}  // namespace

std::string explain(const Grouping& grouping, const Advice& advice) {
  std::string out;
  const auto to = std::back_inserter(out);
  fmt::format_to(to, "{}, {}\n", counted(grouping.hosts.size(), "machine"),
                 counted(grouping.names.size(), "node"));
  for (const auto& host : grouping.hosts) {
    fmt::format_to(to, "\n{}: {}", host.id, counted(host.nodes.size(), "node"));
    if (host.independent.size() > 1)
      fmt::format_to(to, ", {} of them independent", host.independent.size());
    out += '\n';
    for (const auto& device : host.devices) {
      fmt::format_to(to, "  device {}: {}\n", device.id, names(grouping, device.nodes));
    }
  }
  if (!grouping.evidence.empty()) out += "\nevidence\n";
  for (const auto& each : grouping.evidence) {
    fmt::format_to(to, "  {}\n", explain(grouping, each));
  }
  fmt::format_to(to, "\n{}: {}\n", advice.parallel ? "parallel" : "sequential", advice.reason);
  return out;
}

std::string explain(const Grouping& grouping, const Evidence& evidence) {
  auto out = fmt::format("{}, {}: {} ({}", grouping.names[evidence.a], grouping.names[evidence.b],
                         evidence.text, name(evidence.kind));
  if (evidence.scope == Scope::device) out += " of a device";
  if (evidence.confidence < 1) out += fmt::format(", confidence {:.3f}", evidence.confidence);
  fmt::format_to(std::back_inserter(out), ", {}", name(evidence.standing));
  if (evidence.overruled_by) {
    const auto& by = grouping.evidence[*evidence.overruled_by];
    fmt::format_to(std::back_inserter(out), " by {} of {}, {}", name(by.kind), grouping.names[by.a],
                   grouping.names[by.b]);
  }
  return out + ")";
}

}  // namespace sollol::locality

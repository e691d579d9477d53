#include "locality/advice.h"

#include <fmt/format.h>

#include <algorithm>

namespace sollol::locality {
namespace {

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string why_sequential(const Grouping& grouping) {
  const auto nodes = grouping.names.size();
  const auto hosts = grouping.hosts.size();
  if (nodes == 1) return "there is one node";
  if (hosts > 1) {
    return fmt::format(
        "the {} nodes are on {} by other evidence, but were measured to slow each other as on one "
        "device",
        nodes, counted(hosts, "machine"));
  }
  const auto& host = grouping.hosts.front();
  const bool all_known = std::ranges::all_of(host.devices, &Device::known);
  return fmt::format("all {} nodes are on one machine ({}) {}", nodes, host.id,
                     all_known && host.devices.size() == 1
                         ? "and share one device"
                         : "and nothing tells that they have a device each");
}

std::string why_parallel(const Grouping& grouping, std::size_t tasks, std::size_t width) {
  const auto hosts = grouping.hosts.size();
  const auto apart = grouping.independent.size();
  std::string where = counted(hosts, "machine");
  if (hosts == 1) {
    where = fmt::format("one machine with {} independent devices", apart);
  } else if (apart > hosts) {
    where += fmt::format(" with {} independent devices", apart);
  } else if (apart < hosts) {
    where += fmt::format(", of which {} are independent as measured", apart);
  }
  return fmt::format("{} over {}: {} at once", counted(tasks, "task"), where, width);
}

}  // namespace

std::size_t count_unique_physical_hosts(const Grouping& grouping) noexcept {
  return grouping.hosts.size();
}

Advice advise(const Grouping& grouping, std::size_t tasks) {
  const auto apart = grouping.independent.size();
  if (apart == 0) return {.width = 0, .reason = "there is no node"};
  if (tasks < 2) {
    return {.width = 1, .reason = tasks == 0 ? "there is no task" : "there is one task"};
  }
  if (apart < 2) return {.width = 1, .reason = why_sequential(grouping)};
  const auto width = std::min(tasks, apart);
  return {.parallel = true, .width = width, .reason = why_parallel(grouping, tasks, width)};
}

bool should_use_parallel_execution(const Grouping& grouping, std::size_t tasks) {
  return advise(grouping, tasks).parallel;
}

}  // namespace sollol::locality

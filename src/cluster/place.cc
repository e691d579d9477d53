#include "cluster/place.h"

#include <algorithm>
#include <mutex>

namespace sollol::cluster {

namespace {

/// A request more or less, at the node and all that share something with it. Returns how many there
/// were at the node.
std::uint32_t count(const Node& node, int by, TimePoint now, Entered::Areas& areas) noexcept {
  const auto at = [&](std::atomic<std::uint32_t>& in_flight, SharedOccupancy& occupancy,
                      double& area_s) {
    const std::uint32_t before =
        in_flight.fetch_add(static_cast<std::uint32_t>(by), std::memory_order_relaxed);
    area_s = occupancy.change(before, now);
    return before;
  };
  const auto at_group = [&](SharedLoad* group, double part_s, double& area_s) {
    area_s = part_s;
    if (group != nullptr) at(group->in_flight, group->occupancy, area_s);
  };
  const std::uint32_t before = at(node.live->in_flight, node.live->occupancy, areas.node_s);
  at_group(node.device_load.get(), areas.node_s, areas.device_s);
  at_group(node.machine_load.get(), areas.device_s, areas.machine_s);
  return before;
}

Company company_now(const Node& node, std::uint32_t streams) noexcept {
  const std::uint32_t at_node = node.live->in_flight.load(std::memory_order_relaxed);
  const Beside groups = beside(node, at_node);
  return {.streams = static_cast<double>(streams),
          .others = at_node > streams ? at_node - streams : 0.0,
          .device = static_cast<double>(groups.device),
          .machine = static_cast<double>(groups.machine)};
}

}  // namespace

std::optional<Entered> enter(const Node& node, ReplicaLive* replica, std::uint32_t limit,
                             const Stay& stay, TimePoint now) {
  Entered entered{.at = now,
                  .end = now + from_seconds(stay.seconds * (1 - part_left * stay.doubt)),
                  .doubt = stay.doubt};
  entered.trial = node.live->availability.load(std::memory_order_relaxed) == Availability::trial;
  if (entered.trial && !node.live->trial_free.exchange(false)) return std::nullopt;
  std::uint32_t in_flight = 0;
  if (replica != nullptr) {
    in_flight = replica->in_flight.load(std::memory_order_relaxed);
    do {
      if (in_flight >= limit) {
        if (entered.trial) node.live->trial_free = true;
        return std::nullopt;
      }
    } while (!replica->in_flight.compare_exchange_weak(in_flight, in_flight + 1,
                                                       std::memory_order_relaxed));
    if (in_flight == 0) node.live->models_busy.fetch_add(1, std::memory_order_relaxed);
  }
  entered.in_flight = in_flight + 1;
  if (replica != nullptr) {
    entered.turn = replica->turns.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::scoped_lock lock(replica->learning);
    entered.areas.replica_s = replica->occupancy.change(1, now);
    replica->departures.add(entered.end, entered.doubt);
    replica->prefill_setback.sent(now);
    replica->decode_setback.sent(now);
  }
  entered.alone = count(node, 1, now, entered.areas) == 0;
  entered.requests = node.live->requests.fetch_add(1, std::memory_order_relaxed) + 1;
  entered.company = company_now(node, replica == nullptr ? 1 : entered.in_flight);
  return entered;
}

Company leave(const Node& node, ReplicaLive* replica, const Entered& entered,
              TimePoint now) noexcept {
  Entered::Areas areas{};
  count(node, -1, now, areas);
  if (replica != nullptr) {
    if (replica->in_flight.fetch_sub(1, std::memory_order_relaxed) == 1)
      node.live->models_busy.fetch_sub(1, std::memory_order_relaxed);
    const std::scoped_lock lock(replica->learning);
    areas.replica_s = replica->occupancy.change(-1, now);
    replica->departures.remove(entered.end, entered.doubt);
  }
  const double time_s = to_seconds(now - entered.at);
  if (time_s <= 0) return entered.company;
  const auto mean = [&](double Entered::Areas::* area, double part) {
    return std::max((areas.*area - entered.areas.*area) / time_s - part, 0.0);
  };
  Company company{.streams = std::max(mean(&Entered::Areas::replica_s, 0), 1.0)};
  company.others = mean(&Entered::Areas::node_s, company.streams);
  company.device = mean(&Entered::Areas::device_s, company.streams + company.others);
  company.machine =
      mean(&Entered::Areas::machine_s, company.streams + company.others + company.device);
  return company;
}

}  // namespace sollol::cluster

#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <optional>

#include "cluster/snapshot.h"

namespace sollol::cluster {

/// What a request found when it took a place at a node.
struct Entered {
  std::uint32_t in_flight = 0;  // of its model there, itself included
  std::uint64_t requests = 0;   // that the node has had, itself included
  bool alone = false;           // nothing else of ours was there
  bool trial = false;           // it is the one request that finds out
  std::uint64_t turn = 0;       // of its model there
  double area_s = 0;            // of its model's occupancy
  TimePoint at{};
};

/// Takes a place at a node, unless another has just taken the last below `limit`, or the trial. Any
/// thread.
inline std::optional<Entered> enter(const Node& node, ReplicaLive* replica, std::uint32_t limit,
                                    TimePoint now) {
  Entered entered{.at = now};
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
  }
  entered.in_flight = in_flight + 1;
  if (replica != nullptr) {
    entered.turn = replica->turns.fetch_add(1, std::memory_order_relaxed) + 1;
    const std::scoped_lock lock(replica->learning);
    replica->occupancy.change(1, now);
    entered.area_s = replica->occupancy.area_s(now);
  }
  entered.alone = node.live->in_flight.fetch_add(1, std::memory_order_relaxed) == 0;
  entered.requests = node.live->requests.fetch_add(1, std::memory_order_relaxed) + 1;
  for (SharedLoad* shared : {node.device_load.get(), node.machine_load.get()}) {
    if (shared != nullptr) shared->in_flight.fetch_add(1, std::memory_order_relaxed);
  }
  return entered;
}

/// Gives back what `enter` took. How many requests of its model were there on average meanwhile,
/// itself included.
inline double leave(const Node& node, ReplicaLive* replica, const Entered& entered,
                    TimePoint now) noexcept {
  node.live->in_flight.fetch_sub(1, std::memory_order_relaxed);
  for (SharedLoad* shared : {node.device_load.get(), node.machine_load.get()}) {
    if (shared != nullptr) shared->in_flight.fetch_sub(1, std::memory_order_relaxed);
  }
  if (replica == nullptr) return 1;
  replica->in_flight.fetch_sub(1, std::memory_order_relaxed);
  const std::scoped_lock lock(replica->learning);
  const double area_s = replica->occupancy.area_s(now) - entered.area_s;
  const double time_s = to_seconds(now - entered.at);
  replica->occupancy.change(-1, now);
  return time_s > 0 ? std::max(area_s / time_s, 1.0) : entered.in_flight;
}

}  // namespace sollol::cluster

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
  std::uint32_t others = 0;     // requests of other models there
  bool trial = false;           // it is the one request that finds out
  std::uint64_t turn = 0;       // of its model there
  double area_s = 0;            // of its model's occupancy
  TimePoint at{};
  TimePoint end{};  // half of what is in doubt before it is expected
  float doubt = 1;
};

/// What ran beside a request, on average between its dispatch and its end.
struct Company {
  double streams = 1;  // of its model there, itself included
  double others = 0;   // of other models: the mean of its dispatch and its end
};

/// Requests of other models at the node. The counters move one after the other.
inline std::uint32_t others_at(const Node& node, const ReplicaLive* replica) noexcept {
  const std::uint32_t all = node.live->in_flight.load(std::memory_order_relaxed);
  const std::uint32_t own =
      replica == nullptr ? 0 : replica->in_flight.load(std::memory_order_relaxed);
  return all > own ? all - own : 0;
}

/// Takes a place at a node, unless another has just taken the last below `limit`, or the trial. Any
/// thread.
inline std::optional<Entered> enter(const Node& node, ReplicaLive* replica, std::uint32_t limit,
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
    replica->occupancy.change(1, now);
    entered.area_s = replica->occupancy.area_s(now);
    replica->departures.add(entered.end, entered.doubt);
    replica->prefill_setback.sent(now);
    replica->decode_setback.sent(now);
  }
  entered.alone = node.live->in_flight.fetch_add(1, std::memory_order_relaxed) == 0;
  entered.requests = node.live->requests.fetch_add(1, std::memory_order_relaxed) + 1;
  for (SharedLoad* shared : {node.device_load.get(), node.machine_load.get()}) {
    if (shared != nullptr) shared->in_flight.fetch_add(1, std::memory_order_relaxed);
  }
  entered.others = others_at(node, replica);
  return entered;
}

/// Gives back what `enter` took.
inline Company leave(const Node& node, ReplicaLive* replica, const Entered& entered,
                     TimePoint now) noexcept {
  const double others = (entered.others + others_at(node, replica)) / 2.0;
  node.live->in_flight.fetch_sub(1, std::memory_order_relaxed);
  for (SharedLoad* shared : {node.device_load.get(), node.machine_load.get()}) {
    if (shared != nullptr) shared->in_flight.fetch_sub(1, std::memory_order_relaxed);
  }
  if (replica == nullptr) return {.others = others};
  if (replica->in_flight.fetch_sub(1, std::memory_order_relaxed) == 1)
    node.live->models_busy.fetch_sub(1, std::memory_order_relaxed);
  const std::scoped_lock lock(replica->learning);
  const double area_s = replica->occupancy.area_s(now) - entered.area_s;
  const double time_s = to_seconds(now - entered.at);
  replica->occupancy.change(-1, now);
  replica->departures.remove(entered.end, entered.doubt);
  return {.streams = time_s > 0 ? std::max(area_s / time_s, 1.0) : entered.in_flight,
          .others = others};
}

}  // namespace sollol::cluster

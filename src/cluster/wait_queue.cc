#include "cluster/wait_queue.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>

namespace sollol::cluster {
namespace {

Error full(std::string what) {
  return {ErrorKind::overloaded, Origin::gateway, Retry::later, std::move(what)};
}

}  // namespace

Result<Ticket> WaitQueue::enqueue(const Waiting& waiting) {
  if (items_.size() >= limits_.waiting_max) {
    return std::unexpected(full("the queue is full: " + std::to_string(items_.size()) +
                                " requests wait (queue.max_waiting)"));
  }
  std::uint32_t& of_client = per_client_[waiting.client];
  if (of_client >= limits_.waiting_per_client_max) {
    return std::unexpected(full("this client has " + std::to_string(of_client) +
                                " requests waiting already (queue.max_waiting_per_client)"));
  }
  ++of_client;
  Lane& lane = lanes_[waiting.model];
  ++lane.waiting;
  auto& turns = lane.classes[std::to_underlying(waiting.urgency)].turns;
  auto turn = std::ranges::find(turns, waiting.client, &Turn::client);
  if (turn == turns.end()) turn = turns.insert(turns.end(), Turn{waiting.client, {}});
  const Ticket ticket{next_ticket_++};
  const auto place = turn->tickets.insert(turn->tickets.end(), ticket);
  items_.emplace(ticket, Item{waiting, turn, place});
  return ticket;
}

bool WaitQueue::cancel(Ticket ticket) {
  const auto it = items_.find(ticket);
  if (it == items_.end()) return false;
  remove(it, false);
  return true;
}

void WaitQueue::take(Ticket ticket) {
  const auto it = items_.find(ticket);
  Lane& lane = lanes_.at(it->second.waiting.model);
  const std::size_t served = std::to_underlying(it->second.waiting.urgency);
  lane.overtaken[served] = 0;
  for (std::size_t lower = served + 1; lower < urgency_count; ++lower) {
    lane.overtaken[lower] += lane.classes[lower].turns.empty() ? 0 : 1;
  }
  remove(it, true);
}

void WaitQueue::remove(std::unordered_map<Ticket, Item>::iterator it, bool served) {
  const Item item = it->second;
  items_.erase(it);
  const auto lane = lanes_.find(item.waiting.model);
  auto& turns = lane->second.classes[std::to_underlying(item.waiting.urgency)].turns;
  item.turn->tickets.erase(item.place);
  if (item.turn->tickets.empty()) {
    turns.erase(item.turn);
    if (turns.empty()) lane->second.overtaken[std::to_underlying(item.waiting.urgency)] = 0;
  } else if (served) {
    turns.splice(turns.end(), turns, item.turn);
  }
  if (--per_client_[item.waiting.client] == 0) per_client_.erase(item.waiting.client);
  if (--lane->second.waiting == 0) lanes_.erase(lane);
}

/// The classes of a lane in the order in which they are served now: the most urgent first, unless
/// lower ones are overdue: then the most urgent of those.
std::array<std::size_t, urgency_count> WaitQueue::class_order(const Lane& lane) {
  std::array<std::size_t, urgency_count> order{0, 1, 2};
  for (std::size_t lower = 1; lower < urgency_count; ++lower) {
    if (lane.overtaken[lower] < overtaken_max) continue;
    std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(lower),
                order.begin() + static_cast<std::ptrdiff_t>(lower) + 1);
    break;
  }
  return order;
}

void WaitQueue::for_each_in_order(ModelId model, std::size_t most,
                                  const std::function<bool(Ticket)>& visitor) const {
  const auto lane = lanes_.find(model);
  if (lane == lanes_.end()) return;
  std::size_t visited = 0;
  for (const std::size_t index : class_order(lane->second)) {
    // Rounds over the clients: the first of each, then the second of each …
    const auto& turns = lane->second.classes[index].turns;
    std::vector<std::pair<std::list<Ticket>::const_iterator, std::list<Ticket>::const_iterator>>
        cursors;
    for (const Turn& turn : turns) cursors.emplace_back(turn.tickets.begin(), turn.tickets.end());
    for (bool more = true; more;) {
      more = false;
      for (auto& [next, end] : cursors) {
        if (next == end) continue;
        if (visited++ == most || !visitor(*next++)) return;
        more = true;
      }
    }
  }
}

void WaitQueue::serve(ModelId model, const std::function<bool(Ticket)>& settle) {
  for (std::optional<Ticket> settled; true; settled.reset()) {
    for_each_in_order(model, looked_at_max, [&](Ticket ticket) {
      if (settle(ticket)) settled = ticket;
      return !settled;
    });
    if (!settled) return;
    take(*settled);
  }
}

std::size_t WaitQueue::waiting(ModelId model) const {
  const auto lane = lanes_.find(model);
  return lane == lanes_.end() ? 0 : lane->second.waiting;
}

std::vector<ModelId> WaitQueue::models_waiting() const {
  std::vector<ModelId> models;
  for (const auto& [model, lane] : lanes_) models.push_back(model);
  return models;
}

}  // namespace sollol::cluster

#include "world/machines.h"

#include <map>
#include <string>

namespace sollol::world {

Machines::Machines(const Fleet& fleet, Events& events) : events_(events) {
  std::map<std::string, Running*> devices, hosts;
  std::map<std::string, std::vector<std::uint32_t>*> groups;
  const auto counter = [this](auto& counters, const std::string& key) -> Running& {
    auto& found = counters[key];
    if (found == nullptr) found = running_.emplace_back(std::make_unique<Running>()).get();
    return *found;
  };
  places_.resize(fleet.nodes.size());
  for (std::uint32_t i = 0; i < fleet.nodes.size(); ++i) {
    const NodeSpec& spec = fleet.nodes[i];
    const std::string host = spec.host.empty() ? "host of " + std::to_string(i) : spec.host;
    const std::string device =
        host + "/" + (spec.device.empty() ? "device of " + std::to_string(i) : spec.device);
    auto& group = groups[host];
    if (group == nullptr)
      group = groups_.emplace_back(std::make_unique<std::vector<std::uint32_t>>()).get();
    group->push_back(i);
    places_[i].group = group;
    places_[i].node = std::make_unique<TrueNode>(spec, fleet.models, counter(devices, device),
                                                 counter(hosts, host));
  }
}

void Machines::settle(TimePoint now, const Place& place) {
  for (const std::uint32_t node : *place.group) places_[node].node->settle(now);
}

/// What is due happens, and each node whose pace may have changed has its next waking noted.
void Machines::follow(TimePoint now, Place& place) {
  place.node->advance(now, happened_);
  for (const std::uint32_t index : *place.group) {
    Place& changed = places_[index];
    const TimePoint next = changed.node->next_wake(now).value_or(TimePoint::max());
    if (next == changed.wakes_at) continue;
    changed.wakes_at = next;
    ++changed.version;
    if (next != TimePoint::max()) events_.add(next, Event::Kind::node, index, changed.version);
  }
}

void Machines::admit(TimePoint now, std::uint32_t node, const Job& job) {
  Place& place = places_[node];
  settle(now, place);
  place.node->admit(now, job);
  follow(now, place);
}

void Machines::wake(TimePoint now, std::uint32_t node, std::uint64_t version) {
  Place& place = places_[node];
  if (version != place.version) return;
  place.wakes_at = TimePoint::max();
  settle(now, place);
  follow(now, place);
}

void Machines::cancel(TimePoint now, std::uint32_t node, JobId job) {
  Place& place = places_[node];
  settle(now, place);
  place.node->cancel(now, job);
  follow(now, place);
}

void Machines::slow_down(TimePoint now, std::uint32_t node, double times) {
  Place& place = places_[node];
  settle(now, place);
  place.node->slow_down(times);
  follow(now, place);
}

std::vector<TrueNode::Lost> Machines::crash(TimePoint now, std::uint32_t node) {
  Place& place = places_[node];
  settle(now, place);
  place.down = true;
  auto lost = place.node->crash();
  follow(now, place);
  return lost;
}

}  // namespace sollol::world

#include "locality/traffic.h"

#include <algorithm>
#include <cmath>

namespace sollol::locality {
namespace {

TrafficJudge::Pair ordered(NodeId a, NodeId b) { return a < b ? std::pair{a, b} : std::pair{b, a}; }

Duration overlap(TimePoint from_a, TimePoint to_a, TimePoint from_b, TimePoint to_b) {
  return std::max(Duration{}, std::min(to_a, to_b) - std::max(from_a, from_b));
}

}  // namespace

void TrafficJudge::watch(const std::vector<Pair>& neighbours) {
  std::map<NodeId, std::vector<NodeId>> wanted;
  for (const auto& [a, b] : neighbours) {
    if (a == b) continue;
    wanted[a].push_back(b);
    wanted[b].push_back(a);
  }
  std::erase_if(nodes_, [&](const auto& entry) { return !wanted.contains(entry.first); });
  std::erase_if(changed_, [&](const auto& entry) {
    return !wanted.contains(entry.first.first) || !wanted.contains(entry.first.second);
  });
  for (auto& [id, others] : wanted) {
    std::ranges::sort(others);
    const auto [first, last] = std::ranges::unique(others);
    others.erase(first, last);
    Node& node = nodes_[id];
    // What a new neighbour did so far is not known: what waits for judgement cannot have it.
    if (node.neighbours != others) node.pending.clear();
    node.neighbours = std::move(others);
  }
}

void TrafficJudge::note(const TrafficRecord& record) {
  const auto found = nodes_.find(record.node);
  if (found == nodes_.end()) return;
  Node& node = found->second;
  while (node.records.size() >= std::max<std::size_t>(rules_.records_max, 1)) {
    node.blind_until = std::max(node.blind_until, node.records.front().ended);
    node.records.pop_front();
  }
  node.records.push_back(record);
  const bool counts = record.solo && std::isfinite(record.tokens_per_s) &&
                      record.tokens_per_s > 0 && record.decode_began < record.ended;
  if (!counts) return;
  if (node.pending.size() >= rules_.records_max) node.pending.pop_front();
  node.pending.push_back(record);
}

void TrafficJudge::settled(NodeId node, TimePoint at) {
  const auto found = nodes_.find(node);
  if (found != nodes_.end()) found->second.settled = std::max(found->second.settled, at);
}

void TrafficJudge::advance(TimePoint now) {
  for (auto& [id, node] : nodes_) {
    std::deque<TrafficRecord> waiting;
    for (const TrafficRecord& record : node.pending) {
      const Found found = judge_record(node, record);
      if (found.outcome == Outcome::wait && now - record.ended < rules_.pending_max) {
        waiting.push_back(record);
      } else if (found.outcome == Outcome::alone || found.outcome == Outcome::beside) {
        keep(node, record, found);
      }
    }
    node.pending = std::move(waiting);
  }
}

TrafficJudge::Found TrafficJudge::judge_record(const Node& node,
                                               const TrafficRecord& record) const {
  const TimePoint from = record.decode_began, to = record.ended;
  Found found{.outcome = Outcome::alone};
  bool clear = true;  // of every neighbour it is known what it did
  for (const NodeId id : node.neighbours) {
    const Node& other = nodes_.at(id);
    if (other.blind_until > from) return {.outcome = Outcome::drop};
    Duration covered{};
    bool worked = false, single = true;
    for (const TrafficRecord& each : other.records) {
      if (overlap(each.began, each.ended, from, to) <= Duration{}) continue;
      worked = true;
      single = single && each.solo;
      if (each.solo && each.tokens_per_s > 0)
        covered += overlap(each.decode_began, each.ended, from, to);
    }
    const bool known = other.settled >= to;
    if (worked && !single) return {.outcome = Outcome::drop};
    if (worked &&
        covered >= std::chrono::duration_cast<Duration>((to - from) * rules_.beside_min)) {
      if (found.outcome == Outcome::beside) return {.outcome = Outcome::drop};  // two of them
      found = {.outcome = Outcome::beside, .other = id};
    } else if (known && worked) {
      return {.outcome = Outcome::drop};  // too little to be beside, too much to be alone
    } else if (!known) {
      clear = false;
    }
  }
  if (!clear) found.outcome = Outcome::wait;
  return found;
}

void TrafficJudge::keep(Node& node, const TrafficRecord& record, const Found& found) {
  if (!node.kinds.contains(record.kind) && node.kinds.size() >= rules_.kinds_max) {
    node.kinds.erase(std::ranges::min_element(node.kinds, {},
                                              [](const auto& entry) { return entry.second.used; }));
  }
  Kind& kind = node.kinds[record.kind];
  kind.used = record.ended;
  if (found.outcome == Outcome::beside) {
    keep(kind.beside[found.other], record);
    changed_[ordered(record.node, found.other)] = true;
    return;
  }
  keep(kind.alone, record);
  for (const auto& [other, rates] : kind.beside) changed_[ordered(record.node, other)] = true;
}

void TrafficJudge::keep(Rates& rates, const TrafficRecord& record) const {
  std::erase_if(rates, [&](const Rate& each) { return record.ended - each.when > rules_.keep; });
  while (rates.size() >= std::max<std::size_t>(rules_.contention.samples_max, 1)) rates.pop_front();
  rates.push_back({record.ended, record.tokens_per_s});
}

/// Of the kind of which most is known: rates alone, and beside the other, that are near each other.
std::pair<std::vector<double>, std::vector<double>> TrafficJudge::rates_of(NodeId node,
                                                                           NodeId other) const {
  std::pair<std::vector<double>, std::vector<double>> best;
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return best;
  const auto close = [&](const Rates& rates, const Rates& to) {
    std::vector<double> out;
    for (const Rate& each : rates) {
      const bool near = std::ranges::any_of(to, [&](const Rate& one) {
        return std::chrono::abs(one.when - each.when) <= rules_.near;
      });
      if (near) out.push_back(each.tokens_per_s);
    }
    return out;
  };
  for (const auto& [id, kind] : found->second.kinds) {
    const auto beside = kind.beside.find(other);
    if (beside == kind.beside.end()) continue;
    std::pair rates{close(kind.alone, beside->second), close(beside->second, kind.alone)};
    const auto few = [](const auto& both) {
      return std::min(both.first.size(), both.second.size());
    };
    if (few(rates) > few(best)) best = std::move(rates);
  }
  return best;
}

Verdict TrafficJudge::verdict(NodeId a, NodeId b) const {
  const auto rates_a = rates_of(a, b), rates_b = rates_of(b, a);
  const auto least = rules_.contention.samples_min;
  const bool enough = std::min({rates_a.first.size(), rates_a.second.size(), rates_b.first.size(),
                                rates_b.second.size()}) >= least;
  if (!enough) return judge({}, {}, rules_.contention);
  return judge({rates_a.first, rates_a.second}, {rates_b.first, rates_b.second}, rules_.contention);
}

std::vector<TrafficVerdict> TrafficJudge::news() {
  std::vector<TrafficVerdict> out;
  for (const auto& [pair, changed] : std::exchange(changed_, {})) {
    Verdict found = verdict(pair.first, pair.second);
    if (found.relation != Relation::unknown) out.push_back({pair.first, pair.second, found});
  }
  return out;
}

void TrafficJudge::forget(NodeId node) {
  const auto found = nodes_.find(node);
  if (found == nodes_.end()) return;
  found->second.kinds.clear();
  found->second.pending.clear();
  for (auto& [id, other] : nodes_) {
    for (auto& [kind, rates] : other.kinds) rates.beside.erase(node);
  }
}

void TrafficJudge::blind(TimePoint until) {
  for (auto& [id, node] : nodes_) node.blind_until = std::max(node.blind_until, until);
}

}  // namespace sollol::locality

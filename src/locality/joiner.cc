#include "locality/joiner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <numeric>
#include <tuple>

namespace sollol::locality {
namespace {

bool disjoint(const std::set<std::string>& a, const std::set<std::string>& b) {
  return std::ranges::none_of(a, [&](const auto& label) { return b.contains(label); });
}

/// The parts of a graph whose edges are sets of vertices: for each set the number of its part.
std::vector<std::size_t> parts(const std::vector<std::set<std::size_t>>& edges) {
  std::vector<std::size_t> part(edges.size());
  std::iota(part.begin(), part.end(), 0);
  const auto find = [&](std::size_t i) {
    while (part[i] != i) i = part[i] = part[part[i]];
    return i;
  };
  std::map<std::size_t, std::size_t> first_with;  // vertex -> edge
  for (std::size_t i = 0; i < edges.size(); ++i) {
    for (const auto vertex : edges[i]) {
      const auto [seen, fresh] = first_with.emplace(vertex, i);
      if (!fresh) part[find(i)] = find(seen->second);
    }
  }
  for (std::size_t i = 0; i < part.size(); ++i) part[i] = find(i);
  return part;
}

}  // namespace

Joiner::Joiner(std::size_t nodes, std::vector<Labels> labels, std::vector<Evidence>& log)
    : parent_(nodes), members_(nodes), labels_(std::move(labels)), log_(log) {
  std::iota(parent_.begin(), parent_.end(), 0);
  for (std::size_t i = 0; i < nodes; ++i) members_[i] = {i};
  for (const auto& each : labels_) own_labels_.push_back(each.of);
}

void Joiner::join(std::span<const Sign> signs, std::span<const EvidenceKind> apart) {
  std::vector<std::set<std::size_t>> roots;
  std::vector<std::optional<Conflict>> conflicts;
  for (const auto& sign : signs) {
    roots.push_back(roots_of(sign));
    conflicts.push_back(conflict(roots.back(), apart));
  }
  // Signs that are sound one by one may lead from one machine to another together.
  auto sound = roots;
  for (std::size_t i = 0; i < signs.size(); ++i) {
    if (conflicts[i]) sound[i].clear();
  }
  const auto part = parts(sound);
  std::map<std::size_t, std::set<std::size_t>> whole;
  for (std::size_t i = 0; i < signs.size(); ++i) {
    if (!conflicts[i]) whole[part[i]].insert(sound[i].begin(), sound[i].end());
  }
  std::map<std::size_t, std::optional<Conflict>> chains;
  for (const auto& [id, vertices] : whole) chains[id] = conflict(vertices, apart);
  for (std::size_t i = 0; i < signs.size(); ++i) {
    if (!conflicts[i]) conflicts[i] = chains.at(part[i]);
    note(signs[i], conflicts[i]);  // before any is joined, so that their order does not matter
  }
  for (std::size_t i = 0; i < signs.size(); ++i) {
    if (conflicts[i]) continue;
    for (const auto node : signs[i].nodes) unite(signs[i].nodes.front(), node);
  }
}

std::size_t Joiner::root(std::size_t node) const { return parent_[node]; }

std::optional<Joiner::Conflict> Joiner::conflict(const std::set<std::size_t>& roots,
                                                 std::span<const EvidenceKind> apart) const {
  if (roots.size() < 2) return std::nullopt;
  for (const auto& labels : labels_) {
    if (std::ranges::find(apart, labels.kind) == apart.end()) continue;
    if (const auto found = conflict_of(labels, roots)) return found;
  }
  return std::nullopt;
}

std::optional<Joiner::Conflict> Joiner::conflict_of(const Labels& labels,
                                                    const std::set<std::size_t>& roots) const {
  // One group for each set of labels: many nodes, few machines.
  std::map<std::set<std::string>, std::size_t> different;
  for (const auto root : roots) {
    if (!labels.of[root].empty()) different.emplace(labels.of[root], root);
  }
  const auto index = static_cast<std::size_t>(&labels - labels_.data());
  const auto labelled = [&](std::size_t root) {  // the least node that has a label of its own
    auto least = parent_.size();
    for (const auto node : members_[root]) {
      if (node < least && !own_labels_[index][node].empty()) least = node;
    }
    return least;
  };
  for (auto a = different.begin(); a != different.end(); ++a) {
    for (auto b = std::next(a); b != different.end(); ++b) {
      if (!disjoint(a->first, b->first)) continue;
      const auto [low, high] = std::minmax({labelled(a->second), labelled(b->second)});
      return Conflict{&labels, low, high};
    }
  }
  return std::nullopt;
}

std::set<std::size_t> Joiner::roots_of(const Sign& sign) const {
  std::set<std::size_t> out;
  for (const auto node : sign.nodes) out.insert(root(node));
  return out;
}

void Joiner::note(const Sign& sign, const std::optional<Conflict>& conflict) {
  std::optional<std::size_t> by;
  if (conflict) by = note_apart(*conflict);
  const auto first = sign.nodes.front();
  for (const auto node : sign.nodes) {
    if (node == first) continue;
    const bool together = root(node) == root(first);
    const auto standing = together ? Standing::agrees : by ? Standing::overruled : Standing::joins;
    log_.push_back({.kind = sign.kind,
                    .scope = sign.scope,
                    .a = first,
                    .b = node,
                    .standing = standing,
                    .confidence = sign.confidence,
                    .text = sign.text,
                    .overruled_by = together ? std::nullopt : by});
  }
}

std::size_t Joiner::note_apart(const Conflict& conflict) {
  const auto key = std::tuple(conflict.labels->kind, conflict.a, conflict.b);
  const auto [seen, fresh] = apart_.emplace(key, log_.size());
  if (!fresh) return seen->second;
  const auto& own = own_labels_[static_cast<std::size_t>(conflict.labels - labels_.data())];
  log_.push_back(
      {.kind = conflict.labels->kind,
       .scope = conflict.labels->scope,
       .a = conflict.a,
       .b = conflict.b,
       .standing = Standing::separates,
       .text = fmt::format("{} {} and {}", conflict.labels->what, fmt::join(own[conflict.a], "+"),
                           fmt::join(own[conflict.b], "+"))});
  return seen->second;
}

void Joiner::unite(std::size_t a, std::size_t b) {
  const auto [low, high] = std::minmax({root(a), root(b)});  // by value
  if (low == high) return;
  for (const auto node : members_[high]) parent_[node] = low;
  members_[low].insert(members_[low].end(), members_[high].begin(), members_[high].end());
  members_[high].clear();
  for (auto& labels : labels_) labels.of[low].merge(labels.of[high]);
}

}  // namespace sollol::locality

#include "locality/contention_plan.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace sollol::locality {
namespace {

constexpr std::size_t fresh_min = 3;  // rates alone that came with a pair's

Pair ordered(const std::string& a, const std::string& b) { return a < b ? Pair{a, b} : Pair{b, a}; }

/// Which nodes were found to be together.
class Classes {
 public:
  void unite(const std::string& a, const std::string& b) { parent_[root(a)] = root(b); }
  std::string root(const std::string& node) {
    auto at = node;
    for (auto up = parent_.find(at); up != parent_.end() && up->second != at;
         up = parent_.find(at)) {
      at = up->second;
    }
    return at;
  }

 private:
  std::map<std::string, std::string> parent_;
};

/// What is decided, seen through what was found so far: what holds for one node of a device holds
/// for all of it, and what two nodes of two machines do not share, none of these machines do.
struct Decided {
  Classes devices{}, hosts{};
  std::map<Pair, Relation> between_devices{};  // classes that a decided pair leads across
  std::set<Pair> between_hosts{};              // the same, where it is independent

  Relation of(const Pair& pair) {
    const auto& [a, b] = pair;
    if (devices.root(a) == devices.root(b)) return Relation::same_device;
    const auto across = between_devices.find(ordered(devices.root(a), devices.root(b)));
    if (across != between_devices.end()) return across->second;
    const bool apart = between_hosts.contains(ordered(hosts.root(a), hosts.root(b)));
    return apart ? Relation::independent : Relation::unknown;
  }
};

/// Whether more of this pair is worth measuring.
bool open(const Verdict& verdict) {
  return verdict.relation == Relation::unknown && verdict.more_samples > 0;
}

Decided decided(std::span<const Pair> pairs, const Measurements& measurements) {
  Decided out;
  std::vector<std::pair<const Pair*, Relation>> apart;
  for (const auto& pair : pairs) {
    const auto& [a, b] = pair;
    const auto relation = measurements.verdict(pair).relation;
    if (relation == Relation::unknown) continue;
    if (relation == Relation::same_device) out.devices.unite(a, b);
    if (relation != Relation::independent) out.hosts.unite(a, b);
    if (relation != Relation::same_device) apart.emplace_back(&pair, relation);
  }
  for (const auto& [pair, relation] : apart) {
    const auto& [a, b] = *pair;
    out.between_devices[ordered(out.devices.root(a), out.devices.root(b))] = relation;
    const auto host_a = out.hosts.root(a), host_b = out.hosts.root(b);
    if (relation == Relation::independent && host_a != host_b)
      out.between_hosts.insert(ordered(host_a, host_b));
  }
  return out;
}

/// The nodes that show one sign of that kind, for each such sign that only hints. Evidence tells a
/// sign between its first node and each other.
std::vector<std::vector<std::size_t>> hinted(const Grouping& grouping, EvidenceKind kind) {
  std::map<std::pair<std::size_t, std::string_view>, std::vector<std::size_t>> signs;
  for (const auto& each : grouping.evidence) {
    if (each.kind != kind || each.standing != Standing::hint) continue;
    auto& sharers = signs[{each.a, each.text}];
    if (sharers.empty()) sharers.push_back(each.a);
    sharers.push_back(each.b);
  }
  std::vector<std::vector<std::size_t>> out;
  out.reserve(signs.size());
  for (auto& [sign, sharers] : signs) out.push_back(std::move(sharers));
  return out;
}

Probe probe_of(const Pair& pair, const Measurements& measurements) {
  const auto& [a, b] = pair;
  const auto beside = std::min(measurements.beside(a, b).size(), measurements.beside(b, a).size());
  const auto least = measurements.rules().samples_min;
  for (const auto& node : {a, b}) {  // as many alone as beside there will be then
    const bool enough = beside < least ? measurements.alone(node).size() > beside
                                       : measurements.fresh(node, pair) + least > beside;
    if (!enough) return {.kind = Probe::Kind::alone, .a = node};
  }
  return {.kind = Probe::Kind::beside, .a = a, .b = b};
}

}  // namespace

void Measurements::note_alone(const std::string& node, double tokens_per_s) {
  keep(alone_[node], tokens_per_s);
}

void Measurements::note_beside(const std::string& node, const std::string& other,
                               double tokens_per_s) {
  keep(beside_[{node, other}], tokens_per_s);
}

void Measurements::forget(const std::string& node) {
  alone_.erase(node);
  std::erase_if(beside_, [&](const auto& entry) {
    return entry.first.first == node || entry.first.second == node;
  });
}

void Measurements::keep(Samples& samples, double rate) {
  if (!std::isfinite(rate) || rate <= 0) return;
  if (samples.rates.size() >= std::max<std::size_t>(rules_.samples_max, 1)) {
    samples.rates.erase(samples.rates.begin());
    samples.when.erase(samples.when.begin());
  }
  samples.rates.push_back(rate);
  samples.when.push_back(++noted_);
}

std::span<const double> Measurements::alone(const std::string& node) const {
  const auto found = alone_.find(node);
  return found == alone_.end() ? std::span<const double>{} : found->second.rates;
}

std::span<const double> Measurements::beside(const std::string& node,
                                             const std::string& other) const {
  const auto found = beside_.find({node, other});
  return found == beside_.end() ? std::span<const double>{} : found->second.rates;
}

std::size_t Measurements::fresh(const std::string& node, const Pair& pair) const {
  const auto alone = alone_.find(node);
  const auto& other = node == pair.first ? pair.second : pair.first;
  const auto beside = beside_.find({node, other});
  if (alone == alone_.end() || beside == beside_.end() || beside->second.when.empty()) return 0;
  const auto& when = alone->second.when;
  return static_cast<std::size_t>(when.end() -
                                  std::ranges::upper_bound(when, beside->second.when.front()));
}

Verdict Measurements::verdict(const Pair& pair) const {
  const auto rates = [&](const std::string& node, const std::string& other) {
    const auto all = alone(node);
    const auto new_ones = fresh(node, pair);
    const auto wanted = new_ones < fresh_min ? all.size() : new_ones + rules_.samples_min;
    return NodeRates{all.last(std::min(all.size(), wanted)), beside(node, other)};
  };
  Verdict out = judge(rates(pair.first, pair.second), rates(pair.second, pair.first), rules_);
  // One side alone might be foreign work there.
  const auto least =
      std::min(beside(pair.first, pair.second).size(), beside(pair.second, pair.first).size());
  if (out.relation != Relation::unknown && least < rules_.samples_min) {
    out.relation = Relation::unknown;
    out.more_samples = rules_.samples_min - least;
  }
  // What lies near the bound may be drift: rates alone from before the pair's do not decide it.
  const bool near = out.relation == Relation::same_host && out.slowdown < rules_.drift_slowdown;
  const auto least_fresh = std::min(fresh(pair.first, pair), fresh(pair.second, pair));
  if (near && least_fresh < fresh_min) {
    out.relation = Relation::unknown;
    out.more_samples = 1;
  }
  return out;
}

std::uint32_t Measurements::tokens_for(const std::string& node, Duration work) const {
  constexpr std::uint32_t tokens_default = 32, tokens_min = 8, tokens_max = 4096;
  const auto rates = alone(node);
  if (rates.empty()) return tokens_default;
  std::vector<double> sorted(rates.begin(), rates.end());
  std::ranges::sort(sorted);
  const double tokens = sorted[sorted.size() / 2] * to_seconds(work);
  return static_cast<std::uint32_t>(std::clamp(tokens, double{tokens_min}, double{tokens_max}));
}

std::vector<Pair> suspects(const Grouping& grouping, const ProbeBudget& budget) {
  std::vector<Pair> out;
  std::set<Pair> seen;
  const auto add = [&](std::size_t a, std::size_t b) {
    if (out.size() >= budget.pairs_max) return;
    const auto pair = ordered(grouping.names[a], grouping.names[b]);
    if (seen.insert(pair).second) out.push_back(pair);
  };
  for (const auto& host : grouping.hosts) {
    std::vector<std::pair<std::size_t, bool>> nodes;  // one of each known device, and all others
    for (const auto& device : host.devices) {
      for (const auto node : device.nodes) {
        nodes.emplace_back(node, device.known);
        if (device.known) break;
      }
    }
    for (std::size_t i = 1; i < nodes.size() && out.size() < budget.pairs_max; ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        if (!nodes[i].second || !nodes[j].second) add(nodes[j].first, nodes[i].first);
      }
    }
  }
  for (const auto kind : {EvidenceKind::model_store, EvidenceKind::hostname}) {
    for (const auto& sharers : hinted(grouping, kind)) {
      for (std::size_t i = 1; i < sharers.size() && out.size() < budget.pairs_max; ++i) {
        for (std::size_t j = 0; j < i; ++j) {
          if (grouping.places[sharers[i]].host != grouping.places[sharers[j]].host)
            add(sharers[j], sharers[i]);
        }
      }
    }
  }
  for (const auto& each : grouping.evidence) {
    if (each.standing == Standing::overruled) add(each.a, each.b);
  }
  return out;
}

std::optional<Probe> next_probe(std::span<const Pair> suspects, const Measurements& measurements,
                                std::size_t spent, const ProbeBudget& budget) {
  auto done = decided(suspects, measurements);
  for (const auto& pair : suspects) {
    if (done.of(pair) != Relation::unknown || !open(measurements.verdict(pair))) continue;
    auto probe = probe_of(pair, measurements);
    if (spent + probe.requests() > budget.requests_max) return std::nullopt;
    return probe;
  }
  return std::nullopt;
}

Relation implied(std::span<const Pair> pairs, const Measurements& measurements, const Pair& pair) {
  return decided(pairs, measurements).of(pair);
}

std::vector<Contention> findings(std::span<const Pair> pairs, const Measurements& measurements) {
  std::vector<Contention> out;
  for (const auto& pair : pairs) {
    const auto verdict = measurements.verdict(pair);
    if (verdict.relation == Relation::unknown) continue;
    out.push_back({pair.first, pair.second, verdict.relation, verdict.confidence});
  }
  return out;
}

}  // namespace sollol::locality

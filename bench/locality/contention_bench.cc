// Are nodes that share a device, a machine or nothing told apart, and by how many requests? See
// README.md.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <numbers>
#include <set>
#include <string>
#include <vector>

#include "base/random.h"
#include "locality/advice.h"
#include "locality/contention_plan.h"
#include "locality/grouping.h"
#include "sim/node_model.h"

namespace sollol::locality {
namespace {

struct Chance {
  SeededRandom random;

  double uniform(double low, double high) {
    return low + (high - low) * static_cast<double>(random.bits() >> 11) * 0x1p-53;
  }
  std::size_t whole(std::size_t low, std::size_t high) {
    return low + random.bits() % (high - low + 1);
  }
  /// Box and Muller 1958.
  double normal() {
    return std::sqrt(-2 * std::log(1 - uniform(0, 1))) *
           std::cos(2 * std::numbers::pi * uniform(0, 1));
  }
};

/// How a fleet's rates differ from the simulator's exact ones.
struct Disturbance {
  double noise;          // standard deviation of the logarithm of a rate
  double outliers;       // share of samples that a foreign load slows ...
  double outlier_least;  // ... at least so many times
  double drift;          // of all rates, up and down over some forty requests
};

struct SimNode {
  std::string name;
  std::size_t host, device;  // device within the host
  sim::NodeSpec spec;
  std::unique_ptr<sim::NodeModel> model;
  sim::ManifestPtr manifest;
};

/// A generated fleet, and its rates as requests would show them: those of the simulator's own model
/// of what slows what, in virtual time, then disturbed.
class SimFleet {
 public:
  SimFleet(std::uint64_t seed, Disturbance disturbance)
      : chance_{SeededRandom(seed)}, disturbance_(disturbance) {
    const double device_slowdown = chance_.uniform(0.7, 1.3);
    const double host_slowdown = chance_.uniform(0.1, 0.2);
    const auto hosts = chance_.whole(1, 3);
    for (std::size_t host = 0; host < hosts; ++host) {
      const auto devices = chance_.whole(1, 2);
      for (std::size_t device = 0; device < devices; ++device) {
        for (auto nodes = chance_.whole(1, 2); nodes > 0; --nodes) {
          add(host, device, device_slowdown, host_slowdown);
        }
      }
    }
    for (std::size_t i = nodes_.size(); i > 1; --i)  // names tell nothing
      std::swap(nodes_[i - 1].name, nodes_[chance_.whole(0, i - 1)].name);
  }

  const std::vector<SimNode>& nodes() const { return nodes_; }
  const SimNode& find(const std::string& name) const {
    return *std::ranges::find(nodes_, name, &SimNode::name);
  }

  /// One short request at each of these nodes, at the same time: their decode rates.
  std::vector<double> run(const std::vector<std::string>& names) {
    constexpr std::uint32_t tokens = 32;
    std::vector<std::pair<SimNode*, sim::JobId>> jobs;
    for (const auto& name : names) {
      auto& node = *std::ranges::find(nodes_, name, &SimNode::name);
      const auto job = node.model->admit(now_, {.model = node.manifest, .prompt_tokens = 1});
      jobs.emplace_back(&node, *job);
    }
    for (const auto& [node, job] : jobs) {  // cold at first
      while (node->model->job(job).phase != sim::Phase::running) {
        now_ = std::max(now_, node->model->next_wake().value_or(now_));
        node->model->advance(now_);
      }
    }
    std::vector<double> rates;
    for (const auto& [node, job] : jobs) {
      rates.push_back(disturbed(1 / to_seconds(node->model->decode_step(job))));
    }
    for (const auto& [node, job] : jobs) {
      now_ += tokens * node->model->decode_step(job);
      node->model->finish(now_, job);
    }
    return rates;
  }

 private:
  void add(std::size_t host, std::size_t device, double device_slowdown, double host_slowdown) {
    const auto rate = std::exp(chance_.uniform(std::log(4), std::log(200)));
    const auto name = fmt::format("n{}", nodes_.size());
    sim::NodeSpec spec{.name = name,
                       .keep_alive = std::chrono::hours{-1},
                       .device_slowdown = device_slowdown,
                       .host_slowdown = host_slowdown};
    auto model = sim::complete({.name = "llama3.2", .decode_tokens_per_s = rate});
    auto manifest = std::make_shared<const sim::Manifest>(sim::Manifest{
        .name = "llama3.2:latest", .spec = std::move(model), .modified_at = {}, .from = {}});
    auto node = std::make_unique<sim::NodeModel>(spec, devices_[{host, device}], hosts_[host]);
    nodes_.push_back({name, host, device, std::move(spec), std::move(node), std::move(manifest)});
  }

  double disturbed(double rate) {
    ++requests_;
    const double drift = disturbance_.drift * std::sin(static_cast<double>(requests_) / 6.4);
    rate *= std::exp(disturbance_.noise * chance_.normal() + drift);
    if (chance_.uniform(0, 1) < disturbance_.outliers) {
      rate /= chance_.uniform(disturbance_.outlier_least, 3);
    }
    return rate;
  }

  Chance chance_;
  Disturbance disturbance_;
  std::map<std::pair<std::size_t, std::size_t>, sim::SharedLoad> devices_;
  std::map<std::size_t, sim::SharedLoad> hosts_;
  std::vector<SimNode> nodes_;
  TimePoint now_{};
  std::uint64_t requests_ = 0;
};

Relation truth(const SimNode& a, const SimNode& b) {
  if (a.host != b.host) return Relation::independent;
  return a.device == b.device ? Relation::same_device : Relation::same_host;
}

/// Only names that prove nothing tie the nodes: all that is found out is measured.
std::vector<NodeFacts> facts_of(const SimFleet& fleet) {
  std::vector<NodeFacts> out;
  for (const auto& node : fleet.nodes()) {
    out.push_back({.name = node.name,
                   .port = 11434,
                   .addresses = {"10.0.0." + node.name.substr(1)},
                   .hostnames = {"ollama"}});
  }
  return out;
}

struct Tally {
  std::size_t fleets = 0, pairs = 0, measured = 0, wrong = 0, undecided = 0, requests = 0;
  std::size_t requests_most = 0, wrong_groupings = 0;
  std::vector<std::size_t> by_pair{};  // requests of each measured pair
};

/// Whether hosts, devices and width came out as they are.
bool grouped_right(const SimFleet& fleet, const Grouping& grouping) {
  std::set<std::pair<std::size_t, std::size_t>> devices;
  bool right = true;
  const auto& nodes = fleet.nodes();
  for (std::size_t a = 0; a < nodes.size(); ++a) {
    devices.insert({nodes[a].host, nodes[a].device});
    for (std::size_t b = 0; b < a; ++b) {
      const auto x = grouping.places[a], y = grouping.places[b];
      const bool host = x.host == y.host, device = host && x.device == y.device;
      const auto relation = truth(nodes[a], nodes[b]);
      right = right && host == (relation != Relation::independent) &&
              device == (relation == Relation::same_device);
    }
  }
  return right && advise(grouping, 1000).width == devices.size();
}

void measure(SimFleet& fleet, std::uint64_t seed, Tally& tally) {
  const auto facts = facts_of(fleet);
  const auto pairs = suspects(group(facts, {}));
  Measurements measurements;
  std::size_t spent = 0;
  while (const auto probe = next_probe(pairs, measurements, spent)) {
    spent += probe->requests();
    if (probe->kind == Probe::Kind::alone) {
      measurements.note_alone(probe->a, fleet.run({probe->a})[0]);
    } else {
      const auto rates = fleet.run({probe->a, probe->b});
      measurements.note_beside(probe->a, probe->b, rates[0]);
      measurements.note_beside(probe->b, probe->a, rates[1]);
    }
  }
  const auto verdicts = findings(pairs, measurements);
  for (const auto& verdict : verdicts) {
    const auto want = truth(fleet.find(verdict.a), fleet.find(verdict.b));
    if (verdict.relation == want) continue;
    ++tally.wrong;
    const auto got = measurements.verdict({verdict.a, verdict.b});
    fmt::print("problem: seed {}: {} and {}: relation {} instead of {}, slowdown {:.3f}, {:.4f}\n",
               seed, verdict.a, verdict.b, static_cast<int>(verdict.relation),
               static_cast<int>(want), got.slowdown, got.confidence);
  }
  bool all_known = true;
  for (const auto& pair : pairs) {
    const auto verdict = measurements.verdict(pair);
    const auto beside = measurements.beside(pair.first, pair.second).size();
    if (beside > 0) tally.by_pair.push_back(2 * beside);
    if (verdict.relation != Relation::unknown) continue;
    if (implied(pairs, measurements, pair) != Relation::unknown) continue;  // follows from others
    all_known = false;
    ++tally.undecided;
    fmt::print("unknown: seed {}: {} and {}: slowdown {:.3f}, {:.4f}, {} samples\n", seed,
               pair.first, pair.second, verdict.slowdown, verdict.confidence, beside);
  }
  if (all_known && !grouped_right(fleet, group(facts, verdicts))) {
    ++tally.wrong_groupings;
    fmt::print("problem: seed {}: not grouped as it is\n", seed);
  }
  ++tally.fleets;
  tally.pairs += pairs.size();
  tally.measured += verdicts.size();
  tally.requests += spent;
  tally.requests_most = std::max(tally.requests_most, spent);
}

struct Set {
  const char* name;
  Disturbance disturbance;
  bool hard = false;  // wilder than nodes are: "unknown" is a right answer too
};
constexpr Set sets[] = {
    {"exact", {0, 0, 1, 0}},
    {"noise 1 %", {0.01, 0, 1, 0}},
    {"noise 2 %, drift 5 %", {0.02, 0, 1, 0.05}},
    {"noise 3 %, outliers 5 %", {0.03, 0.05, 1.3, 0}},
    {"noise 4 %, outliers 5 %, drift 2 %", {0.04, 0.05, 1.3, 0.02}, true},
};

bool run_set(const Set& set, std::size_t fleets, std::uint64_t seed) {
  Tally tally;
  for (std::size_t i = 0; i < fleets; ++i) {
    SimFleet fleet(seed + i, set.disturbance);
    measure(fleet, seed + i, tally);
  }
  std::ranges::sort(tally.by_pair);
  const auto middle = tally.by_pair.empty() ? 0 : tally.by_pair[tally.by_pair.size() / 2];
  fmt::print("{:<36} {:>6} {:>6} {:>8} {:>5} {:>9} {:>7} {:>10.1f} {:>6} {:>10}\n", set.name,
             tally.fleets, tally.pairs, tally.measured, tally.wrong, tally.undecided,
             tally.wrong_groupings,
             static_cast<double>(tally.requests) / static_cast<double>(tally.fleets),
             tally.requests_most, middle);
  const auto undecided = set.hard ? 0 : tally.undecided;
  return tally.wrong + undecided + tally.wrong_groupings == 0;
}

}  // namespace
}  // namespace sollol::locality

int main(int argc, char** argv) {
  CLI::App app("Contention verdicts over generated fleets of simulated nodes");
  std::size_t fleets = 200;
  std::uint64_t seed = 1;
  bool quick = false;
  app.add_option("--fleets", fleets, "of each kind of disturbance")->check(CLI::PositiveNumber);
  app.add_option("--seed", seed, "of the first fleet");
  app.add_flag("--quick", quick, "20 fleets of each kind");
  CLI11_PARSE(app, argc, argv);
  if (quick) fleets = 20;
  fmt::print("{:<36} {:>6} {:>6} {:>8} {:>5} {:>9} {:>7} {:>10} {:>6} {:>10}\n", "rates", "fleets",
             "pairs", "measured", "wrong", "undecided", "groups", "requests", "most", "of a pair");
  fmt::print("{:<36} {:>6} {:>6} {:>8} {:>5} {:>9} {:>7} {:>10} {:>6} {:>10}\n", "", "", "", "", "",
             "", "wrong", "per fleet", "", "(median)");
  bool right = true;
  for (const auto& set : sollol::locality::sets) {
    right = sollol::locality::run_set(set, fleets, seed) && right;
  }
  return right ? 0 : 1;
}

// What finding a node for a request costs in a fleet in service, looking at its live state
// included, and what looking at some nodes instead of all loses (design §8: 1,000 nodes x 200
// models ≤ 1 µs, 10,000 nodes ≤ 5 µs, median).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "base/random.h"
#include "cluster/cluster.h"
#include "routing/survey.h"

namespace sollol::routing {
namespace {

constexpr std::uint64_t seed = 1;
constexpr std::size_t models = 200;
constexpr TimePoint now{std::chrono::hours(1)};

/// Speeds spread over a factor of ten, half of the places taken, a few nodes out, each model on a
/// quarter of the nodes and loaded on one in four of those.
class Fleet {
 public:
  explicit Fleet(std::size_t size) {
    SeededRandom random(seed);
    for (std::size_t i = 0; i < size; ++i) add_node(i, random);
    snapshot_ = cluster_.snapshot();
    std::vector<double> speeds;
    for (const cluster::Node& node : snapshot_->nodes) {
      node.live->availability =
          random.bits() % 32 == 0 ? cluster::Availability::down : cluster::Availability::healthy;
      speeds.push_back(10.0 + static_cast<double>(random.bits() % 90));
    }
    for (const auto& [key, model] : snapshot_->models) {
      by_rank_.push_back(&model);
      for (const cluster::Replica& replica : model.replicas)
        put_to_work(*snapshot_->nodes[replica.node].live, *replica.live, speeds[replica.node],
                    random);
    }
  }

  const cluster::Snapshot& snapshot() const { return *snapshot_; }
  const cluster::Model& model(std::uint64_t draw) const {
    return *by_rank_[draw % by_rank_.size()];
  }

 private:
  void add_node(std::size_t index, SeededRandom& random) {
    cluster::NodeInfo info;
    info.name = "n" + std::to_string(index);
    info.url = "http://" + info.name;
    info.host = info.name;
    info.port = 11434;
    const NodeId id = *cluster_.add(std::move(info));
    std::vector<cluster::ModelRecord> listed;
    for (std::size_t m = 0; m < models; ++m) {
      const std::string key = "m" + std::to_string(m);
      if (random.bits() % 4 == 0)
        listed.push_back({.key = key, .name = key, .digest = key, .size_bytes = 5'000'000'000});
    }
    cluster_.set_models(id, std::move(listed));
  }

  static void put_to_work(cluster::NodeLive& node, cluster::ReplicaLive& live, double speed,
                          SeededRandom& random) {
    live.limit = 4;
    live.in_flight = random.bits() % 5;
    live.loaded = random.bits() % 4 == 0;
    node.in_flight += live.in_flight % 2;
    live.decode_tokens_per_s = speed;
    live.prefill_tokens_per_s = speed * 20;
    live.service_s = 5;
    live.doubt = 0.05;
    live.load_s = 5;
  }

  cluster::Cluster cluster_{cluster::HealthOptions{}};
  std::shared_ptr<const cluster::Snapshot> snapshot_;
  std::vector<const cluster::Model*> by_rank_;
};

const Fleet& fleet(std::size_t size) {
  static std::map<std::size_t, Fleet> made;
  return made.try_emplace(size, size).first->second;
}

Demand some_demand() {
  Demand wanted;
  wanted.shape = {.prompt_tokens = 500, .expected_tokens = 200};
  return wanted;
}
const Demand demand = some_demand();

Choice find(const Fleet& in, const cluster::Model& model, std::uint64_t draw, bool all,
            std::vector<Candidate>& scratch) {
  const bool some = !all && survey_some(in.snapshot(), &model, demand, now, draw, scratch);
  if (!some) survey(in.snapshot(), &model, demand, now, scratch);
  const auto pick = [&] {
    return choose(Policy::expected_completion, scratch, demand.shape, now, draw, std::nullopt);
  };
  auto choice = pick();
  if (some && !good_enough(choice, scratch)) {
    survey(in.snapshot(), &model, demand, now, scratch);
    choice = pick();
  }
  // As a dispatch does.
  cluster::note_recent(*model.live, scratch[choice->index].replica);
  return *choice;
}

void find_one(benchmark::State& state, bool all) {
  const Fleet& in = fleet(static_cast<std::size_t>(state.range(0)));
  SeededRandom random(seed);
  std::vector<Candidate> scratch;
  std::vector<double> took_ns;
  double cost = 0, best = 0;
  for (std::size_t i = 0; i < models * 20; ++i)
    find(in, in.model(random.bits()), random.bits(), false, scratch);  // as a fleet in service is
  for (auto _ : state) {
    const cluster::Model& model = in.model(random.bits());
    const std::uint64_t draw = random.bits();
    const auto began = std::chrono::steady_clock::now();
    const Choice choice = find(in, model, draw, all, scratch);
    const auto took = std::chrono::steady_clock::now() - began;
    took_ns.push_back(std::chrono::duration<double, std::nano>(took).count());
    if (took_ns.size() % 64 == 0) {
      cost += choice.cost_s;
      best += find(in, model, draw, true, scratch).cost_s;
    }
  }
  std::ranges::sort(took_ns);
  state.counters["median_ns"] = took_ns[took_ns.size() / 2];
  if (best > 0) state.counters["loss"] = cost / best - 1;
}

BENCHMARK_CAPTURE(find_one, some, false)->ArgName("nodes")->Arg(100)->Arg(1000)->Arg(10000);
BENCHMARK_CAPTURE(find_one, all, true)->ArgName("nodes")->Arg(100)->Arg(1000)->Arg(10000);

}  // namespace
}  // namespace sollol::routing

// What one choice costs, by policy and number of candidates (design §8: 1,000 nodes ≤ 1 µs, 10,000
// ≤ 5 µs, median).
#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "routing/policy.h"

namespace sollol::routing {
namespace {

constexpr std::uint64_t seed = 1;

/// A fleet in service: speeds spread over a factor of ten, half of the places taken, a few nodes
/// out.
std::vector<Candidate> fleet(std::size_t size) {
  SeededRandom random(seed);
  std::vector<Candidate> candidates;
  for (std::size_t i = 0; i < size; ++i) {
    Candidate c{.node = NodeId{static_cast<std::uint32_t>(i)}};
    c.availability =
        random.bits() % 32 == 0 ? cluster::Availability::down : cluster::Availability::healthy;
    c.limit = 4;
    c.in_flight = c.node_in_flight = random.bits() % 5;
    c.warmth = random.bits() % 4 == 0 ? Warmth::cold : Warmth::warm;
    c.size_bytes = 5'000'000'000;
    c.decode_tokens_per_s = 10.0 + static_cast<double>(random.bits() % 90);
    c.prefill_tokens_per_s = c.decode_tokens_per_s * 20;
    c.service_s = 5;
    c.rtt_s = 0.001;
    candidates.push_back(c);
  }
  candidates.front().availability = cluster::Availability::healthy;
  candidates.front().in_flight = 0;
  return candidates;
}

void choose_one(benchmark::State& state, Policy policy) {
  const auto candidates = fleet(static_cast<std::size_t>(state.range(0)));
  SeededRandom random(seed);
  std::optional<NodeId> after;
  for (auto _ : state) {
    const auto choice = choose(policy, candidates, {.prompt_tokens = 500, .expected_tokens = 200},
                               TimePoint{}, random.bits(), after);
    after = choice->node;
    benchmark::DoNotOptimize(after);
  }
  state.SetItemsProcessed(state.iterations());
}

void sizes(benchmark::internal::Benchmark* bench) {
  bench->ArgName("nodes")->Arg(10)->Arg(100)->Arg(1000)->Arg(10000);
}

BENCHMARK_CAPTURE(choose_one, expected_completion, Policy::expected_completion)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, round_robin, Policy::round_robin)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, least_connections, Policy::least_connections)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, power_of_two, Policy::power_of_two)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, random, Policy::random)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, priority, Policy::priority)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, peak_ewma, Policy::peak_ewma)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, lmetric, Policy::lmetric)->Apply(sizes);
BENCHMARK_CAPTURE(choose_one, points, Policy::points)->Apply(sizes);

}  // namespace
}  // namespace sollol::routing

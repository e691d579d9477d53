#include "world/scenarios.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "world/bound.h"
#include "world/chance.h"

namespace sollol::world {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

constexpr std::uint64_t gib = 1ULL << 30;
constexpr double prefill_per_decode = 20;
constexpr double load_bytes_per_s = 1e9;

/// A model of so many billions of parameters at four bits each.
ModelSpec model(std::string name, double billions) {
  return {.name = std::move(name), .size_bytes = static_cast<std::uint64_t>(billions * 0.6e9)};
}

/// A node that writes `speed` tokens a second with a model of 2 GB, and others by their size.
NodeSpec node(const std::vector<ModelSpec>& models, double speed, std::size_t number) {
  NodeSpec spec{.name = fmt::format("node{}", number + 1)};
  for (std::uint32_t i = 0; i < models.size(); ++i) {
    const double decode = speed * 2e9 / static_cast<double>(models[i].size_bytes);
    spec.models.push_back(
        {.model = i,
         .prefill_tokens_per_s = decode * prefill_per_decode,
         .decode_tokens_per_s = decode,
         .load_time = from_seconds(static_cast<double>(models[i].size_bytes) / load_bytes_per_s)});
  }
  return spec;
}

Fleet fleet(std::vector<ModelSpec> models, std::initializer_list<double> speeds) {
  Fleet out{.models = std::move(models)};
  for (const double speed : speeds) out.nodes.push_back(node(out.models, speed, out.nodes.size()));
  return out;
}

Fleet mixed_speeds() { return fleet({model("llama3.2", 3.3)}, {15, 30, 60, 120}); }

Workload traffic(const Fleet& fleet, Mix mix, Arrivals arrivals, const ScenarioOptions& options) {
  mix.requests = options.requests.value_or(mix.requests);
  Workload workload{.requests = draw_requests(fleet, mix, options.seed)};
  const double per_s = options.load * Bound(fleet).capacity_per_s(workload.requests);
  draw_times(workload.requests, arrivals, per_s, options.seed + 1);
  return workload;
}

Scenario equal(const ScenarioOptions& options) {
  Scenario out{.fleet = fleet({model("llama3.2", 3.3)}, {60, 60, 60, 60})};
  for (NodeSpec& spec : out.fleet.nodes) spec.slots = 2;
  out.workload = traffic(out.fleet, {}, Arrivals::poisson, options);
  return out;
}

Scenario mixed(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  out.workload = traffic(out.fleet, {}, Arrivals::poisson, options);
  return out;
}

Scenario bursty(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  out.workload = traffic(out.fleet, {}, Arrivals::bursty, options);
  return out;
}

Scenario slots(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  for (NodeSpec& spec : out.fleet.nodes) spec.slots = 4;
  out.workload = traffic(out.fleet, {.told = 0.5}, Arrivals::poisson, options);
  return out;
}

/// More models than any node can hold at a time.
Scenario models(const ScenarioOptions& options) {
  Scenario out{
      .fleet = fleet({model("llama3.2:3b", 3.3), model("gemma3:4b", 4.3), model("qwen3:8b", 8),
                      model("llama3.1:8b", 8), model("mistral:7b", 7.3), model("qwen3:14b", 14)},
                     {30, 30, 60, 60, 120, 120})};
  for (NodeSpec& spec : out.fleet.nodes) {
    spec.memory_bytes = 16 * gib;
    spec.max_loaded = 2;
  }
  out.workload = traffic(out.fleet, {.popularity = 1, .clients = 30}, Arrivals::poisson,
                         {options.seed, options.requests, options.load * 0.7});
  return out;
}

/// Models are used now and then, and unloaded in between.
Scenario quiet(const ScenarioOptions& options) {
  constexpr double per_hour = 60;
  Scenario out{.fleet =
                   fleet({model("llama3.2:3b", 3.3), model("qwen3:8b", 8), model("qwen3:14b", 14)},
                         {30, 60, 120})};
  Mix mix{.requests = 2000};
  mix.requests = options.requests.value_or(mix.requests);
  out.workload.requests = draw_requests(out.fleet, mix, options.seed);
  draw_times(out.workload.requests, Arrivals::poisson, options.load / 0.7 * per_hour / 3600,
             options.seed + 1);
  return out;
}

Scenario closed(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  out.workload = traffic(out.fleet, {.clients = 12}, Arrivals::at_once, options);
  out.workload.users = 12;
  return out;
}

Scenario batch(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  out.workload =
      traffic(out.fleet, {.requests = 2000, .clients = 1, .told = 1}, Arrivals::at_once, options);
  out.workload.users = 16;
  return out;
}

Scenario chat(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  out.workload =
      traffic(out.fleet, {.clients = 40, .prompt_median = 60, .prompt_spread = 1, .turns = 8},
              Arrivals::poisson, options);
  return out;
}

Scenario deaths(const ScenarioOptions& options) {
  Scenario out{.fleet = mixed_speeds()};
  const ScenarioOptions lighter{options.seed, options.requests, options.load * 0.7};
  out.workload = traffic(out.fleet, {}, Arrivals::poisson, lighter);
  // Each node dies now and then for half a minute.
  Chance chance(options.seed + 2);
  for (NodeSpec& spec : out.fleet.nodes) {
    Duration at{};
    while (true) {
      at += from_seconds(30 + chance.exponential(600));
      if (at >= out.workload.requests.back().at) break;
      spec.outages.push_back({at, at + seconds(30)});
      at += seconds(30);
    }
  }
  return out;
}

/// Two machines whose two nodes share a device, and one alone.
Scenario shared(const ScenarioOptions& options) {
  Scenario out{.fleet = fleet({model("llama3.2", 3.3)}, {60, 60, 60, 60, 60})};
  for (std::size_t i = 0; i < 4; ++i) {
    out.fleet.nodes[i].host = i < 2 ? "a" : "b";
    out.fleet.nodes[i].device = "gpu";
  }
  out.workload = traffic(out.fleet, {}, Arrivals::poisson,
                         {options.seed, options.requests, options.load * 0.6});
  return out;
}

Scenario tiers(const ScenarioOptions& options) {
  Scenario out{.fleet = fleet({model("llama3.2", 3.3)}, {60, 60, 30, 30, 30})};
  for (std::size_t i = 2; i < 5; ++i) out.fleet.nodes[i].tier = 1;
  out.workload = traffic(out.fleet, {.urgencies = true}, Arrivals::poisson, options);
  return out;
}

/// Clients that want different contexts of one model.
Scenario contexts(const ScenarioOptions& options) {
  Scenario out{.fleet = fleet({model("llama3.2", 3.3)}, {60, 60})};
  out.workload = traffic(out.fleet, {.clients = 2, .num_ctx = {4096, 8192}}, Arrivals::poisson,
                         {options.seed, options.requests, options.load * 0.6});
  return out;
}

/// Models in several quantisations, on nodes that are better at one thing than at another.
Scenario quants(const ScenarioOptions& options) {
  struct Form {
    const char* name;
    double billions;
    double bytes_per_weight;
  };
  constexpr std::array forms{Form{"llama3.2:3b-q4", 3.2, 0.6},  Form{"llama3.2:3b-q8", 3.2, 1.06},
                             Form{"llama3.2:3b-f16", 3.2, 2.0}, Form{"llama3.1:8b-q4", 8, 0.6},
                             Form{"llama3.1:8b-q8", 8, 1.06},   Form{"qwen3:14b-q4", 14, 0.6}};
  Scenario out;
  for (const Form& form : forms) {
    out.fleet.models.push_back(
        {.name = form.name,
         .size_bytes = static_cast<std::uint64_t>(form.billions * form.bytes_per_weight * 1e9),
         .weights = form.billions * 1e9});
  }
  Chance chance(options.seed + 4);
  constexpr double unlike = 0.2;  // spread of the logarithm of each rate about what sizes say
  for (std::size_t i = 0; i < 12; ++i) {
    const double bytes_per_s = chance.log_normal(100e9, 0.6);
    const double weights_per_s = bytes_per_s * chance.log_normal(40, 0.4);
    const double disk_bytes_per_s = chance.log_normal(1e9, 0.6);
    NodeSpec spec{.name = fmt::format("node{}", i + 1), .max_loaded = 4};
    for (std::uint32_t m = 0; m < out.fleet.models.size(); ++m) {
      const ModelSpec& model = out.fleet.models[m];
      const auto bytes = static_cast<double>(model.size_bytes);
      spec.models.push_back(
          {.model = m,
           .prefill_tokens_per_s = weights_per_s / model.weights * chance.log_normal(1, unlike),
           .decode_tokens_per_s = bytes_per_s / bytes * chance.log_normal(1, unlike),
           .load_time = from_seconds(bytes / disk_bytes_per_s * chance.log_normal(1, unlike))});
    }
    out.fleet.nodes.push_back(std::move(spec));
  }
  out.workload = traffic(out.fleet, {.popularity = 0.5, .clients = 30}, Arrivals::poisson,
                         {options.seed, options.requests, options.load * 0.7});
  return out;
}

Scenario many(std::size_t nodes, std::size_t kinds, std::size_t each,
              const ScenarioOptions& options) {
  Scenario out;
  Chance chance(options.seed + 3);
  for (std::size_t i = 0; i < kinds; ++i)
    out.fleet.models.push_back(model(fmt::format("model{}", i + 1), 2 + 6 * chance.share()));
  for (std::size_t i = 0; i < nodes; ++i) {
    NodeSpec spec = node(out.fleet.models, chance.log_normal(50, 0.6), i);
    // Which of the models it has, the popular ones before others.
    std::erase_if(spec.models, [&](const ReplicaSpec&) {
      return chance.share() > static_cast<double>(each) / static_cast<double>(kinds);
    });
    spec.max_loaded = 4;
    out.fleet.nodes.push_back(std::move(spec));
  }
  out.workload = traffic(out.fleet, {.popularity = 0.8, .clients = 200}, Arrivals::poisson,
                         {options.seed, options.requests, options.load * 0.7});
  return out;
}

Scenario large(const ScenarioOptions& options) { return many(200, 20, 5, options); }

/// Embeddings and short answers, none of them streamed, on nodes that other programs slow down now
/// and then.
Scenario stragglers(const ScenarioOptions& options) {
  Scenario out{.fleet = fleet({model("nomic-embed-text", 0.5), model("llama3.2", 3.3)},
                              {60, 60, 60, 60, 60, 60})};
  const Mix mix{.requests = options.requests.value_or(20'000),
                .prompt_median = 100,
                .prompt_spread = 0.5,
                .output_median = 12,
                .output_spread = 0.5};
  out.workload.requests = draw_requests(out.fleet, mix, options.seed);
  for (Request& request : out.workload.requests) {
    request.streamed = false;
    if (request.model == 0) request.output_tokens = 0;
  }
  const double per_s = options.load * 0.6 * Bound(out.fleet).capacity_per_s(out.workload.requests);
  draw_times(out.workload.requests, Arrivals::poisson, per_s, options.seed + 1);
  Chance chance(options.seed + 5);
  for (NodeSpec& spec : out.fleet.nodes) {
    spec.slots = 2;
    for (Duration at{}; at < out.workload.requests.back().at; at = spec.slow.back().until) {
      at += from_seconds(chance.exponential(60));
      spec.slow.push_back({at, at + from_seconds(chance.exponential(3)), 10});
    }
  }
  return out;
}

struct Known {
  ScenarioInfo info;
  Scenario (*make)(const ScenarioOptions&);
};
constexpr std::array known{
    Known{{"equal", "4 equal nodes, 2 slots each, 70 % load"}, equal},
    Known{{"mixed", "4 nodes with speeds of 1:2:4:8, 70 % load"}, mixed},
    Known{{"slots", "the same with 4 slots each, which have to be learnt"}, slots},
    Known{{"bursty", "the same as mixed in bursts of ten times the load"}, bursty},
    Known{{"models", "6 nodes, 6 models, 2 of them at a time on a node, 50 % load"}, models},
    Known{{"quants", "12 nodes, 6 models of three quantisations, each off what its size says"},
          quants},
    Known{{"quiet", "3 nodes, 3 models, a request a minute: they are unloaded in between"}, quiet},
    Known{{"closed", "12 users who ask again when they are answered, speeds 1:2:4:8"}, closed},
    Known{{"batch", "2,000 tasks, 16 at a time, speeds 1:2:4:8"}, batch},
    Known{{"chat", "conversations whose prompts grow, speeds 1:2:4:8"}, chat},
    Known{{"deaths", "mixed at 50 % load, each node dies every ten minutes"}, deaths},
    Known{{"stragglers",
           "6 equal nodes, each ten times as slow for 3 s of every minute, short answers"},
          stragglers},
    Known{{"shared", "5 equal nodes, of which twice two share a device"}, shared},
    Known{{"tiers", "2 fast nodes before 3 slow ones, three classes of urgency"}, tiers},
    Known{{"contexts", "2 nodes, 2 clients that want different contexts of one model"}, contexts},
    Known{{"large", "200 nodes of any speed, 20 models, 5 of them on each"}, large}};

constexpr auto infos = [] {
  std::array<ScenarioInfo, known.size()> out{};
  for (std::size_t i = 0; i < known.size(); ++i) out[i] = known[i].info;
  return out;
}();

}  // namespace

std::span<const ScenarioInfo> scenarios() { return infos; }

Result<Scenario> make_scenario(std::string_view name, const ScenarioOptions& options) {
  const auto found =
      std::ranges::find_if(known, [&](const Known& one) { return one.info.name == name; });
  if (found == known.end()) {
    std::string names;
    for (const Known& one : known)
      names += fmt::format("{}{}", names.empty() ? "" : ", ", one.info.name);
    return std::unexpected(
        bad_input(fmt::format("scenario: '{}' is unknown; there are {}", name, names)));
  }
  Scenario out = found->make(options);
  out.name = found->info.name;
  out.about = found->info.about;
  return out;
}

Scenario ordinary(Fleet fleet, const ScenarioOptions& options) {
  Scenario out{.fleet = std::move(fleet)};
  out.workload = traffic(out.fleet, {}, Arrivals::poisson, options);
  return out;
}

}  // namespace sollol::world

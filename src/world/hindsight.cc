#include "world/hindsight.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <set>

#include "cluster/learn.h"
#include "cluster/speed.h"

namespace sollol::world {
namespace {

/// A shorter load is the node's own time around one.
const double load_min_s = to_seconds(cluster::load_min);
/// Answers that overlap by a smaller share of the later one are one after the other: a gateway sees
/// the end of each a little after the node has begun the next.
constexpr double overlap_min = 0.1;

std::optional<std::uint32_t> node_index(const Fleet& fleet, std::string_view name) {
  const auto found = std::ranges::find(fleet.nodes, name, &NodeSpec::name);
  if (found == fleet.nodes.end()) return std::nullopt;
  return static_cast<std::uint32_t>(found - fleet.nodes.begin());
}
bool has(const NodeSpec& node, std::uint32_t model) {
  return std::ranges::find(node.models, model, &ReplicaSpec::model) != node.models.end();
}

/// Measures one model on one node by what it served.
class Seen {
 public:
  void add(const Served& one) {
    const double ends = one.at_s + one.took_s;
    // While it was written: the node's own time, up to the end.
    runs_.push_back({.begins = one.decode_s > 0 ? ends - one.decode_s : one.at_s,
                     .ends = ends,
                     .served = &one});
  }
  /// After all.
  void measure() {
    std::ranges::sort(runs_, {}, &Run::begins);
    std::vector<double> running;  // when they end
    for (const Run& run : runs_) {
      const double handed_over = run.begins + overlap_min * (run.ends - run.begins);
      std::erase_if(running, [&](double end) { return end <= handed_over; });
      running.push_back(run.ends);
      slots_ = std::max(slots_, running.size());
      take(*run.served, static_cast<double>(running.size()));
    }
  }

  ReplicaSpec replica(std::uint32_t model) const {
    ReplicaSpec out{.model = model};
    if (token_.known()) out.decode_tokens_per_s = 1 / token_.alone_s();
    if (prefill_.known()) out.prefill_tokens_per_s = prefill_.value();
    if (load_.known()) out.load_time = from_seconds(load_.value());
    return out;
  }
  std::uint32_t slots() const { return static_cast<std::uint32_t>(slots_); }
  std::optional<double> share() const {
    return token_.known() ? std::optional(token_.share()) : std::nullopt;
  }

 private:
  struct Run {
    double begins;
    double ends;
    const Served* served;
  };

  void take(const Served& one, double streams) {
    const TimePoint at{from_seconds(one.at_s)};
    if (one.decode_s > 0 && one.output_tokens > 1)
      token_.observe(one.decode_s / one.output_tokens, streams, 0, at);
    if (one.prefill_s > 0 && one.prompt_tokens > 0)
      prefill_.observe(one.prompt_tokens / one.prefill_s, at);
    if (one.load_s > load_min_s) load_.observe(one.load_s, at);
  }

  std::vector<Run> runs_;
  cluster::TokenTime token_;
  cluster::Estimate prefill_;
  cluster::Estimate load_;
  std::size_t slots_ = 1;
};

}  // namespace

Fleet fleet_seen(std::span<const Served> served) {
  std::map<std::string, std::map<std::string, Seen>> by_node;
  for (const Served& one : served) {
    if (one.answered && !one.node.empty()) by_node[one.node][one.model].add(one);
  }
  Fleet fleet;
  for (auto& [name, models] : by_node) {
    NodeSpec node{.name = name};
    double shares = 0;
    unsigned known = 0;
    for (auto& [model, seen] : models) {
      seen.measure();
      node.models.push_back(seen.replica(add_model(fleet, model)));
      node.slots = std::max(node.slots, seen.slots());
      if (const auto share = seen.share()) shares += *share, ++known;
    }
    if (known > 0) node.parallel_slowdown = shares / known;
    fleet.nodes.push_back(std::move(node));
  }
  return fleet;
}

Result<Workload> workload_again(std::span<const Served> served, const Fleet& fleet) {
  Workload workload;
  std::map<std::string_view, std::uint32_t> clients, sessions;
  std::map<std::uint32_t, std::uint32_t> said;
  const auto id = [](auto& ids, std::string_view name) {
    return ids.emplace(name, static_cast<std::uint32_t>(ids.size())).first->second;
  };
  for (const Served& one : served) {
    const auto model = find_model(fleet, one.model);
    if (!model) {
      return std::unexpected(
          bad_input(fmt::format("model '{}' is on no node of the fleet", one.model)));
    }
    Request request{.at = from_seconds(one.at_s - served.front().at_s),
                    .model = *model,
                    .client = id(clients, one.client),
                    .num_ctx = one.num_ctx,
                    .prompt_tokens = one.prompt_tokens,
                    .output_tokens = one.output_tokens,
                    .num_predict = one.num_predict,
                    .streamed = one.streamed && one.output_tokens > 0,
                    .urgency = one.urgency};
    if (!one.session.empty()) {
      request.session = id(sessions, one.session) + 1;
      std::uint32_t& so_far = said[request.session];
      request.said_before = std::min(so_far, request.prompt_tokens);
      so_far = request.prompt_tokens + request.output_tokens;
    }
    workload.requests.push_back(request);
  }
  return workload;
}

Report as_it_was(std::span<const Served> served) {
  Report report;
  std::vector<float> first, last;
  double end_s = 0;
  std::uint64_t tokens = 0;
  for (const Served& one : served) {
    ++report.offered;
    if (!one.answered) {
      ++report.failed;
      continue;
    }
    ++report.answered;
    if (one.load_s > load_min_s) ++report.cold_loads;
    first.push_back(static_cast<float>(one.first_token_s > 0 ? one.first_token_s : one.took_s));
    last.push_back(static_cast<float>(one.took_s));
    end_s = std::max(end_s, one.at_s + one.took_s);
    tokens += one.output_tokens;
  }
  if (report.answered == 0) return report;
  report.ttft_s = quantiles(first);
  report.completion_s = quantiles(last);
  report.makespan_s = end_s - served.front().at_s;
  report.requests_per_s = static_cast<double>(report.answered) / report.makespan_s;
  report.output_tokens_per_s = static_cast<double>(tokens) / report.makespan_s;
  return report;
}

std::vector<Regret> regrets(std::span<const Served> served, const Fleet& fleet) {
  // Long before the first request everything that was loaded is loaded, and stays.
  constexpr double warm_up_s = 3600;
  Scenario scenario{.fleet = fleet,
                    .noise = 0,
                    .queue = {.waiting_max = 1'000'000, .waiting_per_client_max = 1'000'000}};
  for (NodeSpec& node : scenario.fleet.nodes) {
    node.keep_alive = Duration(-1);
    node.slots_told = node.slots;
  }
  auto& requests = scenario.workload.requests;
  std::set<std::pair<std::uint32_t, std::uint32_t>> met;
  struct Played {
    std::uint32_t served, node, model;
  };
  std::vector<Played> played;
  for (std::uint32_t i = 0; i < served.size(); ++i) {
    const auto node = node_index(fleet, served[i].node);
    const auto model = find_model(fleet, served[i].model);
    if (!node || !model || !has(fleet.nodes[*node], *model) || !served[i].answered) continue;
    played.push_back({i, *node, *model});
    const bool was_warm = served[i].load_s <= load_min_s;
    if (met.emplace(*node, *model).second && was_warm)
      requests.push_back(
          {.model = *model, .prompt_tokens = 1, .output_tokens = 1, .pinned = *node});
  }
  if (played.empty()) return {};
  const auto warmers = static_cast<std::uint32_t>(requests.size());
  std::vector<Served> kept;
  for (const Played& one : played) kept.push_back(served[one.served]);
  const Workload again = *workload_again(kept, fleet);
  for (std::size_t i = 0; i < played.size(); ++i) {
    Request request = again.requests[i];
    request.at += from_seconds(warm_up_s);
    request.pinned = played[i].node;
    requests.push_back(request);
  }

  const Options options{.wait_max = std::chrono::hours(24)};
  const std::vector<float> base = run(scenario, options).took_s;
  std::vector<Regret> out;
  for (std::uint32_t i = 0; i < played.size(); ++i) {
    Regret regret{.request = played[i].served,
                  .chosen = played[i].node,
                  .best = played[i].node,
                  .took_s = base[warmers + i],
                  .best_s = base[warmers + i]};
    Request& moved = requests[warmers + i];
    for (std::uint32_t node = 0; node < fleet.nodes.size(); ++node) {
      if (node == played[i].node || !has(fleet.nodes[node], played[i].model)) continue;
      moved.pinned = node;
      const double there = run(scenario, options).took_s[warmers + i];
      if (there > 0 && there < regret.best_s) {
        regret.best = node;
        regret.best_s = there;
      }
    }
    moved.pinned = played[i].node;
    out.push_back(regret);
  }
  return out;
}

}  // namespace sollol::world

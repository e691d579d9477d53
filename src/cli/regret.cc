#include "cli/regret.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <optional>
#include <ranges>
#include <string>
#include <vector>

#include "api/model_name.h"
#include "api/timestamp.h"
#include "cli/command.h"
#include "cli/json_fields.h"
#include "world/hindsight.h"

namespace sollol::cli {
namespace {

namespace json = boost::json;

/// Each is played once for each node that has its model.
constexpr std::size_t decisions_max = 200;
constexpr std::size_t rows_max = 20;

/// The nodes as the gateway knows them.
world::Fleet fleet_known(const json::object& nodes) {
  world::Fleet fleet;
  for (const json::value& each : nodes.at("nodes").as_array()) {
    const json::object& node = each.as_object();
    world::NodeSpec spec{.name = text_of(node, "name"),
                         .host = text_of(node, "machine"),
                         .device = text_of(node, "device")};
    double shares = 0, device_shares = 0;
    for (const json::value& one : node.at("models").as_array()) {
      const json::object& model = one.as_object();
      const std::string name = api::canonical_name(text_of(model, "name"));
      world::ReplicaSpec replica{.model = world::add_model(fleet, name)};
      if (const double rate = number_of(model, "decode_tokens_per_s"); rate > 0)
        replica.decode_tokens_per_s = rate;
      if (const double rate = number_of(model, "prefill_tokens_per_s"); rate > 0)
        replica.prefill_tokens_per_s = rate;
      if (const double load = number_of(model, "load_s"); load > 0)
        replica.load_time = from_seconds(load);
      shares += number_of(model, "decode_share");
      device_shares += number_of(model, "device_share");
      spec.slots = std::max(spec.slots, static_cast<std::uint32_t>(number_of(model, "limit")));
      spec.models.push_back(replica);
    }
    if (const auto count = static_cast<double>(spec.models.size()); count > 0) {
      spec.parallel_slowdown = shares / count;
      spec.device_slowdown = device_shares / count;
    }
    fleet.nodes.push_back(std::move(spec));
  }
  return fleet;
}

/// The newest that were answered, oldest first.
std::vector<world::Served> served_of(const json::object& decisions) {
  std::vector<world::Served> out;
  for (const json::value& each : decisions.at("decisions").as_array()) {
    const json::object& decision = each.as_object();
    const auto at = api::parse_timestamp(text_of(decision, "time"));
    if (!at || number_of(decision, "took_s") == 0 || out.size() == decisions_max) continue;
    out.push_back(
        {.at_s = 1e-9 * static_cast<double>(*at),
         .model = api::canonical_name(text_of(decision, "model")),
         .node = text_of(decision, "node"),
         .prompt_tokens = static_cast<std::uint32_t>(number_of(decision, "prompt_tokens")),
         .output_tokens = static_cast<std::uint32_t>(number_of(decision, "output_tokens")),
         .took_s = number_of(decision, "took_s"),
         .load_s = number_of(decision, "load_s")});
  }
  std::ranges::reverse(out);
  return out;
}

struct Total {
  std::size_t decisions = 0, best = 0;
  double regret_s = 0, took_s = 0, worst_s = 0;
};

void print_total(const Total& total) {
  const auto count = static_cast<double>(total.decisions);
  fmt::print(
      "\n{} decisions: no other node would have been better for {} of them ({:.0f} %); regret "
      "{:.3f} s on average ({:.1f} % of the time taken), {:.3f} s at most\n",
      total.decisions, total.best, 100 * static_cast<double>(total.best) / count,
      total.regret_s / count, total.took_s > 0 ? 100 * total.regret_s / total.took_s : 0,
      total.worst_s);
}

}  // namespace

int print_regrets(const json::object& decisions, const json::object& nodes,
                  std::string_view model) {
  const world::Fleet fleet = fleet_known(nodes);
  const std::vector<world::Served> served = served_of(decisions);
  const std::string only = model.empty() ? std::string() : api::canonical_name(model);
  std::vector<world::Regret> found = world::regrets(served, fleet);
  std::erase_if(found, [&](const world::Regret& regret) {
    return !only.empty() && served[regret.request].model != only;
  });
  if (found.empty()) {
    fmt::print(stderr,
               "sollol explain: no decision was answered lately by a node that is still there; "
               "send some requests first\n");
    return exit_failed;
  }
  Total total;
  for (const world::Regret& regret : found) {
    ++total.decisions;
    if (regret.best == regret.chosen) ++total.best;
    total.regret_s += regret.regret_s();
    total.took_s += regret.took_s;
    total.worst_s = std::max(total.worst_s, regret.regret_s());
  }
  std::ranges::sort(found, std::greater{}, &world::Regret::regret_s);
  fmt::print("{:<30} {:<20} {:<16} {:>9} {:>9}  {:<16} {:>9} {:>9}\n", "time", "model", "chosen",
             "took s", "played s", "best", "s", "regret s");
  for (const world::Regret& regret : found | std::views::take(rows_max)) {
    const world::Served& one = served[regret.request];
    fmt::print("{:<30} {:<20} {:<16} {:>9.3f} {:>9.3f}  {:<16} {:>9.3f} {:>9.3f}\n",
               api::format_timestamp(WallTime(std::chrono::duration_cast<WallTime::duration>(
                   std::chrono::duration<double>(one.at_s)))),
               one.model, one.node, one.took_s, regret.took_s, fleet.nodes[regret.best].name,
               regret.best_s, regret.regret_s());
  }
  print_total(total);
  return exit_done;
}

}  // namespace sollol::cli

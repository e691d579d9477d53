#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <utility>

#include "cli/command.h"
#include "cli/worlds.h"
#include "discovery/files.h"
#include "world/plot.h"
#include "world/scenarios.h"

namespace sollol::cli {
namespace {

namespace json = boost::json;

struct PoliciesArguments {
  std::vector<std::string> scenarios;
  std::vector<std::string> policies;
  std::uint64_t seed = 1;
  std::optional<std::size_t> requests;
  double load = 0.7;
  std::string fleet_file, trace_file, plot;
  std::string queue = "gateway";
  bool hedge = false, place = false, calibration = false, as_json = false;  // as CLI11 fills them
};

int fail(std::string_view message, int code = exit_wrong_usage) {
  fmt::print(stderr, "sollol bench policies: {}\n", message);
  return code;
}

Result<world::Scenario> scenario_of_file(const PoliciesArguments& arguments,
                                         const world::ScenarioOptions& options) {
  auto fleet = read_fleet_file(arguments.fleet_file);
  if (!fleet) return std::unexpected(fleet.error());
  world::Scenario scenario = world::ordinary(std::move(*fleet), options);
  scenario.name = arguments.fleet_file;
  scenario.about = fmt::format("{} nodes", scenario.fleet.nodes.size());
  scenario.noise = 0;  // as the nodes of `sollol sim`
  return scenario;
}

Result<void> take_trace(const std::string& name, world::Scenario& scenario) {
  const auto text = discovery::read_file(name);
  if (!text) return std::unexpected(text.error());
  auto workload = world::read_trace(*text, name, scenario.fleet);
  if (!workload) return std::unexpected(workload.error());
  scenario.about += fmt::format(", {} requests of {}", workload->requests.size(), name);
  scenario.workload = std::move(*workload);
  return {};
}

Result<std::vector<world::Scenario>> make_scenarios(const PoliciesArguments& arguments) {
  const world::ScenarioOptions options{
      .seed = arguments.seed, .requests = arguments.requests, .load = arguments.load};
  std::vector<std::string> names = arguments.scenarios;
  if (names.empty() && arguments.fleet_file.empty()) {
    for (const world::ScenarioInfo& info : world::scenarios()) names.emplace_back(info.name);
  }
  std::vector<world::Scenario> out;
  if (!arguments.fleet_file.empty()) {
    auto scenario = scenario_of_file(arguments, options);
    if (!scenario) return std::unexpected(scenario.error());
    out.push_back(std::move(*scenario));
  }
  for (const std::string& name : names) {
    auto scenario = world::make_scenario(name, options);
    if (!scenario) return std::unexpected(scenario.error());
    out.push_back(std::move(*scenario));
  }
  if (arguments.trace_file.empty()) return out;
  for (world::Scenario& scenario : out) {
    if (const auto taken = take_trace(arguments.trace_file, scenario); !taken)
      return std::unexpected(taken.error());
  }
  return out;
}

Result<std::vector<routing::Policy>> chosen_policies(const PoliciesArguments& arguments) {
  std::vector<routing::Policy> out;
  for (const std::string& name : arguments.policies) {
    const auto policy = routing::parse_policy(name);
    if (!policy) return std::unexpected(policy.error());
    out.push_back(*policy);
  }
  if (out.empty() && arguments.calibration) out.push_back(routing::Policy::expected_completion);
  if (out.empty()) out.assign(routing::policies().begin(), routing::policies().end());
  return out;
}

/// Medians of how far off the predictions were, and of how many.
void print_calibration(std::string_view known, const world::Report& report,
                       world::Median world::Calibration::* which) {
  fmt::print("{:<20}", known);
  for (const world::Calibration& term : report.calibration) {
    const world::Median& median = term.*which;
    fmt::print(" {:>12}", median.of > 0 ? fmt::format("{:.3f}", median.value) : "-");
  }
  fmt::print("\n");
}

void print_calibration(const world::Row& row) {
  fmt::print("\n{}: {}, {}\n{:<20}", row.scenario, row.about, row.policy, "");
  for (const std::string_view name : routing::predicted_names) fmt::print(" {:>12}", name);
  fmt::print("\n");
  print_calibration("from priors", row.report, &world::Calibration::from_priors);
  print_calibration("after 50 answers", row.report, &world::Calibration::learnt);
}

json::object json_of(const world::Quantiles& times) {
  return {{"mean", times.mean}, {"p50", times.p50}, {"p95", times.p95}, {"p99", times.p99}};
}

json::object json_of(std::span<const world::Calibration> calibration) {
  const auto median = [](const world::Median& m) {
    return json::object{{"requests", m.of}, {"median", m.value}};
  };
  json::object out;
  for (std::size_t term = 0; term < calibration.size(); ++term) {
    out[routing::predicted_names[term]] =
        json::object{{"all", median(calibration[term].all)},
                     {"from_priors", median(calibration[term].from_priors)},
                     {"learnt", median(calibration[term].learnt)}};
  }
  return out;
}

json::object json_of(const world::Row& row) {
  const world::Report& r = row.report;
  return {{"scenario", row.scenario},
          {"about", row.about},
          {"policy", row.policy},
          {"requests", r.offered},
          {"answered", r.answered},
          {"refused", r.refused},
          {"timed_out", r.timed_out},
          {"failed", r.failed},
          {"retries", r.retries},
          {"resumed", r.resumed},
          {"planned_loads", r.planned_loads},
          {"kept", r.kept},
          {"hedges", r.hedges},
          {"hedges_won", r.hedges_won},
          {"hedges_withheld", r.hedges_withheld},
          {"cold_loads", r.cold_loads},
          {"ttft_s", json_of(r.ttft_s)},
          {"completion_s", json_of(r.completion_s)},
          {"requests_per_s", r.requests_per_s},
          {"output_tokens_per_s", r.output_tokens_per_s},
          {"makespan_s", r.makespan_s},
          {"lower_bound_s", r.lower_bound_s},
          {"fairness", r.fairness},
          {"prediction_errors", json_of(r.calibration)}};
}

Result<void> write_plot(const std::string& name, std::span<const world::Row> rows) {
  std::ofstream file(name);
  file << (name.ends_with(".svg") ? world::plot_svg(rows) : world::plot_html(rows));
  file.close();
  if (!file) return std::unexpected(bad_input(fmt::format("--plot: cannot write {}", name)));
  return {};
}

/// A way of choosing, as a row of the table.
struct Contender {
  std::string name;
  world::Options options;
};

Result<std::vector<Contender>> contenders(const PoliciesArguments& arguments) {
  const auto policies = chosen_policies(arguments);
  if (!policies) return std::unexpected(policies.error());
  std::vector<Contender> out;
  for (const routing::Policy policy : *policies) {
    // The queue belongs to the gateway's own way of choosing; the others never had one.
    const bool ours = policy == routing::Policy::expected_completion;
    const bool at_nodes = arguments.queue == "nodes" || (arguments.queue == "own" && !ours);
    out.push_back({std::string(routing::name(policy)),
                   {.queueing = at_nodes ? world::Queueing::nodes : world::Queueing::gateway,
                    .policy = policy,
                    .seed = arguments.seed}});
    const Contender plain = out.back();
    if (arguments.hedge) {
      out.push_back({plain.name + "+hedge", plain.options});
      out.back().options.hedge.enabled = true;
    }
    if (arguments.place) {
      out.push_back({plain.name + "+place", plain.options});
      out.back().options.residency = world::ModelPlacement::automatic;
    }
  }
  return out;
}

int run_policies(const PoliciesArguments& arguments) {
  if (!arguments.plot.empty() && !arguments.plot.ends_with(".svg") &&
      !arguments.plot.ends_with(".html"))
    return fail(fmt::format("--plot '{}' must end in .svg or .html", arguments.plot));
  const auto compared = contenders(arguments);
  if (!compared) return fail(compared.error().detail);
  const auto scenarios = make_scenarios(arguments);
  if (!scenarios) return fail(scenarios.error().detail);
  std::vector<world::Row> rows;
  bool broken = false;
  for (const world::Scenario& scenario : *scenarios) {
    bool first = true;
    for (const Contender& contender : *compared) {
      world::Row row{scenario.name, scenario.about, contender.name, {}};
      row.report = world::run(scenario, contender.options);
      if (!arguments.as_json) {
        if (!arguments.calibration && std::exchange(first, false)) print_table_head(row);
        arguments.calibration ? print_calibration(row) : print_table_row(row);
        std::fflush(stdout);
      }
      for (const std::string& what : row.report.broken)
        fail(fmt::format("{}, {}: {}", row.scenario, row.policy, what));
      broken = broken || !row.report.broken.empty();
      rows.push_back(std::move(row));
    }
  }
  if (arguments.as_json) {
    json::array all;
    for (const world::Row& row : rows) all.push_back(json_of(row));
    fmt::print("{}\n", json::serialize(all));
  }
  if (!arguments.plot.empty()) {
    if (const auto written = write_plot(arguments.plot, rows); !written)
      return fail(written.error().detail, exit_failed);
  }
  return broken ? exit_failed : exit_done;
}

std::string footer() {
  std::string out = R"(
Plays fleets and their requests in virtual time, with the gateway's own choosing, queue, health and
learning; nothing is sent anywhere. Equal seed, equal figures.

ttft and last: seconds from a request's arrival to its first and last token. loads: models loaded
from disk. lost: refused, timed out in the queue or failed. / bound: the time from the first arrival
to the last answer, of the least that any choosing could need. fair: Jain's index over clients.
error: median |log(actual / predicted)| of what the gateway expected from dispatch to the last
token; --calibration prints it by term: tokens of prompt and answer, time of a load, of a token in
prefill and decode, the completion, and what it would have been given the answer's length.

Scenarios:
)";
  for (const world::ScenarioInfo& info : world::scenarios())
    out += fmt::format("  {:<10} {}\n", info.name, info.about);
  return out + R"(
Examples:
  sollol bench policies --scenario mixed,models --plot policies.html
  sollol bench policies --scenario stragglers --hedge     what a second try beside a late one does
  sollol bench policies --fleet fleet.toml --load 0.9     the nodes of `sollol sim --fleet`
  sollol bench policies --scenario mixed --trace requests.csv --policies expected_completion
The trace and the model behind it: docs/simulator.md)";
}

}  // namespace

void add_bench_command(CLI::App& root, Action& chosen) {
  auto* bench = root.add_subcommand("bench", "Measure the routing policies");
  bench->require_subcommand(1);
  auto arguments = std::make_shared<PoliciesArguments>();
  auto* command = bench->add_subcommand("policies", "Compare policies on simulated fleets");
  command->add_option("--scenario", arguments->scenarios, "Which scenarios (default: all)")
      ->delimiter(',');
  command->add_option("--policies", arguments->policies, "Which policies (default: all)")
      ->delimiter(',');
  command->add_option("--seed", arguments->seed, "Of every chance")->capture_default_str();
  command
      ->add_option("--requests", arguments->requests,
                   "How many requests (default: the scenario's own number)")
      ->check(CLI::Range(1, 100'000'000));
  command
      ->add_option("--load", arguments->load,
                   "How much is asked of the fleet, of the most that it could do")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--fleet", arguments->fleet_file,
                      "Nodes as a file for `sollol sim --fleet` describes them");
  command->add_option(
      "--trace", arguments->trace_file,
      "The requests: CSV with the columns at_s, model, prompt_tokens, output_tokens");
  command
      ->add_option("--queue", arguments->queue,
                   "Where requests wait for a place: gateway; nodes: sent at once, as behind "
                   "balancers that know no places; own: gateway for expected_completion, nodes for "
                   "the others, as they are published")
      ->check(CLI::IsMember({"gateway", "nodes", "own"}))
      ->capture_default_str();
  command->add_flag("--place", arguments->place,
                    "Play each policy once more with models placed as `models.placement = "
                    "\"automatic\"` does");
  command->add_flag("--hedge", arguments->hedge,
                    "Play each policy once more with hedging as `hedge.enabled` turns it on: only "
                    "short answers that are not streamed have it");
  command->add_flag("--calibration", arguments->calibration,
                    "Print how far off the predictions were, by term (default policy: "
                    "expected_completion)");
  command->add_flag("--json", arguments->as_json, "Print JSON");
  command->add_option("--plot", arguments->plot, "Also write a picture, .svg or .html");
  command->footer(footer());
  command->callback(
      [arguments, &chosen] { chosen = [arguments] { return run_policies(*arguments); }; });
}

}  // namespace sollol::cli

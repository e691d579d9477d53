#include <fmt/format.h>

#include <boost/json.hpp>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <memory>

#include "api/model_name.h"
#include "api/timestamp.h"
#include "cli/command.h"
#include "cli/json_fields.h"
#include "cli/worlds.h"
#include "world/hindsight.h"

namespace sollol::cli {
namespace {

namespace json = boost::json;

struct ReplayArguments {
  std::string log, fleet_file;
  std::vector<std::string> policies;
  std::uint64_t seed = 1;
  bool hedge = false;
  std::size_t lines_max = 5'000'000;
};

int fail(std::string_view message, int code = exit_wrong_usage) {
  fmt::print(stderr, "sollol replay: {}\n", message);
  return code;
}

/// 0 for what cannot be measured.
double measure_of(const json::object& line, std::string_view field) {
  const double number = number_of(line, field);
  return std::isfinite(number) && number > 0 ? number : 0;
}
std::uint32_t count_of(const json::object& line, std::string_view field) {
  return static_cast<std::uint32_t>(std::min(measure_of(line, field), 1e9));
}

/// nullopt: a line of the log that is no model's work.
std::optional<world::Served> served_of(const json::object& line, double at_s) {
  const std::string model = text_of(line, "model");
  const double status = measure_of(line, "status");
  const bool failed = status >= 500 || status == 429;
  const bool worked = status == 200 && count_of(line, "prompt_tokens") > 0;
  if (model.empty() || (!failed && !worked)) return std::nullopt;
  world::Served out{
      .at_s = at_s,
      .model = api::canonical_name(model),
      .node = text_of(line, "node"),
      .client = text_of(line, "key"),
      .session = text_of(line, "session"),
      .num_ctx = count_of(line, "num_ctx"),
      .num_predict = count_of(line, "num_predict"),
      .urgency =
          cluster::parse_urgency(text_of(line, "urgency")).value_or(cluster::Urgency::normal),
      .prompt_tokens = count_of(line, "prompt_tokens"),
      .output_tokens = count_of(line, "output_tokens"),
      .first_token_s = measure_of(line, "ttft_s"),
      .took_s = measure_of(line, "duration_s"),
      .load_s = measure_of(line, "load_s"),
      .prefill_s = measure_of(line, "prefill_s"),
      .answered = worked};
  // An older gateway's log does not tell.
  if (const auto* stream = line.if_contains("stream")) out.streamed = *stream != false;
  if (out.client.empty()) out.client = text_of(line, "client");
  if (const double rate = measure_of(line, "tokens_per_s"); rate > 0)
    out.decode_s = out.output_tokens / rate;
  return out;
}

/// What the log tells of; sorted by arrival, since lines are written as requests end.
Result<std::vector<world::Served>> read_log(const ReplayArguments& arguments) {
  std::ifstream file(arguments.log);
  if (!file) return std::unexpected(bad_input(fmt::format("cannot read {}", arguments.log)));
  std::vector<world::Served> out;
  std::string text;
  for (std::size_t number = 1; std::getline(file, text); ++number) {
    if (number > arguments.lines_max) {
      return std::unexpected(
          bad_input(fmt::format("{} has more than {} lines; raise --lines-max, or cut it",
                                arguments.log, arguments.lines_max)));
    }
    if (!text.starts_with('{')) continue;  // the program's own lines, where both go to one place
    boost::system::error_code bad;
    const json::value line = json::parse(text, bad);
    const auto* fields = bad ? nullptr : line.if_object();
    const auto at =
        fields == nullptr ? std::nullopt : api::parse_timestamp(text_of(*fields, "time"));
    if (!at) {
      return std::unexpected(bad_input(
          fmt::format("{}:{}: is no line of a gateway's access log (docs/http-api.md); take it out",
                      arguments.log, number)));
    }
    if (auto one = served_of(*fields, 1e-9 * static_cast<double>(*at)))
      out.push_back(std::move(*one));
  }
  std::ranges::sort(out, {}, &world::Served::at_s);
  const bool any = std::ranges::any_of(out, &world::Served::answered);
  if (!any) {
    return std::unexpected(
        bad_input(fmt::format("{}: no request for a model was answered in it", arguments.log)));
  }
  return out;
}

std::string per_cent(double of, double to) {
  return to > 0 ? fmt::format("{:+.1f} %", 100 * (of / to - 1)) : "-";
}

void print_verdict(const std::vector<world::Row>& rows) {
  const world::Row& was = rows.front();
  const auto mean = [](const world::Row& row) { return row.report.completion_s.mean; };
  fmt::print("\nMean time to the last token: {:.3f} s as it was.", mean(was));
  for (const world::Row& row : std::span(rows).subspan(1))
    fmt::print(" {}: {:.3f} s ({}).", row.policy, mean(row), per_cent(mean(row), mean(was)));
  fmt::print(
      "\nWhat is simulated under the policy that the log was written under is off by as much "
      "as the simulation is.\n");
}

int run_replay(const ReplayArguments& arguments) {
  std::vector<routing::Policy> policies;
  for (const std::string& name : arguments.policies) {
    const auto policy = routing::parse_policy(name);
    if (!policy) return fail(policy.error().detail);
    policies.push_back(*policy);
  }
  if (policies.empty()) policies.push_back(routing::Policy::expected_completion);
  auto served = read_log(arguments);
  if (!served) return fail(served.error().detail);
  world::Scenario scenario{.name = arguments.log, .noise = 0};
  if (arguments.fleet_file.empty()) {
    scenario.fleet = world::fleet_seen(*served);
    scenario.about = fmt::format("{} requests, {} nodes as the log shows them", served->size(),
                                 scenario.fleet.nodes.size());
  } else {
    auto fleet = read_fleet_file(arguments.fleet_file);
    if (!fleet) return fail(fleet.error().detail);
    for (world::ModelSpec& model : fleet->models) model.name = api::canonical_name(model.name);
    scenario.fleet = std::move(*fleet);
    scenario.about =
        fmt::format("{} requests, the nodes of {}", served->size(), arguments.fleet_file);
  }
  std::vector<world::Row> rows{
      {scenario.name, scenario.about, "as it was", world::as_it_was(*served)}};
  // What was never answered has no length; it would be answered at once.
  std::erase_if(*served, [](const world::Served& one) { return !one.answered; });
  auto workload = world::workload_again(*served, scenario.fleet);
  if (!workload) return fail(workload.error().detail);
  scenario.workload = std::move(*workload);
  print_table_head(rows.front());
  print_table_row(rows.front());
  for (const routing::Policy policy : policies) {
    rows.push_back({scenario.name, scenario.about, std::string(routing::name(policy)),
                    world::run(scenario, {.policy = policy, .seed = arguments.seed})});
    print_table_row(rows.back());
    if (arguments.hedge) {
      rows.push_back(
          {scenario.name, scenario.about, rows.back().policy + "+hedge",
           world::run(scenario,
                      {.policy = policy, .seed = arguments.seed, .hedge = {.enabled = true}})});
      print_table_row(rows.back());
    }
    std::fflush(stdout);
  }
  print_verdict(rows);
  return exit_done;
}

}  // namespace

void add_replay_command(CLI::App& root, Action& chosen) {
  CLI::App* replay =
      root.add_subcommand("replay", "Play a gateway's own traffic under another policy");
  auto arguments = std::make_shared<ReplayArguments>();
  replay->add_option("log", arguments->log, "An access log of the gateway (`log.access`)")
      ->required();
  replay
      ->add_option("--policy", arguments->policies,
                   "Under which policy; several: one row each (default: expected_completion)")
      ->delimiter(',');
  replay->add_option(
      "--fleet", arguments->fleet_file,
      "The nodes, as a file for `sollol sim --fleet` (default: as the log shows them)");
  replay->add_flag("--hedge", arguments->hedge,
                   "Play each policy once more with hedging as `hedge.enabled` turns it on");
  replay->add_option("--seed", arguments->seed, "Of every chance")->capture_default_str();
  replay->add_option("--lines-max", arguments->lines_max, "More lines are refused")
      ->capture_default_str();
  replay->footer(R"(
Nothing is sent anywhere: the requests of the log come again at their times, with their lengths, in
virtual time. Without --fleet a node has the models that it served in the log, is as fast as it was,
and takes as many requests at once as it ever did there.

Example:
  sollol replay /var/log/sollol/access.log --policy expected_completion,least_connections
What is simulated: docs/simulator.md)");
  replay->callback(
      [arguments, &chosen] { chosen = [arguments] { return run_replay(*arguments); }; });
}

}  // namespace sollol::cli

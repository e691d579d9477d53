// sollol doctor: checks each known misconfiguration and says the mend.
#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cstdio>
#include <memory>
#include <optional>

#include "cli/command.h"
#include "cli/doctor_gather.h"
#include "cli/up_options.h"
#include "doctor/checks.h"

namespace sollol::cli {

namespace json = boost::json;
using doctor::Finding;
using doctor::Findings;

namespace {

constexpr std::string_view help =
    "Checks each known misconfiguration of the nodes, of the network between them and of this "
    "machine, and says how to mend what is wrong. Asks the gateway when one runs, and looks at the "
    "network by itself.\n\n"
    "Examples:\n"
    "  sollol doctor\n"
    "  sollol doctor --gateway http://gateway:11434 --no-scan\n"
    "  sollol doctor --subnet 192.168.4.0/22 --json\n\n"
    "Exit code: 0 nothing needs mending, 1 something does, 2 wrong usage, 3 there is no usable "
    "node.";

struct Asked {
  std::string gateway;
  std::string config;
  std::string node_file;
  std::vector<std::string> subnets;
  std::vector<std::uint16_t> ports;
  double timeout_s = 0;  // 0: as the settings have it
  bool exclude_localhost = false;
  std::optional<bool> auto_resolve_docker;  // unset: as the settings have it
  bool no_gateway = false;
  bool no_scan = false;
  bool no_node_file = false;
  bool as_json = false;
};

/// What `sollol up` would do, unless a flag says otherwise.
Result<DoctorPlan> make_doctor_plan(const Asked& asked, const Environment& environment) {
  LoadOptions load;
  if (!asked.config.empty()) load.config_file = asked.config;
  if (!asked.node_file.empty()) load.flags["node_file"] = asked.node_file;
  auto loaded = load_settings(environment, load);
  if (!loaded) return std::unexpected(loaded.error());
  const auto options = gateway_options(loaded->settings);
  if (!options) return std::unexpected(options.error());
  DoctorPlan plan{.settings = std::move(loaded->settings),
                  .gateway = asked.gateway,
                  .asks_gateway = !asked.no_gateway,
                  .scans = !asked.no_scan,
                  .uses_node_file = !asked.no_node_file,
                  .scan = options->discovery.scan};
  if (!asked.subnets.empty()) plan.scan.subnets = asked.subnets;
  if (!asked.ports.empty()) plan.scan.ports = asked.ports;
  if (asked.timeout_s > 0) plan.scan.timeout = from_seconds(asked.timeout_s);
  if (asked.exclude_localhost) plan.scan.exclude_localhost = true;
  if (asked.auto_resolve_docker) plan.scan.auto_resolve_docker = *asked.auto_resolve_docker;
  plan.scan.discover_all_nodes = true;  // one node is never compared with others
  return plan;
}

void print_table(const Findings& findings) {
  std::string_view previous;
  for (const Finding& finding : findings) {
    const bool first = finding.check != previous;
    previous = finding.check;
    fmt::print("{:<5} {:<11} {}\n", name(finding.level), first ? finding.check : "", finding.text);
    for (std::size_t i = 0; i < finding.mends.size(); ++i)
      fmt::print("{:<17} {} {}\n", "",
                 i > 0                    ? "  or:"
                 : needs_mending(finding) ? "mend:"
                                          : "hint:",
                 finding.mends[i]);
  }
}

void print_json(const Findings& findings, std::size_t nodes, std::size_t usable, int code) {
  json::array list;
  for (const Finding& finding : findings) {
    json::array mends;
    for (const std::string& mend : finding.mends) mends.emplace_back(mend);
    list.push_back(json::object{{"check", finding.check},
                                {"level", name(finding.level)},
                                {"needs_mending", needs_mending(finding)},
                                {"text", finding.text},
                                {"mends", std::move(mends)}});
  }
  fmt::print("{}\n", json::serialize(json::object{{"findings", std::move(list)},
                                                  {"nodes", nodes},
                                                  {"usable_nodes", usable},
                                                  {"exit_code", code}}));
}

int run_doctor(const Asked& asked) {
  const ProcessEnvironment environment;
  const auto plan = make_doctor_plan(asked, environment);
  if (!plan) {
    fmt::print(stderr, "sollol doctor: {}\n", plan.error().detail);
    return exit_wrong_usage;
  }
  const auto facts = gather_facts(*plan, environment);
  if (!facts) {
    fmt::print(stderr, "sollol doctor: {}\n", facts.error().detail);
    return exit_wrong_usage;
  }
  const Findings findings = doctor::examine(*facts);
  const auto usable =
      static_cast<std::size_t>(std::ranges::count_if(facts->nodes, &doctor::NodeFact::usable));
  const auto wrong = std::ranges::count_if(findings, doctor::needs_mending);
  const int code = usable == 0 ? exit_no_node : wrong > 0 ? exit_failed : exit_done;
  if (asked.as_json) {
    print_json(findings, facts->nodes.size(), usable, code);
    return code;
  }
  print_table(findings);
  if (wrong == 0) {
    fmt::print("nothing needs mending\n");
  } else {
    fmt::print("{} thing{} need{} mending\n", wrong, wrong == 1 ? "" : "s", wrong == 1 ? "s" : "");
  }
  return code;
}

}  // namespace

void add_doctor_command(CLI::App& root, Action& chosen) {
  CLI::App* app = root.add_subcommand("doctor", std::string(help));
  auto asked = std::make_shared<Asked>();
  app->add_option("--gateway", asked->gateway,
                  "Where the gateway is; default SOLLOL_GATEWAY, OLLAMA_HOST, "
                  "http://127.0.0.1:11434, if one answers there")
      ->type_name("URL");
  app->add_flag("--no-gateway", asked->no_gateway, "Ask no gateway");
  app->add_flag("--no-scan", asked->no_scan, "Do not look at the network");
  app->add_option("--config", asked->config, "Read settings from this file instead of sollol.toml")
      ->type_name("FILE");
  app->add_option("--node-file", asked->node_file, "The node file to check")->type_name("FILE");
  app->add_flag("--no-node-file", asked->no_node_file, "Leave the node file unread");
  app->add_option("--subnet", asked->subnets,
                  "Look there and nowhere else: a private network or part of 127.0.0.0/8; repeat "
                  "for more")
      ->type_name("NETWORK")
      ->allow_extra_args(false);
  app->add_option("--port", asked->ports, "Ports to look at; repeat for more")
      ->type_name("PORT")
      ->allow_extra_args(false);
  app->add_option("--timeout", asked->timeout_s,
                  "How long an address may take to accept, and again to answer")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 60.0));
  app->add_flag("--exclude-localhost", asked->exclude_localhost, "Leave out 127.0.0.1");
  app->add_flag("--auto-resolve-docker,!--no-auto-resolve-docker", asked->auto_resolve_docker,
                "Ask Docker and Podman, where their sockets can be read, at which addresses their "
                "containers are reached; as the settings have it by default");
  app->add_flag("--json", asked->as_json, "Print the findings as JSON");
  app->callback([&chosen, asked] { chosen = [asked] { return run_doctor(*asked); }; });
}

}  // namespace sollol::cli

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdio>
#include <memory>
#include <thread>

#include "base/version.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/config_flags.h"
#include "cli/hand_over.h"
#include "cli/service.h"
#include "cli/systemd.h"
#include "cli/up_options.h"
#include "gateway/gateway.h"
#include "gateway/nodes.h"
#include "net/address.h"
#include "net/listening.h"
#include "sim/demo.h"
#include "sim/fleet.h"

namespace sollol::cli {
namespace {

constexpr std::string_view help =
    "Start the gateway: one port in front of all nodes. It serves Ollama's API, and OpenAI's and "
    "Anthropic's, and\n"
    "sends each request to the node that will finish it first.\n\n"
    "Examples:\n"
    "  sollol up --node http://192.168.1.20:11434 --node "
    "http://192.168.1.21:11434,name=attic,priority=1\n"
    "  sollol up --listen 0.0.0.0:11434\n"
    "  sollol up --demo            tries it out on simulated nodes, without any Ollama\n";

/// A gateway that takes over waits for its nodes' first answers, at most so long.
constexpr Duration nodes_known_within = std::chrono::seconds(5);

/// Why the port cannot be had, and the two ways out when an Ollama has it.
std::string port_taken(const Address& at, const Error& error) {
  const auto other = fetch({.method = "GET", .url = "http://" + to_string(at) + "/", .body = {}},
                           std::chrono::seconds(1));
  if (other && !other->node.empty()) {
    return fmt::format(
        "{0}: a sollol gateway serves there already. Two ways out:\n"
        "  1. replace it without losing a request:  sollol up --take-over ...\n"
        "  2. let this one have another port:       sollol up --listen 127.0.0.1:PORT ...",
        to_string(at));
  }
  if (!other || !other->body.contains("Ollama is running")) {
    return error.detail + "\n  choose another address with --listen 127.0.0.1:PORT";
  }
  return fmt::format(
      "{0}: an Ollama on this machine has the port. Two ways out:\n"
      "  1. let the gateway have another port:   sollol up --listen 127.0.0.1:11435 --node "
      "http://{0}\n"
      "     and point clients there:             export OLLAMA_HOST=127.0.0.1:11435\n"
      "  2. move that Ollama:                    OLLAMA_HOST=127.0.0.1:11437 ollama serve\n"
      "     and name it as a node:               sollol up --node http://127.0.0.1:11437",
      to_string(at));
}

void print_banner(const std::string& url, const std::vector<discovery::NodeSpec>& nodes,
                  const std::string& model, bool discovers) {
  fmt::print("sollol {}: listening on {}\n", version, url);
  for (const discovery::NodeSpec& node : nodes) {
    fmt::print("  node {:<20} {}  priority {}  ({})\n", node.name, node.url, node.priority,
               node.origin);
  }
  if (nodes.empty() && discovers) {
    fmt::print("  looking for nodes on this machine and its private networks\n");
  } else if (nodes.empty()) {
    fmt::print(
        "  no node yet: requests are answered 503 until one is added with `sollol nodes add "
        "http://HOST:11434`\n");
  }
  fmt::print(
      "Try it:\n  curl {}/api/generate -d '{{\"model\":\"{}\",\"prompt\":\"Why is the sky "
      "blue?\"}}'\n",
      url, model);
  std::fflush(stdout);
}

int fail(const Error& error) {
  fmt::print(stderr, "sollol up: {}\n", error.detail);
  return error.kind == ErrorKind::bad_input || error.kind == ErrorKind::not_found ? exit_wrong_usage
                                                                                  : exit_failed;
}

/// Starts the demonstration fleet and makes its nodes the gateway's.
std::unique_ptr<sim::Fleet> start_demo(std::vector<discovery::NodeSpec>& nodes) {
  auto fleet = std::make_unique<sim::Fleet>(sim::demo_fleet());
  fmt::print(
      "No node is configured: this is a demonstration on SIMULATED nodes. Their text is made "
      "up.\n");
  for (const std::string& name : fleet->names()) {
    auto node = discovery::parse_node_url(fleet->url(name));
    if (!node) continue;
    node->name = name;
    node->origin = "simulated";
    nodes.push_back(std::move(*node));
  }
  return fleet;
}

void say_all(const std::vector<std::string>& warnings) {
  for (const std::string& warning : warnings) spdlog::warn("{}", warning);
}

void put_nodes(Plan& plan, const std::vector<discovery::NodeSpec>& simulated) {
  plan.nodes.insert(plan.nodes.end(), simulated.begin(), simulated.end());
  for (const discovery::NodeSpec& node : plan.nodes)
    plan.options.nodes.push_back(gateway::to_node_info(node));
}

/// SIGHUP: all that was read at the start is read again. A mistake anywhere leaves all as it was.
void reload(gateway::Gateway& gateway, const UpArguments& arguments, const LoadOptions& load,
            const std::vector<discovery::NodeSpec>& simulated) {
  constexpr std::string_view unchanged = "reload: {}\n  nothing has changed";
  auto plan = make_plan(ProcessEnvironment(), load, arguments);
  if (!plan) return spdlog::error(unchanged, plan.error().detail);
  if (!plan->mistakes.empty())
    return spdlog::error(unchanged, fmt::to_string(fmt::join(plan->mistakes, "\n  ")));
  say_all(plan->warnings);
  put_nodes(*plan, simulated);
  const auto waiting = gateway.reload(std::move(plan->options));
  if (!waiting) return spdlog::error(unchanged, waiting.error().detail);
  spdlog::set_level(spdlog::level::from_str(plan->log_level));
  if (!waiting->empty()) {
    spdlog::warn(
        "reload: {} changed, which takes a restart (`sollol up --take-over` loses nothing)",
        fmt::join(*waiting, ", "));
  }
}

/// Waits until the new gateway knows its nodes as well as the old one does, but not for ever.
void wait_for_nodes(gateway::Gateway& gateway) {
  const auto limit = std::chrono::steady_clock::now() + nodes_known_within;
  while (!gateway.nodes_known() && std::chrono::steady_clock::now() < limit)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
}

struct Started {
  Address at;
  gateway::Worker::Sockets sockets = gateway::Worker::Sockets::ours;
};

/// Starts on the sockets of the gateway that is in charge, which stops accepting after that.
Result<Started> take_over(gateway::Gateway& gateway, TakeOver& previous) {
  if (const auto saved = previous.prepare(); !saved) return std::unexpected(saved.error());
  if (const auto prepared = gateway.prepare(); !prepared) return std::unexpected(prepared.error());
  wait_for_nodes(gateway);
  auto sockets = previous.sockets();
  if (!sockets) return std::unexpected(sockets.error());
  const auto held =
      sockets->held_elsewhere ? gateway::Worker::Sockets::shared : gateway::Worker::Sockets::ours;
  const auto bound = gateway.start(std::move(sockets->descriptors));
  if (!bound) return std::unexpected(bound.error());
  if (const auto told = previous.serving(); !told) spdlog::warn("{}", told.error().detail);
  spdlog::info("took over {} from process {}", to_string(*bound), previous.pid());
  return Started{*bound, held};
}

Result<Started> start(gateway::Gateway& gateway, const Address& listen, bool may_take_over) {
  if (std::vector<int> passed = activated_sockets(ProcessEnvironment()); !passed.empty()) {
    const auto bound = gateway.start(std::move(passed));
    if (!bound) return std::unexpected(bound.error());
    return Started{*bound, gateway::Worker::Sockets::shared};
  }
  if (may_take_over) {
    auto previous = TakeOver::connect(listen);
    if (!previous) return std::unexpected(previous.error());
    if (*previous) return take_over(gateway, **previous);
    spdlog::info("nobody to take over from at {}: starting as usual", to_string(listen));
  }
  const auto bound = gateway.start();
  if (!bound) return std::unexpected(bound.error());
  return Started{*bound};
}

int run_up(const UpArguments& arguments, const LoadOptions& load) {
  const ProcessEnvironment environment;
  auto plan = make_plan(environment, load, arguments);
  if (!plan) return fail(plan.error());
  spdlog::set_default_logger(spdlog::stderr_color_mt("sollol"));
  spdlog::set_level(spdlog::level::from_str(plan->log_level));
  say_all(plan->warnings);
  say_all(plan->mistakes);
  if (!plan->file.empty()) spdlog::info("settings from {}", plan->file);
  block_signals();
  net::raise_descriptor_limit();
  std::unique_ptr<sim::Fleet> demo;
  std::vector<discovery::NodeSpec> simulated;
  if (arguments.demo && plan->nodes.empty()) {
    demo = start_demo(simulated);
    plan->options.state.file.clear();  // what is learnt of made-up nodes is worth nothing
  }
  put_nodes(*plan, simulated);
  const Address wanted = plan->options.listen;
  const bool keys = !plan->options.access.keys_file.empty();
  const bool discovers = plan->options.discovery.enabled;
  const bool secured = !plan->options.tls.certificate_file.empty();
  if (!net::is_loopback(wanted)) {
    if (!keys) {
      spdlog::warn(
          "LISTENING ON {} WITHOUT API KEYS: whoever reaches this address can use the nodes, "
          "change "
          "their models and take nodes out; make keys with `sollol keys add NAME` and name their "
          "file with --keys-file",
          to_string(wanted));
    } else if (!secured) {
      spdlog::warn(
          "listening on {} without TLS: keys and prompts can be read on the way (--tls-cert, "
          "--tls-key)",
          to_string(wanted));
    }
  }
  gateway::Gateway gateway(std::move(plan->options));
  const Result<Started> started = start(gateway, wanted, arguments.take_over);
  if (!started) {
    const bool taken = started.error().kind == ErrorKind::refused && !arguments.take_over;
    fmt::print(stderr, "sollol up: {}\n",
               taken ? port_taken(wanted, started.error()) : started.error().detail);
    return exit_failed;
  }
  print_banner((secured ? "https://" : "http://") + to_string(started->at), plan->nodes, "llama3.2",
               discovers);
  const ServiceManager manager(environment);
  return serve(gateway, started->at, started->sockets, manager,
               {.reload = [&] { reload(gateway, arguments, load, simulated); },
                .drain_timeout = [&] { return gateway.drain_timeout(); }});
}

}  // namespace

void add_up_command(CLI::App& root, Action& chosen) {
  CLI::App* up = root.add_subcommand("up", "Start the gateway");
  up->description(std::string(help));
  auto arguments = std::make_shared<UpArguments>();
  auto config = std::make_shared<std::string>();
  up->add_option("--node", arguments->nodes,
                 "A node: URL[,name=NAME][,priority=N][,slots=N][,host=MACHINE][,device=GPU]"
                 "[,mac=MAC][,wake=true]; "
                 "repeat for more. Lower priority "
                 "is preferred")
      ->type_name("URL")
      ->allow_extra_args(false);
  up->add_option("--config", *config, "Read settings from this file instead of sollol.toml")
      ->type_name("FILE");
  up->add_flag_callback(
      "--no-node-file", [arguments] { arguments->use_node_file = false; },
      "Leave the node file unread");
  up->add_flag("--demo", arguments->demo,
               "When no node is configured, serve a built-in fleet of simulated nodes");
  up->add_flag("--take-over", arguments->take_over,
               "Replace the gateway that serves this address, without a refused connection: it "
               "passes its sockets on and finishes what it has");
  const auto flags = add_setting_flags(*up);
  up->callback([&chosen, arguments, config, flags] {
    chosen = [arguments, config, flags] {
      LoadOptions load{.flags = *flags};
      if (!config->empty()) load.config_file = *config;
      return run_up(*arguments, load);
    };
  });
}

}  // namespace sollol::cli

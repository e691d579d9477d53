#include <fmt/format.h>
#include <signal.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <sys/resource.h>

#include <cstdio>
#include <memory>

#include "base/version.h"
#include "cli/client.h"
#include "cli/command.h"
#include "cli/config_flags.h"
#include "cli/up_options.h"
#include "gateway/gateway.h"
#include "gateway/nodes.h"
#include "net/address.h"
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

/// Why the port cannot be had, and the two ways out when an Ollama has it.
std::string port_taken(const Address& at, const Error& error) {
  const auto other = fetch({.method = "GET", .url = "http://" + to_string(at) + "/", .body = {}},
                           std::chrono::seconds(1));
  if (!other || !other->body.contains("Ollama is running")) {
    return error.detail + "\n  choose another address with --listen 127.0.0.1:PORT";
  }
  return fmt::format(
      "{0}: an Ollama on this machine has the port. Two ways out:\n"
      "  1. let the gateway have another port:   sollol up --listen 127.0.0.1:11435 --node "
      "http://{0}\n"
      "     and point clients there:             export OLLAMA_HOST=127.0.0.1:11435\n"
      "  2. move that Ollama:                    OLLAMA_HOST=127.0.0.1:11436 ollama serve\n"
      "     and name it as a node:               sollol up --node http://127.0.0.1:11436",
      to_string(at));
}

void print_banner(const Address& at, const std::vector<discovery::NodeSpec>& nodes,
                  const std::string& model) {
  fmt::print("sollol {}: listening on http://{}\n", version, to_string(at));
  for (const discovery::NodeSpec& node : nodes) {
    fmt::print("  node {:<20} {}  priority {}  ({})\n", node.name, node.url, node.priority,
               node.origin);
  }
  if (nodes.empty()) {
    fmt::print(
        "  no node yet: requests are answered 503 until one is added with `sollol nodes add "
        "http://HOST:11434`\n");
  }
  fmt::print(
      "Try it:\n  curl http://{}/api/generate -d '{{\"model\":\"{}\",\"prompt\":\"Why is the sky "
      "blue?\"}}'\n",
      to_string(at), model);
  std::fflush(stdout);
}

int wait_for_signal() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  int got = 0;
  sigwait(&signals, &got);
  return got;
}

/// Every stream takes two descriptors; the soft limit of most systems is 1,024.
void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

void block_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  // Before any thread starts: every thread inherits it and only sigwait takes them.
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
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

int run_up(const UpArguments& arguments, const LoadOptions& load) {
  const ProcessEnvironment environment;
  const auto loaded = load_settings(environment, load);
  if (!loaded) return fail(loaded.error());
  spdlog::set_default_logger(spdlog::stderr_color_mt("sollol"));
  spdlog::set_level(spdlog::level::from_str(loaded->settings.log.level));
  auto options = gateway_options(loaded->settings);
  if (!options) return fail(options.error());
  auto known = known_nodes(loaded->settings, arguments, environment);
  if (!known) return fail(known.error());
  for (const std::string& warning : known->warnings) spdlog::warn("{}", warning);
  if (!loaded->file.empty()) spdlog::info("settings from {}", loaded->file);
  if (loaded->settings.slots > 0) {
    for (discovery::NodeSpec& node : known->nodes) {
      if (!node.slots) node.slots = static_cast<std::uint32_t>(loaded->settings.slots);
    }
  }
  block_signals();
  raise_descriptor_limit();
  std::unique_ptr<sim::Fleet> demo;
  if (arguments.demo && known->nodes.empty()) demo = start_demo(known->nodes);
  for (const discovery::NodeSpec& node : known->nodes)
    options->nodes.push_back(gateway::to_node_info(node));
  if (!net::is_loopback(options->listen)) {
    spdlog::warn("listening on {}: whoever reaches this address can use the nodes",
                 to_string(options->listen));
  }
  const Address wanted = options->listen;
  gateway::Gateway gateway(std::move(*options));
  const Result<Address> bound = gateway.start();
  if (!bound) {
    fmt::print(stderr, "sollol up: {}\n",
               bound.error().kind == ErrorKind::refused ? port_taken(wanted, bound.error())
                                                        : bound.error().detail);
    return exit_failed;
  }
  print_banner(*bound, known->nodes, "llama3.2");
  const int signal_number = wait_for_signal();
  spdlog::info("signal {}: stopping", signal_number);
  gateway.stop();
  return exit_done;
}

}  // namespace

void add_up_command(CLI::App& root, Action& chosen) {
  CLI::App* up = root.add_subcommand("up", "Start the gateway");
  up->description(std::string(help));
  auto arguments = std::make_shared<UpArguments>();
  auto config = std::make_shared<std::string>();
  up->add_option("--node", arguments->nodes,
                 "A node: URL[,name=NAME][,priority=N][,slots=N]; repeat for more. Lower priority "
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

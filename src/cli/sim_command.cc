#include <fmt/format.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): sigtimedwait is POSIX
#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstdio>
#include <fstream>
#include <memory>
#include <sstream>

#include "cli/command.h"
#include "sim/control_server.h"
#include "sim/faults.h"
#include "sim/fleet.h"
#include "sim/fleet_file.h"
#include "sim/go_json.h"

namespace sollol::cli {
namespace {

constexpr std::size_t nodes_max = 10'000;

struct SimArguments {
  std::string fleet_file;
  std::size_t nodes = 3;
  std::string subnet = "127.0.1";
  std::uint16_t port = 11434;
  std::vector<std::string> models;
  std::optional<double> decode_rate, prefill_rate, time_scale;
  std::string load_time, duration, control;
  std::optional<std::uint32_t> slots;
  std::vector<std::string> faults;
  bool allow_remote = false;  // as CLI11 fills it
  bool print_fleet = false;
};

constexpr std::string_view footer = R"(
Each node is a real HTTP server that answers as Ollama does: it loads models, queues, streams tokens
at the speed you give it, evicts, fails when told to. The text it writes is made up. Nothing needs a
GPU or a model on disk.

Examples:
  sollol sim                                     three nodes, 127.0.1.1 to 127.0.1.3, port 11434
  curl http://127.0.1.1:11434/api/generate -d '{"model":"llama3.2","prompt":"Hello"}'

  sollol sim --nodes 10 --model qwen3:4b --decode-rate 40 --slots 2
  sollol sim --fault node2=die_after_tokens:20   node2 resets every answer after 20 tokens
  sollol sim --print-fleet > fleet.toml          a file to change ...
  sollol sim --fleet fleet.toml                  ... and to run
  sollol up --node http://127.0.1.1:11434 --node http://127.0.1.2:11434
                                                 the gateway in front of them

The fleet file and the faults are described in docs/sim.md.)";

int fail(std::string_view message, int code = exit_wrong_usage) {
  fmt::print(stderr, "sollol sim: {}\n", message);
  return code;
}

/// N equal nodes: 127.0.1.1, 127.0.1.2, ... and 127.0.2.1 after 127.0.1.254.
Result<sim::FleetConfig> quick_fleet(const SimArguments& arguments) {
  if (arguments.nodes == 0 || arguments.nodes > nodes_max) {
    return std::unexpected(bad_input(fmt::format("--nodes must be between 1 and {}", nodes_max)));
  }
  boost::system::error_code error;
  const auto first = boost::asio::ip::make_address_v4(arguments.subnet + ".1", error);
  if (error)
    return std::unexpected(bad_input(
        fmt::format("--subnet '{}' must be three numbers such as 127.0.1", arguments.subnet)));
  sim::FleetConfig fleet{.time_scale = 1};
  for (std::size_t i = 0; i < arguments.nodes; ++i) {
    constexpr std::size_t per_subnet = 254;
    const auto address =
        first.to_uint() + static_cast<std::uint32_t>(i / per_subnet * 256 + i % per_subnet);
    fleet.nodes.push_back(
        {.name = fmt::format("node{}", i + 1),
         .address = fmt::format("{}:{}", boost::asio::ip::address_v4(address).to_string(),
                                arguments.port)});
    for (const auto& model : arguments.models) fleet.nodes.back().models.push_back({.name = model});
    if (arguments.models.empty()) fleet.nodes.back().models = {{.name = "llama3.2"}};
  }
  return fleet;
}

Result<sim::FleetConfig> load_fleet(const SimArguments& arguments) {
  if (arguments.fleet_file.empty()) return quick_fleet(arguments);
  std::ifstream file(arguments.fleet_file);
  if (!file) return std::unexpected(bad_input(fmt::format("cannot read {}", arguments.fleet_file)));
  std::ostringstream text;
  text << file.rdbuf();
  return sim::read_fleet(text.str(), arguments.fleet_file);
}

/// "node=kind:parameter", or "kind:parameter" for all nodes.
Result<void> add_fault(sim::FleetConfig& fleet, std::string_view text) {
  const auto equals = text.find('=');
  const auto name = equals == text.npos ? std::string_view{} : text.substr(0, equals);
  const auto fault = sim::parse_fault(equals == text.npos ? text : text.substr(equals + 1));
  if (!fault) return std::unexpected(fault.error());
  bool found = false;
  for (auto& node : fleet.nodes) {
    if (!name.empty() && node.name != name) continue;
    node.faults.push_back(*fault);
    found = true;
  }
  if (!found)
    return std::unexpected(
        bad_input(fmt::format("--fault {}: no node is called '{}'", text, name)));
  return {};
}

/// Flags that change every model or node, also those of a fleet file.
Result<void> apply_flags(const SimArguments& arguments, sim::FleetConfig& fleet) {
  Duration load_time{};
  if (!arguments.load_time.empty()) {
    const auto parsed = sim::parse_go_duration(arguments.load_time);
    if (!parsed)
      return std::unexpected(bad_input(
          fmt::format("--load-time '{}' must be a time such as 2s or 300ms", arguments.load_time)));
    load_time = *parsed;
  }
  if (arguments.time_scale) fleet.time_scale = *arguments.time_scale;
  for (auto& node : fleet.nodes) {
    if (arguments.slots) node.slots = *arguments.slots;
    for (auto& model : node.models) {
      if (arguments.decode_rate) model.decode_tokens_per_s = *arguments.decode_rate;
      if (arguments.prefill_rate) model.prefill_tokens_per_s = *arguments.prefill_rate;
      if (load_time > Duration::zero()) model.load_time = load_time;
    }
  }
  for (const auto& fault : arguments.faults) {
    if (auto added = add_fault(fleet, fault); !added) return added;
  }
  return {};
}

/// Addresses that other machines can reach are refused unless they are asked for.
std::string remote_refusal(std::string_view what, std::string_view address) {
  return fmt::format(
      "{} would listen at {}, which other machines can reach; use an address of 127.0.0.0/8, or "
      "allow it with --allow-remote",
      what, address);
}

bool on_loopback(std::string_view url) {
  const auto host = url.substr(std::string_view("http://").size());
  return host.starts_with("127.") || host.starts_with("[::1]");
}

/// Waits for SIGINT or SIGTERM, at most `limit` when it is given.
void wait_for_end(const sigset_t& signals, std::optional<Duration> limit) {
  if (!limit) {
    int signal = 0;
    sigwait(&signals, &signal);
    return;
  }
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(*limit);
  const timespec timeout{.tv_sec = seconds.count(),
                         .tv_nsec = std::chrono::nanoseconds(*limit - seconds).count()};
  sigtimedwait(&signals, nullptr, &timeout);
}

/// A connection is a file descriptor: takes as many as the system gives.
void raise_file_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

int serve(const SimArguments& arguments, sim::FleetConfig config) {
  std::optional<Duration> limit;
  if (!arguments.duration.empty()) {
    const auto parsed = sim::parse_go_duration(arguments.duration);
    if (!parsed || *parsed < Duration::zero())
      return fail(
          fmt::format("--duration '{}' must be a time such as 30s or 5m", arguments.duration));
    limit = *parsed;
  }
  sigset_t signals;  // blocked before the fleet's thread starts, so that they come to this one
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  raise_file_limit();
  try {
    sim::Fleet fleet(std::move(config));
    for (const auto& name : fleet.names())
      fmt::print("simulated node {} at {}\n", name, fleet.url(name));
    std::optional<sim::ControlServer> control;
    if (!arguments.control.empty()) {
      control.emplace(fleet, arguments.control);
      fmt::print("control at {}\n", control->url());
    }
    fmt::print("sollol sim: {} simulated nodes ready\n", fleet.names().size());
    std::fflush(stdout);
    wait_for_end(signals, limit);
  } catch (const std::exception& error) {
    return fail(
        fmt::format("{}. Give other addresses with --subnet or --port, or in the fleet file.",
                    error.what()),
        exit_failed);
  }
  return exit_done;
}

int run_sim(const SimArguments& arguments) {
  auto fleet = load_fleet(arguments);
  if (!fleet) return fail(fleet.error().detail);
  if (const auto applied = apply_flags(arguments, *fleet); !applied)
    return fail(applied.error().detail);
  if (arguments.print_fleet) {
    fmt::print("{}", sim::to_toml(*fleet));
    return exit_done;
  }
  for (const auto& node : fleet->nodes) {
    if (arguments.allow_remote || node.address.empty() || on_loopback("http://" + node.address))
      continue;
    return fail(remote_refusal(fmt::format("node {}", node.name), node.address));
  }
  if (!arguments.control.empty() && !arguments.allow_remote &&
      !on_loopback("http://" + arguments.control))
    return fail(remote_refusal("--control", arguments.control));
  return serve(arguments, std::move(*fleet));
}

}  // namespace

void add_sim_command(CLI::App& root, Action& chosen) {
  auto arguments = std::make_shared<SimArguments>();
  auto* command = root.add_subcommand(
      "sim", "Run simulated Ollama nodes, for demonstrations, tests and capacity planning");
  auto* file = command->add_option("--fleet", arguments->fleet_file,
                                   "A TOML file that describes the nodes (docs/sim.md)");
  command
      ->add_option("--nodes", arguments->nodes, "How many equal nodes to run without a fleet file")
      ->capture_default_str()
      ->excludes(file);
  command
      ->add_option("--subnet", arguments->subnet, "Their addresses: the first node is at SUBNET.1")
      ->capture_default_str()
      ->excludes(file);
  command->add_option("--port", arguments->port, "Their port; 0 takes free ones")
      ->capture_default_str()
      ->excludes(file);
  command
      ->add_option("--model", arguments->models,
                   "A model that each has; may be repeated (default: llama3.2)")
      ->excludes(file);
  command
      ->add_option("--decode-rate", arguments->decode_rate,
                   "Tokens per second that a model generates (default: 100)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--prefill-rate", arguments->prefill_rate,
                   "Prompt tokens per second that a model reads (default: 2000)")
      ->check(CLI::PositiveNumber);
  command->add_option("--load-time", arguments->load_time,
                      "How long loading a model takes, such as 2s (default: by its size)");
  command
      ->add_option(
          "--slots", arguments->slots,
          "Requests that a model answers at once, Ollama's OLLAMA_NUM_PARALLEL (default: 1)")
      ->check(CLI::PositiveNumber);
  command
      ->add_option("--time-scale", arguments->time_scale,
                   "Simulated seconds per real second (default: 1)")
      ->check(CLI::PositiveNumber);
  command->add_option("--fault", arguments->faults,
                      "NODE=KIND[:NUMBER], or KIND[:NUMBER] for all; may be repeated. Kinds: " +
                          sim::fault_names());
  command->add_option("--duration", arguments->duration,
                      "Stop after this time, such as 30s (default: run until Ctrl-C)");
  command->add_option("--control", arguments->control,
                      "An address, such as 127.0.0.1:8000, at which the fleet's counters are shown "
                      "and nodes are killed, restarted and given faults (docs/sim.md)");
  command->add_flag("--allow-remote", arguments->allow_remote,
                    "Allow addresses that other machines can reach");
  command->add_flag("--print-fleet", arguments->print_fleet,
                    "Print the fleet as a TOML file and end");
  command->footer(std::string(footer));
  command->callback([arguments, &chosen] { chosen = [arguments] { return run_sim(*arguments); }; });
}

}  // namespace sollol::cli

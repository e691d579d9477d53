// `sollol multi-gpu`: systemd units for one Ollama per GPU.
#include <fmt/format.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>

#include "agent/gpus.h"
#include "agent/machine.h"
#include "agent/multi_gpu.h"
#include "base/environment.h"
#include "cli/command.h"
#include "cli/config.h"
#include "discovery/files.h"
#include "discovery/node_file.h"
#include "net/network.h"

namespace sollol::cli {
namespace {

namespace json = boost::json;

struct MultiGpuArguments {
  agent::MultiGpuOptions options = {};
  std::vector<std::string> gpus;
  agent::GpuLibraries libraries = {};
  std::string unit_dir = "/etc/systemd/system";
  std::string node_file, config;
  bool install = false;
  bool register_nodes = false;
  bool as_json = false;
};

constexpr std::string_view footer = R"(
One Ollama that sees all GPUs answers one model's requests from one queue. One Ollama per GPU is real
parallelism: each has its own port, GPU and queue, and all share one folder of models. A gateway counts
such nodes as independent. A model that needs several GPUs is better off with one Ollama for all.

Examples:
  sollol multi-gpu                               print the units
  sudo sollol multi-gpu --install --register     write them, and the nodes into the node file
  sudo systemctl daemon-reload && sudo systemctl enable --now ollama-gpu0 ollama-gpu1
  sollol multi-gpu --gpus GPU-1f2e3d4c-...,GPU-...   GPUs that are named by hand)";

int fail(std::string_view message, int code = exit_wrong_usage) {
  fmt::print(stderr, "sollol multi-gpu: {}\n", message);
  return code;
}

Result<std::vector<agent::Gpu>> find_gpus(const MultiGpuArguments& arguments) {
  if (arguments.gpus.empty()) {
    auto reading = agent::Gpus(arguments.libraries).read();
    if (reading.gpus.empty())
      for (const auto& note : reading.notes) fmt::print(stderr, "sollol multi-gpu: {}\n", note);
    return std::move(reading.gpus);
  }
  std::vector<agent::Gpu> gpus;
  for (const auto& text : arguments.gpus) {
    auto gpu = agent::parse_gpu(text);
    if (!gpu) return std::unexpected(gpu.error());
    gpus.push_back(*std::move(gpu));
  }
  return gpus;
}

/// What was not given, from the machine itself.
void complete(agent::MultiGpuOptions& options) {
  const auto machine = agent::read_machine();
  if (options.host.empty()) options.host = machine.hostname;
  if (options.address.empty() && net::is_ip(options.listen) && options.listen != "0.0.0.0" &&
      options.listen != "::")
    options.address = options.listen;
  for (const auto& address : machine.addresses)
    if (options.address.empty() && !address.contains(':')) options.address = address;
  if (options.address.empty()) options.address = "127.0.0.1";
}

Result<std::string> node_file_path(const MultiGpuArguments& arguments) {
  const ProcessEnvironment environment;
  if (!arguments.node_file.empty()) return discovery::expand_home(arguments.node_file, environment);
  LoadOptions options;
  if (!arguments.config.empty()) options.config_file = arguments.config;
  const auto loaded = load_settings(environment, options);
  if (!loaded) return std::unexpected(loaded.error());
  if (loaded->settings.node_file.empty())
    return std::unexpected(bad_input("no node file is set; name one with --node-file FILE"));
  return discovery::expand_home(loaded->settings.node_file, environment);
}

/// Puts the nodes into the node file, with the words that make their devices known.
Result<std::string> register_units(const MultiGpuArguments& arguments,
                                   const std::vector<agent::GpuUnit>& units) {
  const auto path = node_file_path(arguments);
  if (!path) return path;
  auto file = discovery::NodeFile::load(*path);
  if (!file && file.error().kind != ErrorKind::not_found) return std::unexpected(file.error());
  auto nodes = file ? *std::move(file) : discovery::NodeFile::empty(*path);
  for (const auto& unit : units) {
    auto node = discovery::parse_node_url(unit.url);
    if (!node) return std::unexpected(node.error());
    const auto key = discovery::address_key(*node);
    // Priority and slots that somebody gave it are kept.
    for (const auto& known : nodes.nodes()) {
      if (discovery::address_key(known) != key) continue;
      node->priority = known.priority;
      node->slots = known.slots;
    }
    node->name = unit.name;
    node->physical_host = arguments.options.host;
    node->device = unit.uuid;
    nodes.put(*node);
  }
  const auto saved = nodes.save();
  if (!saved) return std::unexpected(saved.error());
  return *path;
}

Result<void> install_units(const MultiGpuArguments& arguments,
                           const std::vector<agent::GpuUnit>& units) {
  for (const auto& unit : units) {
    const auto path = arguments.unit_dir + "/" + unit.file;
    const auto written = discovery::write_file_atomically(path, unit.text);
    if (!written) return written;
    if (!arguments.as_json) fmt::print("wrote {}\n", path);
  }
  return {};
}

void print_json(const MultiGpuArguments& arguments, const std::vector<agent::GpuUnit>& units) {
  json::array list;
  for (const auto& unit : units) {
    list.push_back(json::object{{"file", unit.file},
                                {"name", unit.name},
                                {"url", unit.url},
                                {"port", unit.port},
                                {"host", arguments.options.host},
                                {"device", unit.uuid},
                                {"unit", unit.text}});
  }
  fmt::print("{}\n", json::serialize(list));
}

void print_units(const std::vector<agent::GpuUnit>& units) {
  for (const auto& unit : units) fmt::print("# --- {}\n{}\n", unit.file, unit.text);
}

void print_next_step(const MultiGpuArguments& arguments, const std::vector<agent::GpuUnit>& units) {
  std::string names;
  for (const auto& unit : units) names += " " + unit.file;
  if (arguments.install)
    fmt::print("Start them:  systemctl daemon-reload && systemctl enable --now{}\n", names);
  for (const auto& unit : units)
    fmt::print("# node {} at {} with {}\n", unit.name, unit.url, unit.uuid);
}

int run_multi_gpu(MultiGpuArguments& arguments) {
  const auto gpus = find_gpus(arguments);
  if (!gpus) return fail(gpus.error().detail);
  complete(arguments.options);
  const auto units = agent::plan_units(*gpus, arguments.options);
  if (!units) return fail(units.error().detail, gpus->empty() ? exit_failed : exit_wrong_usage);
  if (arguments.install) {
    const auto installed = install_units(arguments, *units);
    if (!installed) return fail(installed.error().detail, exit_failed);
  } else if (!arguments.as_json) {
    print_units(*units);
  }
  if (arguments.register_nodes) {
    const auto path = register_units(arguments, *units);
    if (!path) return fail(path.error().detail, exit_failed);
    if (!arguments.as_json) fmt::print("registered {} nodes in {}\n", units->size(), *path);
  }
  if (arguments.as_json)
    print_json(arguments, *units);
  else
    print_next_step(arguments, *units);
  return exit_done;
}

void add_unit_flags(CLI::App& command, agent::MultiGpuOptions& options) {
  command.add_option("--base-port", options.base_port, "The first GPU's port; the next follow")
      ->type_name("PORT")
      ->capture_default_str();
  command.add_option("--listen", options.listen, "Where each Ollama listens")
      ->type_name("IP")
      ->capture_default_str();
  command
      .add_option("--address", options.address,
                  "How other machines reach this one; default its first IPv4 address")
      ->type_name("ADDRESS");
  command.add_option("--host", options.host, "What to call this machine; default its host name")
      ->type_name("NAME");
  command.add_option("--models", options.models, "OLLAMA_MODELS of all")
      ->type_name("FOLDER")
      ->capture_default_str();
  command.add_option("--ollama", options.program, "The program")
      ->type_name("FILE")
      ->capture_default_str();
  command.add_option("--user", options.user, "Who runs it")
      ->type_name("USER")
      ->capture_default_str();
  command.add_option("--prefix", options.prefix, "What the units' names start with")
      ->type_name("NAME")
      ->capture_default_str();
}

}  // namespace

void add_multi_gpu_command(CLI::App& root, Action& chosen) {
  auto* command = root.add_subcommand("multi-gpu", "systemd units for one Ollama per GPU");
  command->footer(std::string(footer));
  auto arguments = std::make_shared<MultiGpuArguments>();
  command
      ->add_option("--gpus", arguments->gpus,
                   "GPU-UUID or amd:GPU-UUID of each; default those that the driver tells of")
      ->delimiter(',')
      ->type_name("UUID,...");
  add_unit_flags(*command, arguments->options);
  command->add_flag("--install", arguments->install, "Write the units instead of printing them");
  command->add_option("--unit-dir", arguments->unit_dir, "Where to write them")
      ->type_name("FOLDER")
      ->capture_default_str();
  command->add_flag("--register", arguments->register_nodes,
                    "Add the nodes to the node file, with their machine and device");
  command
      ->add_option("--node-file", arguments->node_file, "That file; default the setting node_file")
      ->type_name("FILE");
  command->add_option("--config", arguments->config, "The sollol.toml to take the setting from")
      ->type_name("FILE");
  command->add_flag("--json", arguments->as_json, "Print the plan as JSON");
  command->add_option("--nvml", arguments->libraries.nvml, "NVIDIA's NVML library")
      ->type_name("FILE");
  command->add_option("--rocm-smi", arguments->libraries.rocm, "AMD's ROCm SMI library")
      ->type_name("FILE");
  command->callback(
      [arguments, &chosen] { chosen = [arguments] { return run_multi_gpu(*arguments); }; });
}

}  // namespace sollol::cli

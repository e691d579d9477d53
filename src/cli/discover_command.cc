// sollol discover: looks for nodes and prints them as they come.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <cstdio>
#include <memory>
#include <utility>

#include "cli/command.h"
#include "cli/config.h"
#include "discovery/discover.h"
#include "discovery/files.h"
#include "net/listening.h"
#include "net/mdns.h"

namespace sollol::cli {

namespace json = boost::json;
using discovery::DiscoveredNode;
using discovery::Discovery;
using discovery::Found;
using discovery::NodeCollector;
using discovery::ScanOptions;

namespace {

constexpr std::string_view help =
    "Finds the Ollama servers of this machine and of its private networks, and prints each as it "
    "is found.\n\n"
    "Examples:\n"
    "  sollol discover\n"
    "  sollol discover --subnet 192.168.4.0/22 --port 11434 --port 11435\n"
    "  sollol discover --json\n";

struct Asked {
  ScanOptions options;
  double timeout_s = 0.5;
  bool as_json = false;
  bool verbose = false;
  std::vector<std::string> sources;
  std::string save_to;  // a node file; empty: nowhere
};

std::string where(const DiscoveredNode& node) {
  if (!node.container.empty()) return fmt::format("container {}", node.container);
  if (!node.container_network.empty()) return "container (" + node.container_network + ")";
  if (node.on_this_machine) return "this machine";
  return node.mac.empty() ? "network" : "neighbour " + node.mac;
}

void print_heading() {
  fmt::print("{:<24} {:<12} {:>6} {:>7} {:>6}  {}\n", "ADDRESS", "VERSION", "MODELS", "RTT ms",
             "AT ms", "WHERE");
}

void print_row(const DiscoveredNode& node, Duration after) {
  fmt::print("{:<24} {:<12} {:>6} {:>7.1f} {:>6.0f}  {}\n", to_string(node.address), node.version,
             node.models.size(), to_seconds(node.round_trip) * 1000, to_seconds(after) * 1000,
             where(node));
  std::fflush(stdout);
}

std::vector<std::string_view> source_texts(const DiscoveredNode& node) {
  std::vector<std::string_view> texts;
  for (const discovery::Source source : node.sources) texts.push_back(text(source));
  return texts;
}

void print_summary(const Asked& asked, const Discovery& found) {
  for (const DiscoveredNode& node : found.nodes)
    for (const std::string& reason : node.same) fmt::print("  {}\n", reason);
  if (asked.verbose) {
    for (const DiscoveredNode& node : found.nodes)
      fmt::print("  {}: named by {}\n", to_string(node.address),
                 fmt::join(source_texts(node), ", "));
    for (const std::string& note : found.notes) fmt::print("  {}\n", note);
  }
  std::vector<std::string> networks;
  for (const auto& range : found.ranges)
    networks.push_back(fmt::format("{} ({})", range.network, range.source));
  const bool named = !asked.options.subnets.empty();
  fmt::print("{} node{} in {:.2f} s; {} addresses tried: {}{}\n", found.nodes.size(),
             found.nodes.size() == 1 ? "" : "s", to_seconds(found.figures.took),
             found.figures.tried,
             named              ? ""
             : networks.empty() ? "this machine"
                                : "this machine, its neighbours, ",
             fmt::join(networks, ", "));
  for (const auto& skipped : found.skipped)
    fmt::print("  not scanned: {}: {}\n", skipped.network, skipped.reason);
  if (found.figures.unsent > 0)
    fmt::print("  {} addresses were not tried: no file descriptor was left; raise `ulimit -n`\n",
               found.figures.unsent);
  for (const Found& other : found.others) {
    if (other.what == Found::What::gateway) {
      fmt::print("  {}: a SOLLOL gateway, no node\n", to_string(other.address));
    } else if (asked.verbose) {
      fmt::print(
          "  {}: no Ollama: {}\n", to_string(other.address),
          other.what == Found::What::silent ? "accepts and says nothing in time" : other.says);
    }
  }
  if (found.nodes.empty()) {
    fmt::print(
        "No node was found. Ollama listens on 127.0.0.1 alone unless it is started with "
        "OLLAMA_HOST=0.0.0.0;\nother ports are looked at with --port, other networks with "
        "--subnet.\n`sollol doctor` tells what is in the way.\n");
  }
}

json::array to_json(const Discovery& found) {
  json::array nodes;
  for (const DiscoveredNode& node : found.nodes) {
    json::array models;
    for (const auto& model : node.models) models.emplace_back(model.name);
    json::array others;
    for (const Address& other : node.others) others.emplace_back(to_string(other));
    json::array sources;
    for (const auto source : source_texts(node)) sources.emplace_back(source);
    nodes.push_back(json::object{{"host", node.address.ip},
                                 {"port", std::to_string(node.address.port)},
                                 {"url", "http://" + to_string(node.address)},
                                 {"version", node.version},
                                 {"models", std::move(models)},
                                 {"round_trip_s", to_seconds(node.round_trip)},
                                 {"this_machine", node.on_this_machine},
                                 {"container_network", node.container_network},
                                 {"container", node.container},
                                 {"sources", std::move(sources)},
                                 {"mac", node.mac},
                                 {"addresses", std::move(others)}});
  }
  return nodes;
}

bool save(const Asked& asked, const std::vector<DiscoveredNode>& nodes) {
  std::vector<discovery::NodeSpec> specs;
  for (const DiscoveredNode& node : nodes) specs.push_back(discovery::to_node_spec(node));
  const std::string path = discovery::expand_home(asked.save_to, ProcessEnvironment{});
  const Result<std::size_t> saved = discovery::save_found(specs, path);
  if (!saved) {
    fmt::print(stderr, "sollol discover: {}\n", saved.error().detail);
    return false;
  }
  if (!asked.as_json) fmt::print("saved in {}: {} new\n", path, *saved);
  return true;
}

int run_discover(Asked asked) {
  asked.options.timeout = from_seconds(asked.timeout_s);
  if (!asked.sources.empty()) {
    const auto sources = discovery::Sources::parse(asked.sources);
    if (!sources) {
      fmt::print(stderr, "sollol discover: {}\n", sources.error().detail);
      return exit_wrong_usage;
    }
    asked.options.sources = *sources;
  }
  net::raise_descriptor_limit();
  std::string deaf;  // why nobody who announces himself is heard
  std::unique_ptr<net::Mdns> mdns;
  if (asked.options.sources.has(discovery::Source::mdns)) {
    mdns = net::Mdns::open({.browse = true}, deaf);
    if (mdns != nullptr) {
      asked.options.announced = [&mdns] { return mdns->heard(); };
    }
  }
  const TimePoint began = Clock::now();
  bool headed = asked.as_json;
  auto found = discovery::discover(asked.options,
                                   [&](const DiscoveredNode& node, NodeCollector::Outcome outcome) {
                                     if (outcome == NodeCollector::Outcome::known) return;
                                     if (!std::exchange(headed, true)) print_heading();
                                     if (!asked.as_json) print_row(node, Clock::now() - began);
                                   });
  if (!found) {
    fmt::print(stderr, "sollol discover: {}\n", found.error().detail);
    return found.error().kind == ErrorKind::bad_input ? exit_wrong_usage : exit_failed;
  }
  if (!deaf.empty()) found->notes.push_back("mDNS: " + deaf);
  if (asked.as_json) {
    fmt::print("{}\n", json::serialize(to_json(*found)));
  } else {
    print_summary(asked, *found);
  }
  if (!asked.save_to.empty() && !save(asked, found->nodes)) return exit_failed;
  return found->nodes.empty() ? exit_no_node : exit_done;
}

}  // namespace

void add_discover_command(CLI::App& root, Action& chosen) {
  CLI::App* discover = root.add_subcommand("discover", std::string(help));
  auto asked = std::make_shared<Asked>();
  discover
      ->add_option("--subnet", asked->options.subnets,
                   "Look there and nowhere else: a private network or part of 127.0.0.0/8; repeat "
                   "for more")
      ->type_name("NETWORK")
      ->allow_extra_args(false);
  discover
      ->add_option("--port", asked->options.ports,
                   "Ports to look at; default 11434; repeat for more")
      ->type_name("PORT")
      ->allow_extra_args(false);
  discover
      ->add_option("--timeout", asked->timeout_s,
                   "How long an address may take to accept, and again to answer; default 0.5")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.01, 60.0));
  discover->add_flag("--exclude-localhost", asked->options.exclude_localhost,
                     "Leave out 127.0.0.1");
  discover->add_flag("--discover-all-nodes,!--no-discover-all-nodes,!--first",
                     asked->options.discover_all_nodes,
                     "Look everywhere, which is the default; --first stops at the first node");
  discover->add_flag("--auto-resolve-docker,!--no-auto-resolve-docker",
                     asked->options.auto_resolve_docker,
                     "Ask Docker and Podman, where their sockets can be read, at which addresses "
                     "their containers are reached; on by default");
  discover
      ->add_option(
          "--source", asked->sources,
          "Who may name addresses: localhost, neighbours, subnets, containers, engine, mdns; "
          "all by default; repeat for more")
      ->type_name("SOURCE")
      ->allow_extra_args(false);
  discover
      ->add_option("--save", asked->save_to,
                   "Add what is found to this node file, marked as found; what stands there stays "
                   "as it is")
      ->type_name("FILE")
      ->expected(0, 1)
      ->default_str(Settings{}.node_file);
  discover->add_flag("--verbose", asked->verbose, "Also name what is no Ollama");
  discover->add_flag("--json", asked->as_json, "Print the nodes as JSON");
  discover->callback([&chosen, asked] { chosen = [asked] { return run_discover(*asked); }; });
}

}  // namespace sollol::cli

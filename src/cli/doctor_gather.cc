#include "cli/doctor_gather.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address_v4.hpp>
#include <set>

#include "api/timestamp.h"
#include "cli/client.h"
#include "cli/doctor_ask.h"
#include "discovery/discover.h"
#include "discovery/environment_nodes.h"
#include "discovery/files.h"
#include "discovery/node_file.h"
#include "doctor/checks.h"
#include "locality/advice.h"
#include "net/links.h"
#include "net/network.h"
#include "net/socket_owner.h"

namespace sollol::cli {

using discovery::DiscoveredNode;
using discovery::Discovery;
using discovery::NodeSpec;
using doctor::EntryFact;
using doctor::Facts;
using doctor::NodeFact;

namespace {

constexpr Duration answers_within = std::chrono::seconds(2);
/// Where an Ollama is that moved: other instances of one machine, and what OLLAMA_HOST=http://HOST
/// and ports of the web come to.
constexpr std::array<std::uint16_t, 6> common_ports = {11434, 11435, 11436, 11437, 8080, 80};
constexpr std::size_t looked_elsewhere_max = 256;  // machines
constexpr std::size_t many_tasks = 100;

struct Named {
  NodeSpec spec;
  std::string where;
  bool from_node_file = false;
};

/// Whatever names a node, each mention by itself.
std::vector<Named> named_nodes(const DoctorPlan& plan, const Environment& environment,
                               Facts& facts) {
  std::vector<Named> named;
  for (const NodeSpec& node : plan.settings.nodes)
    named.push_back({.spec = node, .where = node.origin.empty() ? "sollol.toml" : node.origin});
  const auto path = discovery::expand_home(plan.settings.node_file, environment);
  if (plan.uses_node_file && !path.empty()) {
    const auto file = discovery::NodeFile::load(path);
    if (file) {
      facts.mistakes = file->warnings();
      for (const NodeSpec& node : file->nodes())
        named.push_back({.spec = node, .where = "node file " + path, .from_node_file = true});
    } else if (file.error().kind != ErrorKind::not_found) {
      facts.mistakes.push_back(file.error().detail);
    }
  }
  const auto variables = discovery::nodes_from_environment(environment);
  std::ranges::copy(variables.warnings, std::back_inserter(facts.mistakes));
  for (const NodeSpec& node : variables.base_urls)
    named.push_back({.spec = node, .where = "OLLAMA_BASE_URLS"});
  // OLLAMA_HOST mostly names the gateway, for the clients of the same shell.
  const bool is_gateway =
      variables.ollama_host &&
      (to_string(facts.own.listen) ==
           to_string(Address{variables.ollama_host->host, variables.ollama_host->port}) ||
       (facts.gateway.state == doctor::GatewayFact::State::answers &&
        variables.ollama_host->url == facts.gateway.url));
  if (variables.ollama_host && !is_gateway)
    named.push_back({.spec = *variables.ollama_host, .where = "OLLAMA_HOST"});
  return named;
}

/// Whether it is this machine, or in a network of one of its interfaces.
bool is_near(const net::Links& links, const std::string& ip) {
  return links.is_own(ip) || std::ranges::any_of(links.addresses, [&](const auto& own) {
           const auto network = net::Network::parse(own.network);
           return network && network->contains(ip);
         });
}

void take_answer(NodeAnswer answer, NodeFact& node) {
  if (node.addresses.empty()) node.addresses = std::move(answer.addresses);
  if (answer.answer != EntryFact::Answer::node) return;
  node.clock_ahead = answer.clock_ahead;
  node.version = std::move(answer.version);
  if (!answer.loaded.empty()) node.loaded = std::move(answer.loaded);
  for (doctor::ModelFact& model : answer.models) {  // what was learnt of them stays
    const auto known = std::ranges::find(node.models, model.digest, &doctor::ModelFact::digest);
    if (known == node.models.end()) continue;
    model.service_s = known->service_s;
    model.decode_tokens_per_s = known->decode_tokens_per_s;
  }
  node.models = std::move(answer.models);
}

/// Asks those nodes themselves, as far as they can be reached from here.
void ask_all(std::vector<NodeFact>& nodes) {
  std::vector<std::string> urls;
  for (const NodeFact& node : nodes) urls.push_back(node.url);
  std::vector<NodeAnswer> answers = ask_nodes(urls, answers_within);
  for (std::size_t i = 0; i < nodes.size(); ++i) take_answer(std::move(answers[i]), nodes[i]);
}

NodeFact to_fact(const DiscoveredNode& found) {
  const auto spec = discovery::make_node({.host = found.address.ip, .port = found.address.port});
  NodeFact node{.name = spec ? spec->name : to_string(found.address),
                .url = "http://" + to_string(found.address),
                .origin = "discovered",
                .addresses = {found.address},
                .on_this_machine = found.on_this_machine,
                .version = found.version,
                .round_trip = found.round_trip};
  std::ranges::copy(found.others, std::back_inserter(node.addresses));
  return node;
}

/// The nodes that a gateway would have: those that settings name and that answer, what was found,
/// and those of the node file where nothing was.
void assemble_nodes(const std::vector<Named>& named, const std::vector<NodeAnswer>& answers,
                    const std::optional<Discovery>& found, Facts& facts) {
  const auto add = [&](NodeFact node) {
    const bool known = std::ranges::any_of(facts.nodes, [&](const NodeFact& other) {
      return other.on_this_machine == node.on_this_machine &&
             doctor::same_server(other.addresses, node.addresses,
                                 node.on_this_machine ? facts.own : doctor::OwnFact{});
    });
    if (!known) facts.nodes.push_back(std::move(node));
  };
  const bool none_found = !found || found->nodes.empty();
  for (std::size_t i = 0; i < named.size(); ++i) {
    const bool counts = answers[i].answer == EntryFact::Answer::node && !answers[i].from_gateway;
    if (!counts || (named[i].from_node_file && !none_found)) continue;
    add({.name = named[i].spec.name,
         .url = named[i].spec.url,
         .origin = named[i].where,
         .addresses = answers[i].addresses,
         .on_this_machine = facts.entries[i].on_this_machine,
         .round_trip = answers[i].took / 2});
  }
  if (!found) return;
  for (const DiscoveredNode& node : found->nodes) add(to_fact(node));
}

/// Which nodes share a machine, by what can be seen without a gateway.
void group_nodes(const std::vector<Named>& named, const net::Links& links, Facts& facts) {
  std::vector<locality::NodeFacts> all;
  for (const NodeFact& node : facts.nodes) {
    locality::NodeFacts one{
        .name = node.name,
        .port = node.addresses.empty() ? std::uint16_t{} : node.addresses.front().port,
        .on_this_machine = node.on_this_machine};
    for (const Address& at : node.addresses) {
      one.addresses.push_back(at.ip);
      if (const auto bridge = links.container_network(at.ip);
          !bridge.empty() && !links.is_own(at.ip))
        one.container_network = bridge;
      const auto known = std::ranges::find(links.neighbours, at.ip, &net::Neighbour::ip);
      if (known != links.neighbours.end())
        one.neighbours.push_back({.mac = known->mac, .is_router = known->is_router});
    }
    for (const doctor::ModelFact& model : node.models) {
      const auto modified = api::parse_timestamp(model.modified_at);
      if (modified && !model.remote) one.store.push_back({model.digest, *modified});
    }
    for (const Named& written : named) {
      if (written.spec.url != node.url) continue;
      one.operator_host = written.spec.physical_host;
      one.operator_device = written.spec.device;
    }
    all.push_back(std::move(one));
  }
  const locality::Grouping grouping = locality::group(all, {});
  for (const locality::Host& host : grouping.hosts) {
    doctor::MachineFact machine{.id = host.id, .independent = host.independent.size()};
    for (const std::size_t node : host.nodes) machine.nodes.push_back(grouping.names[node]);
    facts.locality.machines.push_back(std::move(machine));
  }
  for (const locality::Evidence& piece : grouping.evidence) {
    facts.locality.evidence.push_back({.kind = std::string(locality::name(piece.kind)),
                                       .a = grouping.names[piece.a],
                                       .b = grouping.names[piece.b],
                                       .joins = piece.standing == locality::Standing::joins ||
                                                piece.standing == locality::Standing::agrees,
                                       .text = piece.text});
  }
  const locality::Advice advice = locality::advise(grouping, many_tasks);
  facts.locality.parallel = advice.parallel;
  facts.locality.reason = advice.reason;
}

bool in_ranges(const Discovery& found, const std::string& ip) {
  boost::system::error_code bad;
  const auto address = boost::asio::ip::make_address_v4(ip, bad);
  return !bad && std::ranges::any_of(found.ranges, [&](const auto& range) {
    return range.contains(address.to_uint());
  });
}

/// Who is there, as far as the look and the kernel's neighbour table show it.
void tell_signs_of_life(const Discovery& found, const net::Links& links, doctor::ScanFact& scan) {
  std::set<std::string> open, refusing, dropping;
  for (const DiscoveredNode& node : found.nodes) {
    open.insert(node.address.ip);
    for (const Address& other : node.others) open.insert(other.ip);
  }
  for (const auto& other : found.others) open.insert(other.address.ip);
  for (const Address& at : found.refused) {
    // On a link of ours only a machine that has told its hardware address has refused anything:
    // for the others it was this kernel, which found nobody.
    if (links.is_own(at.ip) || open.contains(at.ip)) continue;
    if (is_near(links, at.ip) && links.mac_of(at.ip).empty()) continue;
    refusing.insert(at.ip);
  }
  for (const net::Neighbour& neighbour : links.neighbours) {
    if (neighbour.is_router || !in_ranges(found, neighbour.ip)) continue;
    if (!open.contains(neighbour.ip) && !refusing.contains(neighbour.ip))
      dropping.insert(neighbour.ip);
  }
  for (const auto& range : found.ranges) {
    doctor::RangeFact fact{
        .network = range.network, .source = range.source, .addresses = range.size(), .answered = 0};
    for (const auto* some : {&open, &refusing, &dropping}) {
      for (const std::string& ip : *some) {
        boost::system::error_code bad;
        const auto address = boost::asio::ip::make_address_v4(ip, bad);
        const bool own = links.is_own(ip) && !ip.starts_with("127.");
        if (!bad && !own && range.contains(address.to_uint())) ++fact.answered;
      }
    }
    // This machine answers for all of its loopback addresses.
    if (range.network.starts_with("127."))
      fact.answered = std::max<std::uint64_t>(fact.answered, 1);
    scan.ranges.push_back(std::move(fact));
  }
  scan.refusing.assign(refusing.begin(), refusing.end());
  scan.dropping.assign(dropping.begin(), dropping.end());
}

/// What was found and is none of the gateway's nodes.
void find_unlisted(const Discovery& found, Facts& facts) {
  for (const DiscoveredNode& node : found.nodes) {
    const bool listed = std::ranges::any_of(facts.nodes, [&](const NodeFact& one) {
      return std::ranges::any_of(one.addresses, [&](const Address& at) {
        return at == node.address || std::ranges::find(node.others, at) != node.others.end();
      });
    });
    if (!listed) facts.scan->unlisted.push_back(node.address);
  }
}

/// Where no node is found: Ollamas at usual ports of the machines that are there.
void look_elsewhere(const DoctorPlan& plan, doctor::Facts& facts) {
  doctor::ScanFact& scan = *facts.scan;
  discovery::ScanOptions options = plan.scan;
  std::erase_if(options.ports, [](auto) { return true; });
  for (const std::uint16_t port : common_ports)
    if (std::ranges::find(scan.ports, port) == scan.ports.end()) options.ports.push_back(port);
  options.subnets.clear();
  if (!scan.named && !scan.excludes_localhost) options.subnets.emplace_back("127.0.0.1/32");
  for (const std::string& ip : scan.refusing)
    if (options.subnets.size() < looked_elsewhere_max) options.subnets.push_back(ip + "/32");
  if (scan.named) {
    for (const std::string& subnet : plan.scan.subnets)
      if (subnet.starts_with("127.")) options.subnets.push_back(subnet);
  }
  if (options.subnets.empty()) return;
  const auto found = discovery::discover(options);
  if (!found) return;
  for (const DiscoveredNode& node : found->nodes) scan.elsewhere.push_back(node.address);
}

/// Ollamas of this machine at the ports that were asked for, whatever the look left out.
void look_at_loopback(doctor::Facts& facts) {
  std::vector<std::string> urls;
  for (const std::uint16_t port : facts.scan->ports) {
    if (std::ranges::find(facts.own.listeners, port, &Address::port) != facts.own.listeners.end())
      urls.push_back(fmt::format("http://127.0.0.1:{}", port));
  }
  const auto answers = ask_nodes(urls, answers_within);
  for (const NodeAnswer& one : answers) {
    if (one.answer == EntryFact::Answer::node && !one.from_gateway)
      facts.own.local_ollamas.push_back(one.addresses.front());
  }
}

doctor::ScanFact to_fact(const Discovery& found, const discovery::ScanOptions& options,
                         const net::Links& links) {
  doctor::ScanFact scan{.ports = options.ports,
                        .timeout = options.timeout,
                        .took = found.figures.took,
                        .tried = found.figures.tried,
                        .unsent = found.figures.unsent,
                        .excludes_localhost = options.exclude_localhost,
                        .named = !options.subnets.empty()};
  for (const auto& skipped : found.skipped)
    scan.skipped.push_back({.network = skipped.network, .reason = skipped.reason});
  for (const auto& other : found.others) {
    using What = discovery::Found::What;
    scan.others.push_back({.address = other.address,
                           .what = other.what == What::gateway  ? doctor::OtherFact::What::gateway
                                   : other.what == What::silent ? doctor::OtherFact::What::silent
                                                                : doctor::OtherFact::What::other,
                           .says = other.says});
  }
  tell_signs_of_life(found, links, scan);
  return scan;
}

std::vector<NodeAnswer> ask_entries(const std::vector<Named>& named, const net::Links& links,
                                    Facts& facts) {
  std::vector<std::string> urls;
  for (const Named& one : named) urls.push_back(one.spec.url);
  std::vector<NodeAnswer> answers = ask_nodes(urls, answers_within);
  for (std::size_t i = 0; i < named.size(); ++i) {
    EntryFact entry{.url = named[i].spec.url,
                    .where = named[i].where,
                    .addresses = answers[i].addresses,
                    .answer = answers[i].answer};
    if (!entry.addresses.empty()) {
      entry.on_this_machine = links.is_own(entry.addresses.front().ip);
      entry.near = is_near(links, entry.addresses.front().ip);
    }
    facts.entries.push_back(std::move(entry));
  }
  return answers;
}

}  // namespace

Result<Facts> gather_facts(const DoctorPlan& plan, const Environment& environment) {
  Facts facts;
  look_at_this_machine(plan.settings, facts);
  const bool asks =
      plan.asks_gateway && ask_gateway(gateway_url(plan.gateway), answers_within, facts);
  const bool expected = !plan.gateway.empty() || environment.get("SOLLOL_GATEWAY").has_value();
  using State = doctor::GatewayFact::State;
  const State state = facts.gateway.state;
  if (!asks && !expected && (state == State::silent || state == State::foreign))
    facts.gateway.state = State::none;

  std::optional<Discovery> found;
  if (plan.scans) {
    auto looked = discovery::discover(plan.scan);
    if (!looked && looked.error().kind == ErrorKind::bad_input)
      return std::unexpected(looked.error());
    if (looked) found = std::move(*looked);
    if (!looked) facts.scan_trouble = looked.error().detail;
  }
  const auto read = net::read_links();
  const net::Links links = read ? *read : net::Links{};
  const std::vector<Named> named = named_nodes(plan, environment, facts);
  const std::vector<NodeAnswer> answers = ask_entries(named, links, facts);
  if (found) facts.scan = to_fact(*found, plan.scan, links);
  const bool looks = plan.settings.auto_discover == "on";  // `sollol up` would
  if (!asks) assemble_nodes(named, answers, looks ? found : std::nullopt, facts);
  ask_all(facts.nodes);
  for (NodeFact& node : facts.nodes) {
    if (!node.addresses.empty() && links.is_own(node.addresses.front().ip))
      node.on_this_machine = true;
    if (node.on_this_machine && !node.addresses.empty())
      node.process = net::listener_owner(node.addresses.front()).name;
  }
  if (!asks) group_nodes(named, links, facts);
  if ((asks || !looks) && found) find_unlisted(*found, facts);
  if (facts.nodes.empty() && facts.scan && facts.scan->unlisted.empty()) {
    look_at_loopback(facts);
    look_elsewhere(plan, facts);
  }
  return facts;
}

}  // namespace sollol::cli

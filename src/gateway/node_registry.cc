// The library's registry: the face of a control thread, with or without workers beside it.
#include "sollol/node_registry.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <set>

#include "base/environment.h"
#include "discovery/discover.h"
#include "discovery/environment_nodes.h"
#include "discovery/files.h"
#include "discovery/node_file.h"
#include "discovery/text.h"
#include "gateway/capabilities.h"
#include "gateway/node_registry_impl.h"
#include "gateway/node_request.h"
#include "gateway/nodes.h"
#include "locality/explain.h"
#include "net/listening.h"

namespace sollol {

using gateway::Control;
using gateway::FleetView;

namespace {

std::unexpected<Failure> fail(const Error& error) {
  return std::unexpected(
      Failure{.text = error.detail, .unreachable = error.origin == Origin::node});
}

NodeReport report_of(const FleetView& view, std::size_t index) {
  const cluster::Node& node = view.cluster->nodes[index];
  const gateway::NodeListing& listing = *view.listings[index];
  const gateway::Capabilities can = gateway::capabilities_of(listing);
  NodeReport report{.url = node.info.url,
                    .name = node.info.name,
                    .priority = node.info.tier,
                    .slots = node.info.slots,
                    .origin = node.info.origin,
                    .healthy = node.live->availability.load() == cluster::Availability::healthy,
                    .version = listing.version,
                    .models = {},
                    .loaded_bytes = can.loaded_bytes,
                    .vram_bytes = can.vram_bytes,
                    .gpu = std::string(gateway::name(can.gpu)),
                    .round_trip_s = node.live->round_trip_s.load(),
                    .checked_round_trips_s = {}};
  for (const api::ModelEntry& model : listing.models)
    report.models.push_back({model.name, model.digest, model.size_bytes});
  return report;
}

/// Runs it on the control thread and waits for its end.
template <class T>
T on_control(Control& control, net::Task<T> task) {
  return net::asio::co_spawn(control.context(), std::move(task), net::asio::use_future).get();
}

/// The addresses of the nodes, in the form that all spellings of one share.
std::set<std::string> known_addresses(const FleetView& view) {
  std::set<std::string> keys;
  for (const cluster::Node& node : view.cluster->nodes)
    keys.insert(discovery::address_key(gateway::to_node_spec(node.info)));
  return keys;
}

std::optional<NodeReport> find_address(const FleetView& view, const std::string& key) {
  for (std::size_t i = 0; i < view.cluster->nodes.size(); ++i) {
    if (discovery::address_key(gateway::to_node_spec(view.cluster->nodes[i].info)) == key)
      return report_of(view, i);
  }
  return std::nullopt;
}

std::optional<NodeReport> find_url(const FleetView& view, const std::string& url) {
  for (std::size_t i = 0; i < view.cluster->nodes.size(); ++i) {
    if (view.cluster->nodes[i].info.url == url) return report_of(view, i);
  }
  return std::nullopt;
}

/// A control thread of the registry's own.
struct OwnControl {
  OwnControl() : published(std::make_shared<const gateway::Options>()) {
    net::raise_descriptor_limit();
    control.emplace(published, views, credentials);
    control->start({}, {}, {});
  }

  gateway::OptionsSource published;
  gateway::ViewSource views;
  gateway::Credentials credentials;
  std::optional<Control> control;
};

/// What the environment says about where nodes are.
struct Surroundings {
  std::vector<discovery::NodeSpec> named;
  bool look = true;  // for others
};

/// Reads the environment, and completes `how` by it.
std::expected<Surroundings, Failure> surroundings(DiscoverOptions& how) {
  Surroundings found;
  if (!how.subnets.empty()) return found;
  const ProcessEnvironment environment;
  discovery::EnvironmentNodes nodes = discovery::nodes_from_environment(environment);
  for (const std::string& warning : nodes.warnings) spdlog::warn("{}", warning);
  if (nodes.ollama_host) found.named.push_back(*std::move(nodes.ollama_host));
  std::ranges::move(nodes.base_urls, std::back_inserter(found.named));
  found.look = nodes.auto_discover == discovery::AutoDiscover::on;
  const std::string subnets = environment.get("SOLLOL_DISCOVERY_SUBNETS").value_or("");
  for (const std::string_view part : discovery::split(subnets, ',')) {
    if (const auto subnet = discovery::trim(part); !subnet.empty())
      how.subnets.emplace_back(subnet);
  }
  const std::string ports = environment.get("SOLLOL_DISCOVERY_PORTS").value_or("");
  if (!discovery::trim(ports).empty()) how.ports.clear();
  for (const std::string_view part : discovery::split(ports, ',')) {
    if (discovery::trim(part).empty()) continue;
    const auto port = discovery::parse_port(discovery::trim(part));
    if (!port)
      return std::unexpected(Failure{"SOLLOL_DISCOVERY_PORTS: write ports from 1 to 65535"});
    how.ports.push_back(*port);
  }
  return found;
}

}  // namespace

NodeRegistry::NodeRegistry() {
  auto own = std::make_shared<OwnControl>();
  impl_ = std::make_unique<Impl>(*own->control, own->views, own);
}
NodeRegistry::NodeRegistry(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
NodeRegistry::~NodeRegistry() = default;
NodeRegistry::NodeRegistry(NodeRegistry&&) noexcept = default;
NodeRegistry& NodeRegistry::operator=(NodeRegistry&&) noexcept = default;

std::expected<NodeReport, Failure> NodeRegistry::add(const NewNode& node) {
  auto request = gateway::make_node_request({.url = node.url,
                                             .name = node.name,
                                             .host = node.host,
                                             .device = node.device,
                                             .priority = node.priority,
                                             .slots = node.slots});
  if (!request) return fail(request.error());
  request->probe = node.auto_probe ? gateway::AutoProbe::on : gateway::AutoProbe::off;
  const std::string key = discovery::address_key(gateway::to_node_spec(request->info));
  std::optional<NodeReport> known = find_address(*impl_->views.get(), key);
  if (!known && node.auto_probe) {
    // A name may lead to a node that is here by its address.
    const auto at = on_control(impl_->control, impl_->control.known_at(request->info));
    if (at) known = find_url(*impl_->views.get(), *at);
  }
  if (known) return *known;
  const auto added = on_control(impl_->control, impl_->control.add_node(*request));
  if (!added) return fail(added.error());
  known = find_address(*impl_->views.get(), key);
  if (known) return *known;
  return std::unexpected(Failure{.text = request->info.url + " was removed at the same time"});
}

bool NodeRegistry::remove(std::string_view name_or_url) {
  const auto view = impl_->views.get();
  const cluster::Node* node = view->cluster->find_node(name_or_url);
  if (node == nullptr) return false;
  {
    const std::scoped_lock lock(impl_->checks_mutex);
    impl_->checks.erase(node->info.url);
  }
  return on_control(impl_->control, impl_->control.remove_node(node->id));
}

std::vector<NodeReport> NodeRegistry::list() {
  const auto view = impl_->views.get();
  std::vector<NodeReport> all;
  const std::scoped_lock lock(impl_->checks_mutex);
  for (std::size_t i = 0; i < view->cluster->nodes.size(); ++i) {
    NodeReport& report = all.emplace_back(report_of(*view, i));
    const auto checks = impl_->checks.find(report.url);
    if (checks == impl_->checks.end()) continue;
    report.failed_checks = checks->second.failures;
    const auto& times = checks->second.round_trips_s;
    report.checked_round_trips_s.assign(times.begin(), times.end());
  }
  return all;
}

std::vector<NodeReport> NodeRegistry::check(const CheckOptions& how) {
  constexpr std::size_t round_trips_kept = 100;
  const auto found = on_control(
      impl_->control, impl_->control.check_nodes({.connect = from_seconds(how.connect_timeout_s),
                                                  .answer = from_seconds(how.timeout_s)}));
  {
    const std::scoped_lock lock(impl_->checks_mutex);
    for (const Control::NodeCheck& one : found) {
      Impl::Checks& checks = impl_->checks[one.url];
      checks.failures = one.answered ? 0 : checks.failures + 1;
      if (one.answered) checks.round_trips_s.push_back(to_seconds(one.took));
      if (checks.round_trips_s.size() > round_trips_kept) checks.round_trips_s.pop_front();
    }
  }
  const std::vector<NodeReport> all = list();
  if (!how.remove) return all;
  for (const NodeReport& node : all) {
    if (node.failed_checks < how.failures_max) continue;
    spdlog::warn("node {}: removed after {} checks that it did not answer", node.url,
                 node.failed_checks);
    remove(node.url);
  }
  return all;
}

std::expected<std::size_t, Failure> NodeRegistry::discover(const DiscoverOptions& how) {
  DiscoverOptions wanted = how;
  const auto around = surroundings(wanted);
  if (!around) return std::unexpected(around.error());
  std::size_t added = 0;
  for (const discovery::NodeSpec& spec : around->named) {
    if (known_addresses(*impl_->views.get()).contains(discovery::address_key(spec))) continue;
    gateway::NodeRequest request{.info = gateway::to_node_info(spec),
                                 .probe = gateway::AutoProbe::on};
    const auto joined = on_control(impl_->control, impl_->control.add_node(std::move(request)));
    if (!joined) spdlog::warn("{}: {}", spec.origin, joined.error().detail);
    added += joined ? 1 : 0;
  }
  if (!around->look || (added > 0 && !how.discover_all_nodes)) return added;
  discovery::ScanOptions options;
  options.timeout = from_seconds(wanted.timeout_s);
  options.ports = wanted.ports;
  options.subnets = wanted.subnets;
  options.exclude_localhost = wanted.exclude_localhost;
  options.auto_resolve_docker = wanted.auto_resolve_docker;
  options.discover_all_nodes = wanted.discover_all_nodes;
  const auto found = on_control(impl_->control, impl_->control.find_nodes(options));
  if (!found) return fail(found.error());
  return added + *found;
}

std::expected<std::size_t, Failure> NodeRegistry::load(const std::string& path) {
  const auto file = discovery::NodeFile::load(discovery::expand_home(path, ProcessEnvironment{}));
  if (!file) return fail(file.error());
  std::size_t added = 0;
  for (const discovery::NodeSpec& spec : file->nodes()) {
    gateway::NodeRequest request{.info = gateway::to_node_info(spec)};
    added += on_control(impl_->control, impl_->control.add_node(request)) ? 1 : 0;
  }
  return added;
}

std::expected<std::size_t, Failure> NodeRegistry::save(const std::string& path) {
  std::vector<discovery::NodeSpec> named;
  std::vector<discovery::NodeSpec> found;
  for (const cluster::Node& node : impl_->views.get()->cluster->nodes) {
    const bool was_found = node.info.origin == gateway::discovered_origin;
    (was_found ? found : named).push_back(gateway::to_node_spec(node.info));
  }
  const std::string file = discovery::expand_home(path, ProcessEnvironment{});
  const auto first = discovery::save_nodes(named, file);
  if (!first) return fail(first.error());
  const auto second = discovery::save_found(found, file);
  if (!second) return fail(second.error());
  return *first + *second;
}

std::size_t NodeRegistry::count_unique_physical_hosts() {
  return locality::count_unique_physical_hosts(
      on_control(impl_->control, impl_->control.locality(0)).grouping);
}

ParallelAdvice NodeRegistry::advise(std::size_t num_tasks) {
  const locality::Advice advice =
      on_control(impl_->control, impl_->control.locality(num_tasks)).advice;
  return {advice.parallel, advice.width, advice.reason};
}

std::string NodeRegistry::explain() {
  constexpr std::size_t many_tasks = 100;
  const Control::Locality found = on_control(impl_->control, impl_->control.locality(many_tasks));
  return locality::explain(found.grouping, found.advice);
}

}  // namespace sollol

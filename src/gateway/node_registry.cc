// The library's registry: a control thread without workers.
#include "sollol/node_registry.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/use_future.hpp>
#include <set>

#include "base/environment.h"
#include "discovery/discover.h"
#include "discovery/files.h"
#include "discovery/node_file.h"
#include "gateway/capabilities.h"
#include "gateway/control.h"
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
                    .origin = node.info.origin,
                    .healthy = node.live->availability.load() == cluster::Availability::healthy,
                    .version = listing.version,
                    .models = {},
                    .loaded_bytes = can.loaded_bytes,
                    .vram_bytes = can.vram_bytes,
                    .gpu = std::string(gateway::name(can.gpu)),
                    .round_trip_s = node.live->round_trip_s.load()};
  for (const api::ModelEntry& model : listing.models)
    report.models.push_back({model.name, model.digest, model.size_bytes});
  return report;
}

}  // namespace

struct NodeRegistry::Impl {
  Impl() : published(std::make_shared<const gateway::Options>()) {
    net::raise_descriptor_limit();
    control.emplace(published, views, credentials);
    control->start({}, {}, {});
  }

  /// Runs it on the control thread and waits for its end.
  template <class T>
  T on_control(net::Task<T> task) {
    return net::asio::co_spawn(control->context(), std::move(task), net::asio::use_future).get();
  }
  std::vector<NodeReport> reports() {
    const auto view = views.get();
    std::vector<NodeReport> all;
    for (std::size_t i = 0; i < view->cluster->nodes.size(); ++i)
      all.push_back(report_of(*view, i));
    return all;
  }
  Control::Locality locality(std::size_t tasks) { return on_control(control->locality(tasks)); }
  /// The address in the form that all spellings of it share.
  std::set<std::string> known_addresses() {
    std::set<std::string> keys;
    for (const cluster::Node& node : views.get()->cluster->nodes)
      keys.insert(discovery::address_key(gateway::to_node_spec(node.info)));
    return keys;
  }

  gateway::OptionsSource published;
  gateway::ViewSource views;
  gateway::Credentials credentials;
  std::optional<Control> control;
};

NodeRegistry::NodeRegistry() : impl_(std::make_unique<Impl>()) {}
NodeRegistry::~NodeRegistry() = default;
NodeRegistry::NodeRegistry(NodeRegistry&&) noexcept = default;
NodeRegistry& NodeRegistry::operator=(NodeRegistry&&) noexcept = default;

std::expected<NodeReport, Failure> NodeRegistry::add(const NewNode& node) {
  auto request = gateway::make_node_request({.url = node.url,
                                             .name = node.name,
                                             .host = node.host,
                                             .device = node.device,
                                             .priority = node.priority});
  if (!request) return fail(request.error());
  request->probe = node.auto_probe ? gateway::AutoProbe::on : gateway::AutoProbe::off;
  const std::string key = discovery::address_key(gateway::to_node_spec(request->info));
  if (!impl_->known_addresses().contains(key)) {
    const auto added = impl_->on_control(impl_->control->add_node(*request));
    if (!added) return fail(added.error());
  }
  const auto view = impl_->views.get();
  for (std::size_t i = 0; i < view->cluster->nodes.size(); ++i) {
    if (discovery::address_key(gateway::to_node_spec(view->cluster->nodes[i].info)) == key)
      return report_of(*view, i);
  }
  return std::unexpected(Failure{.text = request->info.url + " was removed at the same time"});
}

bool NodeRegistry::remove(std::string_view name_or_url) {
  const auto view = impl_->views.get();
  const cluster::Node* node = view->cluster->find_node(name_or_url);
  return node != nullptr && impl_->on_control(impl_->control->remove_node(node->id));
}

std::vector<NodeReport> NodeRegistry::list() { return impl_->reports(); }

std::expected<std::size_t, Failure> NodeRegistry::discover(const DiscoverOptions& how) {
  discovery::ScanOptions options;
  options.timeout = from_seconds(how.timeout_s);
  options.ports = how.ports;
  options.subnets = how.subnets;
  options.exclude_localhost = how.exclude_localhost;
  options.auto_resolve_docker = how.auto_resolve_docker;
  options.discover_all_nodes = how.discover_all_nodes;
  const auto added = impl_->on_control(impl_->control->find_nodes(options));
  if (!added) return fail(added.error());
  return *added;
}

std::expected<std::size_t, Failure> NodeRegistry::load(const std::string& path) {
  const auto file = discovery::NodeFile::load(discovery::expand_home(path, ProcessEnvironment{}));
  if (!file) return fail(file.error());
  std::size_t added = 0;
  for (const discovery::NodeSpec& spec : file->nodes()) {
    gateway::NodeRequest request{.info = gateway::to_node_info(spec)};
    added += impl_->on_control(impl_->control->add_node(request)) ? 1 : 0;
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
  return locality::count_unique_physical_hosts(impl_->locality(0).grouping);
}

ParallelAdvice NodeRegistry::advise(std::size_t num_tasks) {
  const locality::Advice advice = impl_->locality(num_tasks).advice;
  return {advice.parallel, advice.width, advice.reason};
}

std::string NodeRegistry::explain() {
  constexpr std::size_t many_tasks = 100;
  const Control::Locality found = impl_->locality(many_tasks);
  return locality::explain(found.grouping, found.advice);
}

}  // namespace sollol

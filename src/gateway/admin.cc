#include "gateway/admin.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/json.hpp>
#include <charconv>

#include "api/routes.h"
#include "api/timestamp.h"
#include "gateway/access.h"
#include "gateway/admin_answer.h"
#include "gateway/admin_choices.h"
#include "gateway/admin_measure.h"
#include "gateway/admin_models.h"
#include "gateway/admission.h"
#include "gateway/applications.h"
#include "gateway/capabilities.h"
#include "gateway/contexts.h"
#include "gateway/control.h"
#include "gateway/inference.h"
#include "gateway/metrics.h"
#include "gateway/node_request.h"
#include "gateway/worker.h"
#include "locality/explain.h"

namespace sollol::gateway {

namespace asio = net::asio;
namespace json = boost::json;

namespace {

constexpr std::string_view base = "/sollol/v1/";

json::object model_json(const cluster::Model& model, const cluster::Replica& replica) {
  const cluster::ReplicaLive& live = *replica.live;
  return {{"name", model.name},
          {"digest", replica.digest},
          {"size", replica.size_bytes},
          {"loaded", live.loaded.load()},
          {"loading", live.loading_since_ns.load() != 0},
          {"context_length", live.loaded_context.load()},
          {"in_flight", live.in_flight.load()},
          {"limit", live.limit.load()},
          {"prefill_tokens_per_s", live.prefill_tokens_per_s.load()},
          {"decode_tokens_per_s", live.decode_tokens_per_s.load()},
          {"decode_share", live.decode_share.load()},
          {"device_share", live.device_share.load()},
          {"load_s", live.load_s.load()},
          {"service_s", live.service_s.load()},
          {"late_factor", live.late_factor.load()}};
}

std::string_view admin_text(cluster::Admin admin) {
  switch (admin) {
    case cluster::Admin::enabled:
      return "enabled";
    case cluster::Admin::draining:
      return "draining";
    case cluster::Admin::disabled:
      return "disabled";
  }
  return "enabled";
}

void add_capabilities(json::object& out, const NodeListing& listing) {
  const Capabilities found = capabilities_of(listing);
  out["version"] = listing.version;
  out["capabilities"] = json::object{{"models", listing.models.size()},
                                     {"disk_bytes", found.disk_bytes},
                                     {"loaded_bytes", found.loaded_bytes},
                                     {"vram_bytes", found.vram_bytes},
                                     {"gpu", name(found.gpu)}};
}

/// What the agent on the node's machine tells: of its GPUs those that the node may use.
json::object agent_json(const AgentSight& sight) {
  const agent::AgentReport& report = sight.report;
  const locality::AgentFacts facts = facts_of(sight);
  json::array gpus;
  for (const agent::Gpu& gpu : report.gpus) {
    const bool its = sight.node == nullptr ||
                     std::ranges::find(facts.gpu_uuids, gpu.uuid) != facts.gpu_uuids.end();
    if (!its) continue;
    json::object out{{"uuid", gpu.uuid},
                     {"name", gpu.name},
                     {"memory_total", gpu.memory_total},
                     {"memory_free", gpu.memory_free}};
    if (gpu.utilisation) out["utilisation"] = *gpu.utilisation;
    if (gpu.foreign_memory) out["foreign_memory"] = *gpu.foreign_memory;
    if (gpu.foreign_utilisation) out["foreign_utilisation"] = *gpu.foreign_utilisation;
    gpus.push_back(std::move(out));
  }
  json::object owner;
  if (report.owner.in_use) owner["in_use"] = *report.owner.in_use;
  if (report.owner.idle_s) owner["idle_s"] = *report.owner.idle_s;
  return {{"hostname", report.machine.hostname},
          {"memory_total", report.machine.memory_total},
          {"memory_available", report.machine.memory_available},
          {"gpus", std::move(gpus)},
          {"owner", std::move(owner)}};
}

json::object node_json(const FleetView& view, std::size_t index,
                       const std::vector<Control::NodeHealthReport>& health) {
  const cluster::Node& node = view.cluster->nodes[index];
  json::array models;
  for (const auto& [key, model] : view.cluster->models) {
    for (const cluster::Replica& replica : model.replicas) {
      if (replica.node == index) models.push_back(model_json(model, replica));
    }
  }
  json::object out{{"name", node.info.name},
                   {"url", node.info.url},
                   {"priority", node.info.tier},
                   {"slots", node.info.slots},
                   {"origin", node.info.origin},
                   {"state", cluster::text(node.live->availability)},
                   {"admin", admin_text(node.live->admin)},
                   {"in_flight", node.live->in_flight.load()},
                   {"machine", node.place.machine},
                   {"device", node.place.device},
                   {"requests", node.live->requests.load()},
                   {"failures", node.live->failures.load()},
                   {"wakes", node.live->wakes.load()},
                   {"output_tokens", node.live->output_tokens.load()},
                   {"round_trip_s", node.live->round_trip_s.load()},
                   {"models", std::move(models)}};
  if (!node.info.machine.empty()) out["host"] = node.info.machine;
  out["paused"] = node.live->paused.load();
  out["foreign_slowdown"] = node.live->foreign_slowdown.load();
  if (const auto& sight = view.listings[index]->agent) out["agent"] = agent_json(*sight);
  if (!node.info.wake_mac.empty()) out["wake_mac"] = node.info.wake_mac;
  add_capabilities(out, *view.listings[index]);
  for (const Control::NodeHealthReport& report : health) {
    if (report.node != node.id) continue;
    out["reason"] = report.reason;
    out["back_off_s"] = report.back_off_s;
  }
  return out;
}

net::Task<void> list_nodes(Connection& client) {
  Control& control = client.worker().shared().control;
  auto asking = asio::co_spawn(control.context(), control.health_report(), net::use_task);
  const auto health = co_await std::move(asking);
  const auto view = client.worker().view();
  json::array nodes;
  for (std::size_t i = 0; i < view->cluster->nodes.size(); ++i)
    nodes.push_back(node_json(*view, i, health));
  auto answering = answer_json(client, json::object{{"nodes", std::move(nodes)}});
  co_await std::move(answering);
}

json::array names_of(const locality::Grouping& grouping, const std::vector<std::size_t>& nodes) {
  json::array names;
  for (const std::size_t node : nodes) names.emplace_back(grouping.names[node]);
  return names;
}

json::object locality_json(const Control::Locality& found) {
  const locality::Grouping& grouping = found.grouping;
  json::array hosts;
  for (const locality::Host& host : grouping.hosts) {
    json::array devices;
    for (const locality::Device& device : host.devices) {
      devices.push_back(json::object{
          {"id", device.id}, {"known", device.known}, {"nodes", names_of(grouping, device.nodes)}});
    }
    hosts.push_back(json::object{{"id", host.id},
                                 {"nodes", names_of(grouping, host.nodes)},
                                 {"devices", std::move(devices)},
                                 {"independent", names_of(grouping, host.independent)}});
  }
  json::array evidence;
  for (const locality::Evidence& piece : grouping.evidence) {
    evidence.push_back(json::object{{"kind", locality::name(piece.kind)},
                                    {"scope", locality::name(piece.scope)},
                                    {"a", grouping.names[piece.a]},
                                    {"b", grouping.names[piece.b]},
                                    {"standing", locality::name(piece.standing)},
                                    {"confidence", piece.confidence},
                                    {"text", piece.text}});
  }
  json::array measured;
  for (const auto& [a, b, finding] : found.measured) {
    measured.push_back(json::object{{"a", a},
                                    {"b", b},
                                    {"relation", name(finding.relation)},
                                    {"confidence", finding.confidence},
                                    {"slowdown", finding.slowdown},
                                    {"source", name(finding.source)},
                                    {"time", api::format_timestamp(finding.when)}});
  }
  return {{"unique_physical_hosts", locality::count_unique_physical_hosts(grouping)},
          {"hosts", std::move(hosts)},
          {"evidence", std::move(evidence)},
          {"measured", std::move(measured)},
          {"parallel", found.advice.parallel},
          {"width", found.advice.width},
          {"reason", found.advice.reason},
          {"text", locality::explain(grouping, found.advice)}};
}

/// `?tasks=N`: for how many tasks advice is wanted.
net::Task<void> show_locality(Connection& client) {
  constexpr std::size_t many_tasks = 100;
  const std::string_view wanted = api::query_value(client.request().query(), "tasks");
  std::size_t tasks = many_tasks;
  const auto [end, bad] = std::from_chars(wanted.data(), wanted.data() + wanted.size(), tasks);
  if (!wanted.empty() && (bad != std::errc{} || end != wanted.data() + wanted.size())) {
    auto refusing = answer_error(client, 400, "tasks: write a number of tasks, such as ?tasks=3");
    co_await std::move(refusing);
    co_return;
  }
  Control& control = client.worker().shared().control;
  auto asking = asio::co_spawn(control.context(), control.locality(tasks), net::use_task);
  const Control::Locality found = co_await std::move(asking);
  auto answering = answer_json(client, locality_json(found));
  co_await std::move(answering);
}

json::array thrashing_json(Worker& worker) {
  json::array out;
  for (const Thrashing& one : worker.shared().contexts.thrashing(
           *worker.view()->cluster, worker.options().load, worker.scheduler().now())) {
    json::array clients;
    for (const cluster::ThrashWatch::Wish& wish : one.wishes) {
      clients.push_back(json::object{{"client", wish.client},
                                     {"model", wish.model},
                                     {"num_ctx", wish.num_ctx},
                                     {"loads", wish.loads}});
    }
    out.push_back(json::object{{"node", one.node},
                               {"models", json::array(one.models.begin(), one.models.end())},
                               {"loads", one.loads},
                               {"clients", std::move(clients)},
                               {"text", one.text}});
  }
  return out;
}

net::Task<void> show_status(Connection& client) {
  Worker& worker = client.worker();
  const auto view = worker.view();
  std::size_t up = 0;
  std::uint32_t in_flight = 0;
  for (const cluster::Node& node : view->cluster->nodes) {
    up += node.live->availability == cluster::Availability::healthy ? 1 : 0;
    in_flight += node.live->in_flight;
  }
  auto answering = answer_json(
      client,
      json::object{{"nodes", view->cluster->nodes.size()},
                   {"nodes_healthy", up},
                   {"models", view->cluster->models.size()},
                   {"in_flight", in_flight},
                   {"queued", worker.shared().admission.waiting()},
                   {"policy", routing::name(worker.options().policy)},
                   {"workers", worker.shared().workers.size()},
                   {"uptime_s", to_seconds(worker.scheduler().now() - worker.shared().started)},
                   {"thrashing", thrashing_json(worker)}});
  co_await std::move(answering);
}

/// Why this caller may not add this node; nullopt: he may.
std::optional<std::string> refuse_node(const Connection& client, const Request& request,
                                       const cluster::NodeInfo& info) {
  if (!request.key && !from_this_machine(request)) {
    return "without API keys nodes are added from the gateway's own machine only; make keys with "
           "`sollol keys add`";
  }
  const auto& allowed = client.options().access.node_networks;
  // A name is checked when it is connected to, and each time again.
  if (net::is_ip(info.host) && !net::may_connect(info.host, allowed))
    return fmt::format("nodes may not be at {} (access.node_networks)", info.host);
  return std::nullopt;
}

net::Task<void> add_node(Connection& client) {
  auto reading = read_or_refuse(client);
  const std::optional<std::string_view> body = co_await std::move(reading);
  if (!body) co_return;
  const Result<NodeRequest> asked = parse_node_request(*body);
  if (!asked) {
    auto answering = answer_error(client, 400, asked.error().detail);
    co_await std::move(answering);
    co_return;
  }
  if (auto why = refuse_node(client, client.request(), asked->info)) {
    auto answering = answer_error(client, 403, std::move(*why));
    co_await std::move(answering);
    co_return;
  }
  Control& control = client.worker().shared().control;
  auto adding = asio::co_spawn(control.context(), control.add_node(*asked), net::use_task);
  const Result<NodeListing> added = co_await std::move(adding);
  if (!added) {
    const bool unreachable = added.error().origin == Origin::node;
    auto answering = answer_error(client, unreachable ? 502 : 409, added.error().detail);
    co_await std::move(answering);
    co_return;
  }
  json::object told{{"name", asked->info.name}, {"url", asked->info.url}};
  if (asked->probe == AutoProbe::on) add_capabilities(told, *added);
  auto answering = answer_json(client, std::move(told), 201);
  co_await std::move(answering);
}

/// Writes the nodes that were found or added at run time into the node file.
net::Task<void> save_nodes(Connection& client) {
  Control& control = client.worker().shared().control;
  auto saving = asio::co_spawn(control.context(), control.save_nodes(), net::use_task);
  const Result<Control::Saved> saved = co_await std::move(saving);
  if (!saved) {
    auto answering = answer_error(client, 500, saved.error().detail);
    co_await std::move(answering);
    co_return;
  }
  auto answering =
      answer_json(client, json::object{{"file", saved->file}, {"added", saved->added}});
  co_await std::move(answering);
}

/// `nodes/NAME` and `nodes/NAME/drain|undrain`.
net::Task<void> change_node(Connection& client, std::string rest) {
  const std::size_t slash = rest.rfind('/');
  const std::string verb = slash == std::string::npos ? std::string() : rest.substr(slash + 1);
  const bool drains = verb == "drain" || verb == "undrain";
  const std::string name = api::percent_decode(drains ? rest.substr(0, slash) : rest);
  const std::string_view method = client.request().method;
  if (method != (drains ? "POST" : "DELETE")) {
    auto answering = client.answer(api::plain_405());
    co_await std::move(answering);
    co_return;
  }
  const auto view = client.worker().view();
  const cluster::Node* node = view->cluster->find_node(name);
  if (node == nullptr) {
    auto answering = answer_error(
        client, 404, fmt::format("no node is called '{}'; `sollol nodes` lists them", name));
    co_await std::move(answering);
    co_return;
  }
  Control& control = client.worker().shared().control;
  auto changing = drains ? control.set_admin(node->id, verb == "drain" ? cluster::Admin::draining
                                                                       : cluster::Admin::enabled)
                         : control.remove_node(node->id);
  auto spawned = asio::co_spawn(control.context(), std::move(changing), net::use_task);
  co_await std::move(spawned);
  auto answering =
      answer_json(client, json::object{{"name", node->info.name},
                                       {"done", drains ? verb : std::string("removed")},
                                       {"in_flight", node->live->in_flight.load()}});
  co_await std::move(answering);
}

}  // namespace

bool is_own_route(std::string_view path) noexcept {
  return path == "/metrics" || path.starts_with("/sollol/");
}

net::Task<void> serve_own_route(Connection& client) {
  const Request& request = client.request();
  const std::string_view path = request.path();
  const bool get = request.method == "GET" || request.method == "HEAD";
  if (path == "/metrics" && get) {
    return client.answer(200, "text/plain; version=0.0.4; charset=utf-8",
                         metrics_text(client.worker()));
  }
  const std::string_view rest =
      path.starts_with(base) ? path.substr(base.size()) : std::string_view{};
  if (rest == "nodes" && get) return list_nodes(client);
  if (rest == "locality" && get) return show_locality(client);
  if (rest == "locality/measure" && get) return show_measurement(client);
  if (rest == "locality/measure" && request.method == "POST") return serve_measurement(client);
  if (rest == "nodes" && request.method == "POST") return add_node(client);
  if (rest == "nodes/save" && request.method == "POST") return save_nodes(client);
  if (rest == "status" && get) return show_status(client);
  if (rest == "decisions" && get) return list_decisions(client);
  if (rest == "explain" && get) return explain_choice(client);
  if (rest == "models" && get) return list_models(client);
  if (rest == "models/warm" && request.method == "POST") return warm_model(client);
  if (rest == "applications" && (get || request.method == "POST"))
    return serve_applications(client);
  if (rest.starts_with("nodes/")) return change_node(client, std::string(rest.substr(6)));
  const bool known = path == "/metrics" || rest == "nodes" || rest == "locality" ||
                     rest == "locality/measure" || rest == "status" || rest == "decisions" ||
                     rest == "explain" || rest == "models" || rest == "models/warm" ||
                     rest == "applications";
  return client.answer(known ? api::plain_405() : api::plain_404());
}

}  // namespace sollol::gateway

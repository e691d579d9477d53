#include "gateway/control.h"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>

#include "api/model_name.h"
#include "gateway/control_probe.h"
#include "gateway/spawn.h"

namespace sollol::gateway {

namespace asio = net::asio;
using cluster::Availability;
using cluster::ProbeOutcome;
using cluster::RequestOutcome;

namespace {

constexpr Duration tick_interval = 50ms;
constexpr std::size_t version_max = 64 * 1024;  // of an answer to /api/version
constexpr Duration refresh_shared_for = 500ms;

}  // namespace

Control::Control(const OptionsSource& options, ViewSource& views, Credentials& credentials)
    : options_(options.get()),
      views_(views),
      credentials_(credentials),
      work_(asio::make_work_guard(context_)),
      scheduler_(context_),
      connector_(context_, scheduler_),
      nodes_(context_, scheduler_, connector_, credentials, options),
      cluster_(options_->health) {
  cluster_.on_transition(
      [this](NodeId id, Availability from, Availability to, std::string_view reason) {
        const cluster::NodeInfo* info = cluster_.info(id);
        spdlog::info("node {}: {} -> {}{}{}", info->name, text(from), text(to),
                     reason.empty() ? "" : ": ", reason);
        if (to == Availability::down && node_down_) node_down_(id);
        const bool usable =
            to == Availability::healthy || to == Availability::trial || to == Availability::suspect;
        if (usable && changed_) changed_();
        const auto probe = probes_.find(id);
        if (to == Availability::healthy && probe != probes_.end()) {
          spawn(context_, "probe", fetch_models_and_loaded(probe->second));
        }
      });
  for (const cluster::NodeInfo& info : options_->nodes) {
    const Result<NodeId> added = cluster_.add(info);
    if (!added) spdlog::warn("node {} left out: {}", info.url, added.error().detail);
  }
}

Control::~Control() { stop(); }

void Control::start(NodeDown node_down, Changed changed, NodeGone node_gone) {
  node_down_ = std::move(node_down);
  node_gone_ = std::move(node_gone);
  changed_ = std::move(changed);
  for (const NodeId node : cluster_.nodes()) start_probe(node);
  publish();
  join_mdns();
  spawn(context_, "tick", tick());
  spawn(context_, "discovery", watch_network());
  spawn(context_, "sleepers", watch_sleepers());
  thread_ = std::thread([this] { context_.run(); });
}

void Control::stop() {
  if (!thread_.joinable()) return;
  context_.stop();
  thread_.join();
}

void Control::report(NodeId node, RequestOutcome outcome) {
  asio::post(context_, [this, node, outcome] {
    cluster_.update_health(node, scheduler_.now(), [&](cluster::NodeHealth& health) {
      health.on_request(outcome, scheduler_.now());
    });
    if (outcome == RequestOutcome::neutral)
      cluster_.free_trial(node);  // it told nothing: the next one is the trial
  });
}

void Control::refresh_soon(NodeId node) {
  spawn(context_, "refresh", refresh_node(node, std::make_shared<std::size_t>(1)));
}

net::Task<void> Control::refresh_models(Duration limit) {
  const TimePoint began = scheduler_.now();
  if (began - last_refresh_ >= refresh_shared_for) {
    last_refresh_ = began;
    for (const auto& [id, probe] : probes_) spawn(context_, "refresh", fetch_models_only(probe));
  }
  const auto under_way = [this] {
    return std::ranges::any_of(probes_,
                               [](const auto& item) { return item.second->models_under_way; });
  };
  while (scheduler_.now() - began < limit && under_way()) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + 2ms);
    co_await std::move(pause);
  }
}

net::Task<void> Control::refresh_nodes(std::vector<NodeId> nodes, Duration limit) {
  const TimePoint began = scheduler_.now();
  const auto running = std::make_shared<std::size_t>(nodes.size());
  for (const NodeId node : nodes) spawn(context_, "refresh", refresh_node(node, running));
  while (*running > 0 && scheduler_.now() - began < limit) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + 2ms);
    co_await std::move(pause);
  }
}

net::Task<void> Control::refresh_node(NodeId node, std::shared_ptr<std::size_t> running) {
  const auto it = probes_.find(node);
  if (it != probes_.end()) {
    auto refresh = fetch_models_and_loaded(it->second);
    co_await std::move(refresh);
  }
  --*running;
}

net::Task<bool> Control::remove_node(NodeId node) {
  if (!probes_.contains(node)) co_return false;
  let_go(node);
  publish();
  co_return true;
}

void Control::let_go(NodeId node) {
  const auto it = probes_.find(node);
  it->second->gone = true;
  if (it->second->liveness) it->second->liveness->cancel();
  probes_.erase(it);
  places_changed_ = true;
  cluster_.remove(node);
  if (node_gone_) node_gone_(node);
}

net::Task<bool> Control::set_admin(NodeId node, cluster::Admin admin) {
  if (!probes_.contains(node)) co_return false;
  cluster_.set_admin(node, admin);
  if (admin == cluster::Admin::enabled && changed_) changed_();
  co_return true;
}

net::Task<std::vector<Control::NodeHealthReport>> Control::health_report() {
  std::vector<NodeHealthReport> reports;
  for (const NodeId id : cluster_.nodes()) {
    const cluster::NodeHealth* health = cluster_.health(id);
    reports.push_back({id, std::string(health->reason()), to_seconds(health->back_off())});
  }
  co_return reports;
}

void Control::start_probe(NodeId node) {
  auto probe = std::make_shared<Probe>(node, *cluster_.info(node));
  probes_.emplace(node, probe);
  places_changed_ = true;
  spawn(context_, "liveness probe", watch_liveness(probe));
  spawn(context_, "models probe", watch_models(probe));
  spawn(context_, "loaded probe", watch_loaded(probe));
  spawn(context_, "agent", watch_agent(probe));
}

net::Task<void> Control::tick() {
  while (true) {
    auto pause = scheduler_.sleep_until(scheduler_.now() + tick_interval);
    co_await std::move(pause);
    const TimePoint now = scheduler_.now();
    for (const auto& [id, probe] : probes_) {
      if (probe->pending_since == TimePoint{}) continue;
      cluster_.update_health(id, now, [&](cluster::NodeHealth& health) {
        health.probe_pending(probe->pending_since, now);
      });
    }
    cluster_.tick(now);
    std::vector<NodeId> finished;
    for (const auto& [id, probe] : probes_) {
      if (probe->leaving && cluster_.in_flight(id) == 0) finished.push_back(id);
    }
    for (const NodeId id : finished) {
      spdlog::info("node {}: removed", cluster_.info(id)->name);
      let_go(id);
    }
    if (!finished.empty()) publish();
    judge_traffic(now);
    group_nodes_if_due();
  }
}

net::Task<void> Control::watch_liveness(std::shared_ptr<Probe> probe) {
  while (!probe->gone) {
    const TimePoint began = scheduler_.now();
    auto resolving = resolve(probe);
    const bool resolved = co_await std::move(resolving);
    ProbeOutcome outcome = ProbeOutcome::refused;
    if (resolved) {
      probe->pending_since = scheduler_.now();
      auto probing = probe_version(probe);
      outcome = co_await std::move(probing);
      if (outcome == ProbeOutcome::ok)
        cluster_.note_round_trip(probe->id, scheduler_.now() - probe->pending_since);
      probe->pending_since = {};
    }
    if (probe->gone) co_return;
    cluster_.update_health(probe->id, scheduler_.now(), [&](cluster::NodeHealth& health) {
      health.on_probe(outcome, scheduler_.now());
    });
    // Again and again: a request whose node had just sent something was spared so far.
    const cluster::NodeHealth* health = cluster_.health(probe->id);
    const bool dead =
        health != nullptr && health->availability(scheduler_.now()) == Availability::down;
    if (dead && outcome != ProbeOutcome::ok && node_down_) node_down_(probe->id);
    const TimePoint next = std::max(began + options_->probe.interval, scheduler_.now() + 20ms);
    auto pause = scheduler_.sleep_until(next);
    co_await std::move(pause);
  }
}

net::Task<void> Control::watch_models(std::shared_ptr<Probe> probe) {
  while (!probe->gone) {
    auto fetching = fetch_models(probe);
    const bool fetched = co_await std::move(fetching);
    // A node that has not told yet is asked again at the liveness pace: it is of no use until it
    // has.
    const bool known = fetched || probe->listing->listed;
    auto pause = scheduler_.sleep_until(
        scheduler_.now() + (known ? options_->probe.tags_interval : options_->probe.interval));
    co_await std::move(pause);
  }
}

net::Task<void> Control::watch_loaded(std::shared_ptr<Probe> probe) {
  while (!probe->gone) {
    auto fetching = fetch_loaded(probe);
    co_await std::move(
        fetching);  // a node that does not answer is skipped, never judged (reference §8)
    auto pause = scheduler_.sleep_until(scheduler_.now() + options_->probe.ps_interval);
    co_await std::move(pause);
  }
}

net::Task<void> Control::fetch_models_only(std::shared_ptr<Probe> probe) {
  auto fetching = fetch_models(probe);
  co_await std::move(fetching);
}

net::Task<void> Control::fetch_models_and_loaded(std::shared_ptr<Probe> probe) {
  auto models = fetch_models(probe);
  co_await std::move(models);
  auto loaded = fetch_loaded(probe);
  co_await std::move(loaded);
}

net::Task<bool> Control::resolve(std::shared_ptr<Probe> probe) {
  const TimePoint now = scheduler_.now();
  const bool fresh = now - probe->resolved_at < options_->probe.resolve_interval;
  if (!probe->addresses.empty() && fresh) co_return true;
  auto resolving = net::resolve(context_, probe->info.host, probe->info.port);
  auto resolved = co_await std::move(resolving);
  if (!resolved) co_return !probe->addresses.empty();
  const std::vector<Address> before = std::exchange(probe->addresses, std::move(*resolved));
  for (const Address& way : probe->info.alternatives) {
    if (std::ranges::find(probe->addresses, way) == probe->addresses.end())
      probe->addresses.push_back(way);
  }
  if (probe->addresses != before) places_changed_ = true;
  probe->resolved_at = now;
  if (probe->gone) co_return false;
  cluster_.set_addresses(probe->id, probe->addresses);
  publish();
  co_return true;
}

ProbeOutcome Control::connect_outcome(Probe& probe, const Error& error) {
  switch (error.kind) {
    case ErrorKind::timeout:
      return ProbeOutcome::unreached;
    case ErrorKind::overloaded:
      return ProbeOutcome::not_asked;
    case ErrorKind::untrusted:
    case ErrorKind::forbidden:
      // Said once, not with every probe.
      if (probe.connect_problem != error.detail)
        spdlog::warn("node {}: {}", probe.info.name, error.detail);
      probe.connect_problem = error.detail;
      return error.kind == ErrorKind::untrusted ? ProbeOutcome::untrusted : ProbeOutcome::forbidden;
    default:
      return ProbeOutcome::refused;
  }
}

net::Task<ProbeOutcome> Control::probe_version(std::shared_ptr<Probe> probe) {
  const TimePoint deadline = scheduler_.now() + options_->probe.timeout;
  const std::string path = probe->info.path_prefix + "/api/version";
  // A kept connection may have been closed since the last probe: that alone says nothing, so a
  // fresh one is tried.
  for (const bool kept : {true, false}) {
    if (kept && !probe->liveness) continue;
    if (!probe->liveness) {
      auto connecting = nodes_.connect(probe->info, probe->addresses, deadline);
      auto connected = co_await std::move(connecting);
      if (!connected) co_return connect_outcome(*probe, connected.error());
      probe->connect_problem.clear();
      probe->liveness = std::move(*connected);
    }
    net::SimpleRequest request{
        .target = path, .host_field = probe->host_field, .reply_max = version_max};
    auto calling = net::call_once(*probe->liveness, scratch_, std::move(request), deadline);
    auto answer = co_await std::move(calling);
    if (!answer || !answer->reusable) probe->liveness = nullptr;
    if (!answer) {
      if (answer.error().kind == ErrorKind::timeout) co_return ProbeOutcome::silent;
      if (kept && answer.error().kind == ErrorKind::reset) continue;
      co_return ProbeOutcome::bad_reply;
    }
    const Result<std::string> version = api::parse_version(answer->reply.body);
    if (answer->reply.status != 200 || !version) co_return ProbeOutcome::bad_reply;
    if (probe->listing->version != *version) {
      traffic_judge_.forget(probe->id);
      update_listing(*probe, [&](NodeListing& listing) { listing.version = *version; });
    }
    co_return ProbeOutcome::ok;
  }
  co_return ProbeOutcome::bad_reply;
}

net::Task<Result<net::HttpReply>> Control::get(std::shared_ptr<Probe> probe, std::string path,
                                               TimePoint deadline) {
  auto connecting = nodes_.connect(probe->info, probe->addresses, deadline);
  auto stream = co_await std::move(connecting);
  if (!stream) co_return std::unexpected(stream.error());
  net::SimpleRequest request{.target = probe->info.path_prefix + path,
                             .host_field = probe->host_field,
                             .extra_fields = "Connection: close\r\n",
                             .body = {},
                             .reply_max = options_->probe.body_max};
  auto calling = net::call_once(**stream, scratch_, std::move(request), deadline);
  auto answer = co_await std::move(calling);
  if (!answer) co_return std::unexpected(answer.error());
  if (answer->reply.status != 200) {
    co_return std::unexpected(Error{ErrorKind::bad_reply, Origin::node, Retry::later,
                                    path + " answered " + std::to_string(answer->reply.status)});
  }
  co_return std::move(answer->reply);
}

net::Task<bool> Control::fetch_models(std::shared_ptr<Probe> probe) {
  if (probe->models_under_way) co_return false;
  probe->models_under_way = true;
  auto getting = get(probe, "/api/tags", scheduler_.now() + options_->probe.ps_timeout);
  const auto reply = co_await std::move(getting);
  probe->models_under_way = false;
  if (!reply || probe->gone) co_return false;
  auto models = api::parse_tags(reply->body, options_->probe.models_max);
  if (!models) {
    spdlog::warn("node {}: /api/tags is not usable: {}", probe->info.name, models.error().detail);
    co_return false;
  }
  take_models(*probe, std::move(*models));
  co_return true;
}

void Control::take_models(Probe& probe, std::vector<api::ModelEntry> models) {
  std::vector<cluster::ModelRecord> records;
  for (const api::ModelEntry& model : models)
    records.push_back({model.key, model.name, model.digest, model.size_bytes, model.remote,
                       api::parameter_count(model.parameter_size)});
  cluster_.set_models(probe.id, std::move(records));
  const auto same_entry = [](const api::ModelEntry& a, const api::ModelEntry& b) {
    return a.digest == b.digest && a.modified_at == b.modified_at;
  };
  if (!std::ranges::equal(models, probe.listing->models, same_entry)) places_changed_ = true;
  update_listing(probe, [&](NodeListing& listing) {
    listing.models = std::move(models);
    listing.listed = true;
  });
}

net::Task<bool> Control::fetch_loaded(std::shared_ptr<Probe> probe) {
  const TimePoint asked = scheduler_.now();
  auto getting = get(probe, "/api/ps", asked + options_->probe.ps_timeout);
  const auto reply = co_await std::move(getting);
  if (!reply || probe->gone) co_return false;
  auto loaded = api::parse_ps(reply->body, options_->probe.models_max);
  if (!loaded) co_return false;
  take_loaded(*probe, std::move(*loaded), asked);
  co_return true;
}

void Control::take_loaded(Probe& probe, std::vector<api::LoadedModel> loaded, TimePoint asked) {
  std::vector<cluster::Cluster::LoadedRecord> records;
  for (const api::LoadedModel& model : loaded) records.push_back({model.key, model.context_length});
  cluster_.set_loaded(probe.id, records, asked);
  update_listing(probe, [&](NodeListing& listing) { listing.loaded = std::move(loaded); });
}

void Control::update_listing(Probe& probe, const std::function<void(NodeListing&)>& change) {
  auto updated = std::make_shared<NodeListing>(*probe.listing);
  change(*updated);
  probe.listing = std::move(updated);
  publish();
}

void Control::publish() {
  auto view = std::make_shared<FleetView>();
  view->cluster = cluster_.snapshot();
  for (const cluster::Node& node : view->cluster->nodes) {
    const auto probe = probes_.find(node.id);
    view->listings.push_back(probe == probes_.end() ? std::make_shared<const NodeListing>()
                                                    : probe->second->listing);
  }
  views_.publish(std::move(view));
  if (changed_) changed_();
}

}  // namespace sollol::gateway

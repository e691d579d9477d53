// The part of the control thread that adds nodes by hand and writes the node file.
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "api/listing.h"
#include "discovery/discover.h"
#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "gateway/node_request.h"
#include "gateway/nodes.h"
#include "gateway/spawn.h"
#include "net/event.h"
#include "net/network.h"

namespace sollol::gateway {

namespace {

Error not_there(const cluster::NodeInfo& info, std::string_view why) {
  return {ErrorKind::refused, Origin::node, Retry::later,
          fmt::format("nothing that is a node answers at {}: {}; see that Ollama runs there and "
                      "listens for others (OLLAMA_HOST=0.0.0.0), or add it without asking it",
                      info.url, why)};
}

}  // namespace

net::Task<Result<NodeListing>> Control::add_node(NodeRequest request) {
  NodeListing told;
  if (request.probe == AutoProbe::on) {
    auto asking = ask(request.info);
    Result<NodeListing> answer = co_await std::move(asking);
    if (!answer) co_return std::unexpected(answer.error());
    told = *std::move(answer);
  }
  const Result<NodeId> added = cluster_.add(request.info);
  if (!added) co_return std::unexpected(added.error());
  start_probe(*added);
  if (request.probe == AutoProbe::on || net::is_ip(request.info.host)) {
    // Where it runs is known at once.
    auto resolving = resolve(probes_.at(*added));
    co_await std::move(resolving);
  }
  if (request.probe == AutoProbe::on) {
    if (!probes_.contains(*added))
      co_return std::unexpected(bad_input(request.info.url + " was removed while it was added"));
    Probe& probe = *probes_.at(*added);
    update_listing(probe, [&](NodeListing& listing) { listing.version = told.version; });
    take_models(probe, told.models);
    take_loaded(probe, told.loaded, scheduler_.now());
  }
  publish();
  if (request.save) {
    const std::vector<discovery::NodeSpec> specs{to_node_spec(request.info)};
    const Result<std::size_t> saved = discovery::save_nodes(specs, options_->node_file);
    if (!saved) co_return std::unexpected(saved.error());
  }
  co_return told;
}

/// What a node that is not ours yet tells of itself.
net::Task<Result<NodeListing>> Control::ask(cluster::NodeInfo info) {
  const auto probe = std::make_shared<Probe>(no_node, std::move(info));
  const TimePoint deadline = scheduler_.now() + options_->probe.ps_timeout;
  auto resolving = net::resolve(context_, probe->info.host, probe->info.port);
  auto resolved = co_await std::move(resolving);
  if (!resolved) co_return std::unexpected(not_there(probe->info, resolved.error().detail));
  probe->addresses = std::move(*resolved);
  NodeListing told;
  told.listed = true;
  for (const std::string_view path : {"/api/version", "/api/tags", "/api/ps"}) {
    auto getting = get(probe, std::string(path), deadline);
    const auto reply = co_await std::move(getting);
    if (!reply) co_return std::unexpected(not_there(probe->info, reply.error().detail));
    const auto take = [&](auto parsed, auto& into) -> Result<void> {
      if (!parsed) return std::unexpected(not_there(probe->info, parsed.error().detail));
      into = *std::move(parsed);
      return {};
    };
    const std::size_t most = options_->probe.models_max;
    const Result<void> taken =
        path == "/api/version" ? take(api::parse_version(reply->body), told.version)
        : path == "/api/tags"  ? take(api::parse_tags(reply->body, most), told.models)
                               : take(api::parse_ps(reply->body, most), told.loaded);
    if (!taken) co_return std::unexpected(taken.error());
  }
  co_return told;
}

net::Task<std::optional<std::string>> Control::known_at(cluster::NodeInfo info) {
  auto resolving = net::resolve(context_, info.host, info.port);
  const auto addresses = co_await std::move(resolving);
  if (!addresses) co_return std::nullopt;
  for (const auto& [id, probe] : probes_) {
    if (probe->info.path_prefix != info.path_prefix) continue;
    const auto& ways = probe->addresses;
    const bool same = std::ranges::any_of(*addresses, [&](const Address& address) {
      return std::ranges::find(ways, address) != ways.end();
    });
    if (same) co_return probe->info.url;
  }
  co_return std::nullopt;
}

/// One round of checks; each node's own coroutine fills in its line.
struct Control::Checking {
  CheckLimits limits;
  std::vector<NodeCheck> found;
  std::size_t left = 0;
  net::Event done;
};

net::Task<std::vector<Control::NodeCheck>> Control::check_nodes(CheckLimits limits) {
  const auto run = std::make_shared<Checking>(limits, std::vector<NodeCheck>(probes_.size()),
                                              probes_.size(), net::Event(context_));
  std::size_t index = 0;
  for (const auto& [id, probe] : probes_) spawn(context_, "check", check_node(probe, run, index++));
  if (run->left > 0) {
    auto waiting = run->done.wait();
    co_await std::move(waiting);
  }
  co_return std::move(run->found);
}

net::Task<void> Control::check_node(std::shared_ptr<Probe> probe, std::shared_ptr<Checking> run,
                                    std::size_t index) {
  const TimePoint began = scheduler_.now();
  NodeCheck& check = run->found[index];
  check.url = probe->info.url;
  auto resolving = resolve(probe);
  const bool resolved = co_await std::move(resolving);
  Result<std::unique_ptr<net::Stream>> stream;
  if (resolved) {
    auto connecting = nodes_.connect(probe->info, probe->addresses, began + run->limits.connect);
    stream = co_await std::move(connecting);
  }
  if (resolved && stream) {
    net::SimpleRequest request{.target = probe->info.path_prefix + "/api/version",
                               .host_field = probe->host_field,
                               .extra_fields = "Connection: close\r\n"};
    auto calling = net::call_once(**stream, scratch_, std::move(request),
                                  scheduler_.now() + run->limits.answer);
    const auto answer = co_await std::move(calling);
    check.answered =
        answer && answer->reply.status == 200 && api::parse_version(answer->reply.body).has_value();
  }
  check.took = scheduler_.now() - began;
  if (--run->left == 0) run->done.set();
}

std::vector<discovery::NodeSpec> Control::specs_of(std::string_view origin) const {
  std::vector<discovery::NodeSpec> specs;
  for (const auto& [id, probe] : probes_) {
    if (probe->info.origin == origin && !probe->leaving) specs.push_back(to_node_spec(probe->info));
  }
  return specs;
}

net::Task<Result<Control::Saved>> Control::save_nodes() {
  const std::string& file = options_->node_file;
  const auto named = discovery::save_nodes(specs_of(admin_origin), file);
  if (!named) co_return std::unexpected(named.error());
  const auto found = discovery::save_found(specs_of(discovered_origin), file);
  if (!found) co_return std::unexpected(found.error());
  co_return Saved{.file = file, .added = *named + *found};
}

}  // namespace sollol::gateway

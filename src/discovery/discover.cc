#include "discovery/discover.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <cassert>

#include "discovery/container_engine.h"
#include "discovery/node_file.h"
#include "net/event.h"
#include "net/network.h"
#include "net/tcp.h"

namespace sollol::discovery {

namespace asio = net::asio;

namespace {

/// An engine that answers at once is heard before the scan begins, so that no container is shown
/// twice.
constexpr Duration engine_head_start = std::chrono::milliseconds(50);
constexpr Duration announced_asked_every = std::chrono::milliseconds(5);
constexpr Duration engine_asked_every = std::chrono::milliseconds(1);

/// One look under way; its parts hold it.
struct Look : std::enable_shared_from_this<Look> {
  Look(asio::io_context& c, net::Scheduler& s, net::Connector& n, ScanOptions o, OnNode f,
       net::Links l)
      : context(c),
        scheduler(s),
        connector(n),
        options(std::move(o)),
        on_node(std::move(f)),
        links(std::move(l)),
        collector(links, net::read_listeners()),
        changed(c) {}

  asio::io_context& context;
  net::Scheduler& scheduler;
  net::Connector& connector;
  const ScanOptions options;
  const OnNode on_node;
  const net::Links links;
  NodeCollector collector;
  net::Event changed;
  ScanPlan plan;
  Discovery result;
  std::size_t engines = 0;  // asked, and what they name not tried yet
  TimePoint began{};
  std::size_t unheard = 0;  // engines that have not answered

  net::Task<Discovery> run();
  void ask_engines();
  net::Task<void> ask_engine(std::string socket);
  net::Task<void> try_announced();
  bool may_try(const std::string& ip) const;
  net::Task<void> try_more(ScanPlan more, Source source);
  net::Task<void> try_ways(std::vector<ContainerWay> ways);
  void take(Found found);
  bool enough() const { return !options.discover_all_nodes && !collector.nodes().empty(); }
};

net::Task<Discovery> Look::run() {
  began = scheduler.now();
  result.ranges = plan.ranges;
  result.skipped = plan.skipped;
  ask_engines();
  while (unheard > 0 && scheduler.now() < began + engine_head_start) {
    auto pause = scheduler.sleep_until(scheduler.now() + engine_asked_every);
    co_await std::move(pause);
  }
  const auto self = shared_from_this();
  auto scanning = scan(
      context, scheduler, connector, plan, options,
      [self](Found found) { self->take(std::move(found)); },
      [self](const Address& at) { self->result.refused.push_back(at); });
  const ScanFigures scanned = co_await std::move(scanning);
  auto trying = try_announced();
  co_await std::move(trying);
  while (engines > 0 && !enough()) {
    auto waiting = changed.wait();
    co_await std::move(waiting);
  }
  result.figures.tried += scanned.tried;
  result.figures.open += scanned.open;
  result.figures.unsent += scanned.unsent;
  result.figures.nodes = collector.nodes().size();
  result.figures.stopped_early = scanned.stopped_early;
  result.figures.took = scheduler.now() - began;
  result.nodes = collector.nodes();
  co_return result;
}

void Look::ask_engines() {
  const bool wanted =
      options.auto_resolve_docker && options.sources.has(Source::engine) && options.subnets.empty();
  if (!wanted) return;
  std::vector<std::string> sockets = options.engine_sockets;
  if (sockets.empty()) sockets = engine_sockets(ProcessEnvironment{});
  sockets.resize(std::min(sockets.size(), EngineLimits{}.sockets_max));
  unheard = engines = sockets.size();
  for (std::string& socket : sockets) {
    asio::co_spawn(context, ask_engine(std::move(socket)),
                   [self = shared_from_this()](std::exception_ptr) {
                     --self->engines;
                     self->changed.set();
                   });
  }
}

net::Task<void> Look::ask_engine(std::string socket) {
  auto asking = list_containers(context, scheduler, socket, scheduler.now() + options.timeout);
  const Result<std::vector<Container>> containers = co_await std::move(asking);
  --unheard;
  if (!containers) {
    const bool absent = containers.error().kind == ErrorKind::not_found;
    if (!absent)
      result.notes.push_back(
          fmt::format("container engine {}: not heard: {}", socket, containers.error().detail));
    co_return;
  }
  std::vector<ContainerWay> ways = container_ways(*containers, links, options);
  result.notes.push_back(fmt::format("container engine {}: {} containers run, {} addresses of them",
                                     socket, containers->size(), ways.size()));
  collector.set_containers(ways);
  auto trying = try_ways(std::move(ways));
  co_await std::move(trying);
}

/// What the scan does not come to by itself.
net::Task<void> Look::try_ways(std::vector<ContainerWay> ways) {
  ScanPlan more;
  for (const ContainerWay& way : ways) {
    const bool scanned = plan.contains(way.address.ip) &&
                         std::ranges::find(options.ports, way.address.port) != options.ports.end();
    if (!scanned) more.named.push_back(way.address);
  }
  auto trying = try_more(std::move(more), Source::engine);
  co_await std::move(trying);
}

/// Whether an address that somebody announces may be tried: a private one of a machine on a link of
/// ours, and, where subnets are named, in these alone.
bool Look::may_try(const std::string& ip) const {
  if (!net::is_private(ip) || links.is_own(ip)) return false;
  if (!options.subnets.empty()) return plan.contains(ip);
  const std::optional<unsigned> index = net::direct_interface(ip);
  const net::Interface* interface = index ? links.interface(*index) : nullptr;
  return interface != nullptr && interface->kind != net::Interface::Kind::point_to_point;
}

net::Task<void> Look::try_announced() {
  if (!options.announced || !options.sources.has(Source::mdns)) co_return;
  net::Announced heard = options.announced();
  while (!heard.settled && !enough() && scheduler.now() < began + options.timeout) {
    auto pause = scheduler.sleep_until(scheduler.now() + announced_asked_every);
    co_await std::move(pause);
    heard = options.announced();
  }
  ScanPlan more;
  for (const Address& at : heard.addresses) {
    if (!may_try(at.ip)) continue;
    std::vector<std::uint16_t> ports{at.port};
    if (at.port == 0) ports = options.ports;
    for (const std::uint16_t port : ports) {
      const Address way{at.ip, port};
      const bool scanned =
          plan.contains(at.ip) && std::ranges::find(options.ports, port) != options.ports.end();
      if (!scanned && std::ranges::find(more.named, way) == more.named.end())
        more.named.push_back(way);
    }
  }
  auto trying = try_more(std::move(more), Source::mdns);
  co_await std::move(trying);
}

net::Task<void> Look::try_more(ScanPlan more, Source source) {
  if (more.named.empty() || enough()) co_return;
  const auto self = shared_from_this();
  auto scanning =
      scan(context, scheduler, connector, std::move(more), options, [self, source](Found found) {
        found.source = source;
        self->take(std::move(found));
      });
  const ScanFigures figures = co_await std::move(scanning);
  result.figures.tried += figures.tried;
  result.figures.open += figures.open;
  result.figures.unsent += figures.unsent;
}

void Look::take(Found found) {
  if (found.what != Found::What::node) return result.others.push_back(std::move(found));
  if (enough()) return;
  if (collector.lacks_mac(found.address.ip)) collector.set_neighbours(net::read_neighbours());
  const auto [outcome, index] = collector.add(std::move(found));
  if (on_node) on_node(collector.nodes()[index], outcome);
}

}  // namespace

net::Task<Result<Discovery>> look(asio::io_context& context, net::Scheduler& scheduler,
                                  net::Connector& connector, ScanOptions options, OnNode on_node) {
  Result<net::Links> links = net::read_links();
  if (!links) co_return std::unexpected(links.error());
  Result<ScanPlan> plan = plan_scan(*links, options);
  if (!plan) co_return std::unexpected(plan.error());
  const auto looking = std::make_shared<Look>(context, scheduler, connector, std::move(options),
                                              std::move(on_node), std::move(*links));
  looking->plan = std::move(*plan);
  auto running = looking->run();
  co_return co_await std::move(running);
}

Result<Discovery> discover(const ScanOptions& options, const OnNode& on_node) {
  asio::io_context context(1);
  net::AsioScheduler scheduler(context);
  net::TcpConnector connector(context, scheduler);
  Result<Discovery> result;
  std::exception_ptr failure;
  asio::co_spawn(context, look(context, scheduler, connector, options, on_node),
                 [&](std::exception_ptr problem, Result<Discovery> found) {
                   failure = problem;
                   result = std::move(found);
                   context.stop();  // what is still tried when the first was enough
                 });
  context.run();
  if (failure) std::rethrow_exception(failure);
  return result;
}

NodeSpec to_node_spec(const DiscoveredNode& node) {
  auto spec = make_node({.host = node.address.ip, .port = node.address.port});
  assert(spec.has_value());  // a literal address always is one
  return *std::move(spec);
}

namespace {

/// Writes what `add` adds. A file that is missing is made.
template <class Add>
Result<std::size_t> save(std::span<const NodeSpec> nodes, const std::string& path, Add add) {
  if (path.empty())
    return std::unexpected(bad_input("there is no node file to save to; set node_file"));
  auto file = NodeFile::load(path);
  if (!file && file.error().kind == ErrorKind::not_found) file = NodeFile::empty(path);
  if (!file) return std::unexpected(file.error());
  std::size_t added = 0;
  for (const NodeSpec& node : nodes) added += add(*file, node) ? 1 : 0;
  if (added == 0) return added;
  const Result<void> saved = file->save();
  if (!saved) return std::unexpected(saved.error());
  return added;
}

}  // namespace

Result<std::size_t> save_found(std::span<const NodeSpec> nodes, const std::string& path) {
  return save(nodes, path,
              [](NodeFile& file, const NodeSpec& node) { return file.add_found(node); });
}

Result<std::size_t> save_nodes(std::span<const NodeSpec> nodes, const std::string& path) {
  return save(nodes, path, [](NodeFile& file, const NodeSpec& node) { return file.add(node); });
}

}  // namespace sollol::discovery

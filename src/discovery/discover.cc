#include "discovery/discover.h"

#include <algorithm>
#include <boost/asio/co_spawn.hpp>

#include "net/tcp.h"

namespace sollol::discovery {

Result<Discovery> discover(const ScanOptions& options,
                           const std::function<void(const DiscoveredNode&)>& on_node) {
  const Result<net::Links> links = net::read_links();
  if (!links) return std::unexpected(links.error());
  Result<ScanPlan> plan = plan_scan(*links, options);
  if (!plan) return std::unexpected(plan.error());

  Discovery result;
  result.ranges = plan->ranges;
  result.skipped = plan->skipped;
  NodeCollector collector(*links, net::read_listeners());
  net::asio::io_context context(1);
  net::AsioScheduler scheduler(context);
  net::TcpConnector connector(context, scheduler);
  const auto take = [&](Found found) {
    if (found.what != Found::What::node) return result.others.push_back(std::move(found));
    if (collector.lacks_mac(found.address.ip)) collector.set_neighbours(net::read_neighbours());
    const auto [outcome, index] = collector.add(std::move(found));
    if (outcome == NodeCollector::Outcome::another && on_node) on_node(collector.nodes()[index]);
  };
  std::exception_ptr failure;
  net::asio::co_spawn(context, scan(context, scheduler, connector, std::move(*plan), options, take),
                      [&](std::exception_ptr problem, ScanFigures figures) {
                        failure = problem;
                        result.figures = figures;
                        context.stop();  // what is still tried when the first was enough
                      });
  context.run();
  if (failure) std::rethrow_exception(failure);
  result.nodes = collector.nodes();
  return result;
}

}  // namespace sollol::discovery

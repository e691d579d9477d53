#include "discovery/discover.h"

#include <boost/asio/co_spawn.hpp>

#include "net/tcp.h"

namespace sollol::discovery {

net::Task<Result<Discovery>> look(net::asio::io_context& context, net::Scheduler& scheduler,
                                  net::Connector& connector, ScanOptions options, OnNode on_node) {
  const Result<net::Links> links = net::read_links();
  if (!links) co_return std::unexpected(links.error());
  Result<ScanPlan> plan = plan_scan(*links, options);
  if (!plan) co_return std::unexpected(plan.error());

  Discovery result;
  result.ranges = plan->ranges;
  result.skipped = plan->skipped;
  NodeCollector collector(*links, net::read_listeners());
  const auto take = [&](Found found) {
    if (found.what != Found::What::node) return result.others.push_back(std::move(found));
    if (collector.lacks_mac(found.address.ip)) collector.set_neighbours(net::read_neighbours());
    const auto [outcome, index] = collector.add(std::move(found));
    if (on_node) on_node(collector.nodes()[index], outcome);
  };
  auto scanning = scan(context, scheduler, connector, std::move(*plan), std::move(options), take,
                       [&](const Address& at) { result.refused.push_back(at); });
  result.figures = co_await std::move(scanning);
  result.nodes = collector.nodes();
  co_return result;
}

Result<Discovery> discover(const ScanOptions& options, const OnNode& on_node) {
  net::asio::io_context context(1);
  net::AsioScheduler scheduler(context);
  net::TcpConnector connector(context, scheduler);
  Result<Discovery> result;
  std::exception_ptr failure;
  net::asio::co_spawn(context, look(context, scheduler, connector, options, on_node),
                      [&](std::exception_ptr problem, Result<Discovery> found) {
                        failure = problem;
                        result = std::move(found);
                        context.stop();  // what is still tried when the first was enough
                      });
  context.run();
  if (failure) std::rethrow_exception(failure);
  return result;
}

}  // namespace sollol::discovery

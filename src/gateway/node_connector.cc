#include "gateway/node_connector.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/tls.h"

namespace sollol::gateway {

bool added_over_http(const cluster::NodeInfo& info) noexcept { return info.origin == admin_origin; }

net::Task<Result<std::unique_ptr<net::Stream>>> NodeConnector::connect(
    const cluster::NodeInfo& info, std::vector<Address> addresses, TimePoint deadline) {
  if (added_over_http(info)) {
    const auto forbidden = [&](const Address& address) {
      return !net::may_connect(address.ip, options_.current()->access.node_networks);
    };
    const auto first = std::ranges::find_if(addresses, forbidden);
    const std::string ip = first == addresses.end() ? std::string() : first->ip;
    std::erase_if(addresses, forbidden);
    if (addresses.empty() && !ip.empty()) {
      co_return std::unexpected(
          Error{ErrorKind::forbidden, Origin::node, Retry::other_node,
                fmt::format("nodes added over HTTP may not be at {} (access.node_networks)", ip)});
    }
  }
  auto connecting = net::connect_any(plain_, clock_, std::move(addresses), deadline);
  auto connected = co_await std::move(connecting);
  if (!connected || !cluster::uses_tls(info)) co_return connected;
  auto trust = credentials_.trust();
  if (!trust) co_return std::unexpected(trust.error());
  auto securing =
      net::tls_connect(std::move(*connected), std::move(*trust), loop_, info.host, deadline);
  co_return co_await std::move(securing);
}

}  // namespace sollol::gateway

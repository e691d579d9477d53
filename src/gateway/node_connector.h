#pragma once

#include <memory>
#include <vector>

#include "cluster/snapshot.h"
#include "gateway/credentials.h"
#include "gateway/options.h"
#include "net/connector.h"
#include "net/tls_context.h"

namespace sollol::gateway {

/// Whether a node was named by somebody over HTTP, and not by the operator's own configuration.
bool added_over_http(const cluster::NodeInfo& info) noexcept;

/// The origin of a node that was added at run time: no configuration takes it away.
inline constexpr std::string_view admin_origin = "admin";

/// The one place where connections to nodes are made: it decides whether an address may be
/// connected to, and whether TLS is spoken there.
///
/// The check is made on the very address that is connected to, so a name that resolves to another
/// one since it was checked gains nothing. One for each thread.
class NodeConnector {
 public:
  NodeConnector(net::asio::io_context& loop, const net::Scheduler& clock, net::Connector& plain,
                Credentials& credentials, const OptionsSource& options)
      : loop_(loop), clock_(clock), plain_(plain), credentials_(credentials), options_(options) {}

  /// A stream to the first of the addresses that answers, secured when the node's URL says https.
  /// The deadline is for all of it. Errors: as Connector::connect; forbidden (the address may not
  /// be connected to), untrusted (the node's certificate), and what else a handshake can end with.
  net::Task<Result<std::unique_ptr<net::Stream>>> connect(const cluster::NodeInfo& info,
                                                          std::vector<Address> addresses,
                                                          TimePoint deadline);

 private:
  net::asio::io_context& loop_;
  const net::Scheduler& clock_;
  net::Connector& plain_;
  Credentials& credentials_;
  OptionsReader options_;
};

}  // namespace sollol::gateway

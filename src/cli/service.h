#pragma once

#include <functional>
#include <string>

#include "base/address.h"
#include "cli/hand_over.h"
#include "cli/systemd.h"
#include "gateway/gateway.h"

namespace sollol::cli {

/// Blocks the signals that `serve` waits for. Before any thread starts: every thread inherits it.
void block_signals();

/// What `serve` needs of the command that started the gateway.
struct ServiceHooks {
  /// Reads the configuration again and gives it to the gateway; it reports mistakes itself.
  std::function<void()> reload;
  /// Longest time for what runs when the gateway stops.
  std::function<Duration()> drain_timeout;
};

/// A gateway that runs, until it is told to stop: SIGTERM or SIGINT drains it, a second one ends it
/// at once; SIGHUP reloads; a later process may take over. Tells the service manager of all that.
/// Returns the exit code.
int serve(gateway::Gateway& gateway, const Address& at, gateway::Worker::Sockets sockets,
          const ServiceManager& manager, const ServiceHooks& hooks);

}  // namespace sollol::cli

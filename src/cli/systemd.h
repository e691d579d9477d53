#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/environment.h"
#include "base/time.h"

namespace sollol::cli {

/// Tells a service manager how the process is doing, by the protocol of sd_notify(3): datagrams to
/// the socket that NOTIFY_SOCKET names. Without one every call does nothing. One thread.
class ServiceManager {
 public:
  explicit ServiceManager(const Environment& environment);

  bool present() const noexcept { return !socket_.empty(); }
  /// Sends `lines`, such as "READY=1\nSTATUS=…". Never blocks; a manager that does not listen is
  /// none.
  void notify(std::string_view lines) const;
  void ready(std::string_view status) const;
  void reloading() const;
  void stopping(std::string_view status) const;
  /// How often WATCHDOG=1 must be sent: twice as often as the manager wants it; nullopt: it does
  /// not.
  std::optional<Duration> watchdog_interval() const noexcept { return watchdog_; }

 private:
  std::string socket_;  // as in a sockaddr_un: an abstract one starts with NUL
  std::optional<Duration> watchdog_;
};

/// Descriptors of sockets that the service manager opened for this process (LISTEN_FDS,
/// LISTEN_PID), owned by the caller; empty: none. They are no longer passed on to children.
std::vector<int> activated_sockets(const Environment& environment);

}  // namespace sollol::cli

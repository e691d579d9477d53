#pragma once

#include <string>

#include "base/address.h"

namespace sollol::net {

/// A process of this machine.
struct SocketOwner {
  int pid = 0;       // 0: not known
  std::string name;  // "ollama"
};

/// Who listens at this TCP address, or at all addresses with that port. Not known where the system
/// does not tell, as of other users' processes. Looks through /proc: some milliseconds.
SocketOwner listener_owner(const Address& at);

}  // namespace sollol::net

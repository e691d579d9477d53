#pragma once

#include <string_view>

#include "base/address.h"
#include "base/result.h"

namespace sollol::net {

/// Parses `ip:port`, `[v6]:port`, `:port` (all IPv4 interfaces) or `localhost:port`; the error
/// names the mend.
Result<Address> parse_listen_address(std::string_view text);

bool is_loopback(const Address& address);

/// Who is at the other end of a connected socket: "127.0.0.1" where that is a process of this
/// machine without an address, "unknown" when nobody is.
std::string peer_of(int descriptor);

/// What this machine calls itself; empty when it does not say.
std::string own_host_name();

}  // namespace sollol::net

#pragma once

#include <compare>
#include <cstdint>
#include <string>

namespace sollol {

/// An IP address literal and port.
struct Address {
  std::string ip;  // "127.0.0.1", "::1"
  std::uint16_t port = 0;
  friend auto operator<=>(const Address&, const Address&) = default;
};

/// "127.0.0.1:80", "[::1]:80".
inline std::string to_string(const Address& address) {
  const bool v6 = address.ip.contains(':');
  return (v6 ? "[" + address.ip + "]" : address.ip) + ":" + std::to_string(address.port);
}

}  // namespace sollol

#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::net {

/// A range of IP addresses: `10.0.0.0/8`, `fd00::/8`, or one address.
class Network {
 public:
  /// Error: bad_input, saying what is wrong with the text.
  static Result<Network> parse(std::string_view text);

  /// Whether the IP literal is in the range. IPv4 in IPv6 clothing (`::ffff:10.0.0.1`,
  /// `64:ff9b::10.0.0.1`) is taken as IPv4. False for what is no literal.
  bool contains(std::string_view ip) const;

 private:
  using Bytes = std::array<std::uint8_t, 16>;  // IPv4 as ::ffff:a.b.c.d
  Network(const Bytes& prefix, unsigned bits) : prefix_(prefix), bits_(bits) {}

  Bytes prefix_;
  unsigned bits_;
};

/// Whether the text is an IP literal, without brackets.
bool is_ip(std::string_view text);

/// Whether it is in a range that is nobody's in particular: RFC 1918, and fc00::/7 (RFC 4193).
bool is_private(std::string_view ip);

/// Addresses at which no node can stand: unspecified, multicast and broadcast ones, link-local ones
/// (169.254.0.0/16, fe80::/10) and those where clouds hand out a machine's credentials
/// (fd00:ec2::254 and the like, 100.100.100.200).
bool is_special(std::string_view ip);

/// Whether a node may be connected to at an address when nobody but a caller over HTTP vouches for
/// it: in one of the allowed networks, or, when none is named, anywhere but at a special address.
bool may_connect(std::string_view ip, std::span<const Network> allowed);

}  // namespace sollol::net

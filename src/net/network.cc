#include "net/network.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <optional>

namespace sollol::net {

namespace ip = boost::asio::ip;

namespace {

using Bytes = std::array<std::uint8_t, 16>;

constexpr unsigned mapped_bits = 96;  // of ::ffff:0:0/96, before the IPv4 address

Bytes mapped(const ip::address_v4::bytes_type& v4) {
  Bytes bytes{};
  bytes[10] = bytes[11] = 0xff;
  std::ranges::copy(v4, bytes.begin() + 12);
  return bytes;
}

/// IPv4 that is written inside an IPv6 address: mapped, compatible, or behind NAT64 (RFC 6052).
bool wraps_v4(const Bytes& bytes) {
  constexpr std::array<std::uint8_t, 12> nat64 = {0x00, 0x64, 0xff, 0x9b};
  constexpr std::array<std::uint8_t, 12> compatible = {};
  const std::span head(bytes.data(), 12);
  if (std::ranges::equal(head, nat64)) return true;
  // ::1 and :: are addresses of their own.
  return std::ranges::equal(head, compatible) && (bytes[12] | bytes[13] | bytes[14]) != 0;
}

std::optional<Bytes> parse_ip(std::string_view text) {
  boost::system::error_code bad;
  // A scope (fe80::1%eth0) says through which interface, not where.
  const ip::address parsed = ip::make_address(text.substr(0, text.find('%')), bad);
  if (bad) return std::nullopt;
  if (parsed.is_v4()) return mapped(parsed.to_v4().to_bytes());
  const Bytes bytes = parsed.to_v6().to_bytes();
  if (wraps_v4(bytes)) return mapped({bytes[12], bytes[13], bytes[14], bytes[15]});
  return bytes;
}

std::vector<Network> networks(std::initializer_list<std::string_view> texts) {
  std::vector<Network> made;
  for (const std::string_view text : texts) made.push_back(Network::parse(text).value());
  return made;
}

}  // namespace

Result<Network> Network::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const std::string_view host = text.substr(0, slash);
  const auto wrong = [text](std::string_view what) {
    return std::unexpected(
        bad_input(fmt::format("'{}': {}; write a network as 10.0.0.0/8 or fd00::/8", text, what)));
  };
  const auto bytes = parse_ip(host);
  if (!bytes) return wrong("not an IP address");
  const unsigned width = host.contains(':') ? 128 : 32;
  unsigned bits = width;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, bad] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (bad != std::errc{} || end != digits.data() + digits.size() || bits > width)
      return wrong(fmt::format("the prefix is not a number from 0 to {}", width));
  }
  return Network(*bytes, width == 32 ? bits + mapped_bits : bits);
}

bool Network::contains(std::string_view text) const {
  const auto bytes = parse_ip(text);
  if (!bytes) return false;
  const std::size_t whole = bits_ / 8;
  if (!std::equal(prefix_.begin(), prefix_.begin() + whole, bytes->begin())) return false;
  const unsigned rest = bits_ % 8;
  if (rest == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - rest));
  return (prefix_[whole] & mask) == ((*bytes)[whole] & mask);
}

bool is_ip(std::string_view text) { return parse_ip(text).has_value(); }

bool is_private(std::string_view text) {
  static const std::vector<Network> known =
      networks({"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"});
  return std::ranges::any_of(known, [text](const Network& net) { return net.contains(text); });
}

bool is_special(std::string_view text) {
  static const std::vector<Network> special =
      networks({"0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/4", "240.0.0.0/4", "100.100.100.200",
                "192.0.0.192", "::", "fe80::/10", "ff00::/8", "fd00:ec2::/32", "fd20:ce::254"});
  return std::ranges::any_of(special, [text](const Network& net) { return net.contains(text); });
}

bool may_connect(std::string_view text, std::span<const Network> allowed) {
  if (allowed.empty()) return !is_special(text);
  return std::ranges::any_of(allowed, [text](const Network& net) { return net.contains(text); });
}

}  // namespace sollol::net

#include "net/wake.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/network_v4.hpp>
#include <boost/asio/ip/udp.hpp>
#include <charconv>
#include <optional>

#include "net/network.h"

namespace sollol::net {

namespace asio = boost::asio;

namespace {

constexpr std::uint16_t discard_port = 9;  // nobody answers there; cards look at the bytes alone
constexpr std::size_t mac_bytes = 6;
constexpr std::size_t repeats = 16;
constexpr unsigned broadcast_bits_max = 30;  // narrower networks have no broadcast address

using Mac = std::array<std::uint8_t, mac_bytes>;

std::optional<Mac> mac_of(std::string_view text) {
  Mac mac{};
  if (text.size() != 3 * mac_bytes - 1) return std::nullopt;
  for (std::size_t i = 0; i < mac_bytes; ++i) {
    const char* at = text.data() + 3 * i;
    const auto [end, bad] = std::from_chars(at, at + 2, mac[i], 16);
    if (bad != std::errc{} || end != at + 2) return std::nullopt;
    if (i + 1 < mac_bytes && at[2] != text[2]) return std::nullopt;
  }
  if (text[2] != ':' && text[2] != '-') return std::nullopt;
  return mac;
}

/// The broadcast address of the network, if it has one.
std::string broadcast_of(const OwnAddress& own) {
  boost::system::error_code bad;
  const auto network = asio::ip::make_network_v4(own.network, bad);
  if (bad || network.prefix_length() > broadcast_bits_max || !is_private(own.ip)) return {};
  return network.broadcast().to_string();
}

}  // namespace

Result<std::string> parse_mac(std::string_view text) {
  const auto mac = mac_of(text);
  if (!mac) {
    return std::unexpected(
        bad_input(fmt::format("\"{}\" is no MAC address; write aa:bb:cc:dd:ee:ff", text)));
  }
  const bool of_many = (mac->front() & 1) != 0;
  const bool zero = std::ranges::all_of(*mac, [](std::uint8_t byte) { return byte == 0; });
  if (of_many || zero) {
    return std::unexpected(bad_input(fmt::format(
        "\"{}\" is the address of no single card; `ip link` on its machine shows the right one",
        text)));
  }
  return fmt::format("{:02x}", fmt::join(*mac, ":"));
}

std::string magic_packet(std::string_view mac) {
  const Mac bytes = mac_of(mac).value();
  std::string packet(mac_bytes, '\xff');
  for (std::size_t i = 0; i < repeats; ++i) packet.append(bytes.begin(), bytes.end());
  return packet;
}

std::vector<std::string> wake_targets(const Links& links, std::span<const Address> addresses) {
  std::vector<std::string> targets;
  for (const OwnAddress& own : links.addresses) {
    const Interface* interface = links.interface(own.interface);
    const bool link =
        interface != nullptr && interface->up &&
        (interface->kind == Interface::Kind::network || interface->kind == Interface::Kind::bridge);
    if (!link) continue;
    const auto network = Network::parse(own.network);
    const bool there = network && std::ranges::any_of(addresses, [&](const Address& address) {
                         return network->contains(address.ip) && !links.is_own(address.ip);
                       });
    const std::string target = there ? broadcast_of(own) : std::string();
    const bool known = std::ranges::find(targets, target) != targets.end();
    if (!target.empty() && !known) targets.push_back(target);
  }
  return targets;
}

Result<void> send_magic_packet(std::string_view mac, std::span<const std::string> targets) {
  const std::string packet = magic_packet(mac);
  std::string problem = "there is no address to send it to";
  bool sent = false;
  asio::io_context context(1);
  for (const std::string& target : targets) {
    boost::system::error_code bad;
    asio::ip::udp::socket socket(context);
    socket.open(asio::ip::udp::v4(), bad);
    if (!bad) socket.set_option(asio::socket_base::broadcast(true), bad);
    if (!bad) socket.non_blocking(true, bad);
    const asio::ip::udp::endpoint to(asio::ip::make_address_v4(target), discard_port);
    if (!bad) socket.send_to(asio::buffer(packet), to, 0, bad);
    if (bad)
      problem = fmt::format("{}: {}", target, bad.message());
    else
      sent = true;
  }
  if (sent) return {};
  return std::unexpected(Error{ErrorKind::refused, Origin::gateway, Retry::later,
                               fmt::format("the magic packet was not sent: {}", problem)});
}

}  // namespace sollol::net

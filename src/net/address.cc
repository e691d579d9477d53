#include "net/address.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>

#include <boost/asio/ip/address.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <charconv>

namespace sollol::net {

namespace ip = boost::asio::ip;

Result<Address> parse_listen_address(std::string_view text) {
  const auto wrong = [&](std::string_view what) {
    return std::unexpected(bad_input(fmt::format(
        "listen address '{}': {}; write it as 127.0.0.1:11434, [::1]:11434 or 0.0.0.0:11434", text,
        what)));
  };
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return wrong("no port");
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  unsigned port = 0;
  const auto [end, problem] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (problem != std::errc{} || end != digits.data() + digits.size() || port > 65535) {
    return wrong("the port is not a number from 0 to 65535");
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  if (host.empty() || host == "*") host = "0.0.0.0";
  if (host == "localhost") host = "127.0.0.1";
  boost::system::error_code not_ip;
  ip::make_address(host, not_ip);
  if (not_ip) return wrong("the host is not an IP address");
  return Address{std::string(host), static_cast<std::uint16_t>(port)};
}

bool is_loopback(const Address& address) {
  boost::system::error_code not_ip;
  const ip::address parsed = ip::make_address(address.ip, not_ip);
  return !not_ip && parsed.is_loopback();
}

std::string peer_of(int descriptor) {
  ip::tcp::endpoint endpoint;
  auto size = static_cast<socklen_t>(endpoint.capacity());
  if (::getpeername(descriptor, endpoint.data(), &size) != 0) return "unknown";
  if (endpoint.data()->sa_family == AF_UNIX) return "127.0.0.1";
  endpoint.resize(size);
  return endpoint.address().to_string();
}

std::string own_host_name() {
  std::array<char, 256> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

}  // namespace sollol::net

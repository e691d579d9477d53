#include "sim/address.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <stdexcept>

namespace sollol::sim {
namespace asio = boost::asio;
using asio::ip::tcp;

tcp::endpoint endpoint_of(const std::string& address) {
  if (address.empty()) return {asio::ip::address_v4::loopback(), 0};
  const auto colon = address.rfind(':');
  const auto bracket = address.rfind(']');
  const bool bare_v6 = bracket == std::string::npos && std::ranges::count(address, ':') > 1;
  const bool with_port =
      colon != std::string::npos && !bare_v6 && (bracket == std::string::npos || colon > bracket);
  auto host = with_port ? address.substr(0, colon) : address;
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  auto port = default_port;
  if (with_port) {
    const auto* end = address.data() + address.size();
    const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
    if (error != std::errc{} || stop != end) throw std::invalid_argument("the port is no number");
  }
  return {asio::ip::make_address(host), port};
}

std::string url_of(const tcp::endpoint& endpoint) {
  return endpoint.address().is_v6()
             ? fmt::format("http://[{}]:{}", endpoint.address().to_string(), endpoint.port())
             : fmt::format("http://{}:{}", endpoint.address().to_string(), endpoint.port());
}

}  // namespace sollol::sim

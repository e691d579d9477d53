#pragma once

#include <boost/asio/ip/tcp.hpp>
#include <cstdint>
#include <string>

namespace sollol::sim {

inline constexpr std::uint16_t default_port = 11434;

/// "127.0.1.1" (port 11434), "127.0.1.1:8000", "[::1]:8000"; empty: 127.0.0.1 on a free port.
/// Throws std::invalid_argument or boost::system::system_error when it is none.
boost::asio::ip::tcp::endpoint endpoint_of(const std::string& address);

/// "http://127.0.1.1:8000".
std::string url_of(const boost::asio::ip::tcp::endpoint& endpoint);

}  // namespace sollol::sim

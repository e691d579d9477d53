#include "sim/access.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <string>

#include "sim/ascii.h"

namespace sollol::sim {
namespace {

std::string_view without_port(std::string_view host) {
  if (host.starts_with('[')) return host.substr(1, host.find(']') - 1);
  return std::ranges::count(host, ':') == 1 ? host.substr(0, host.find(':')) : host;
}

std::string hostname() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? lower(name.data()) : std::string{};
}

bool is_private(const boost::asio::ip::address& address) {
  if (address.is_loopback() || address.is_unspecified()) return true;
  if (address.is_v6()) return (address.to_v6().to_bytes()[0] & 0xfe) == 0xfc;
  const auto bytes = address.to_v4().to_bytes();
  return bytes[0] == 10 || (bytes[0] == 172 && (bytes[1] & 0xf0) == 16) ||
         (bytes[0] == 192 && bytes[1] == 168);
}

}  // namespace

OriginCheck check_origin(std::string_view origin, std::string_view host) {
  if (origin.empty()) return OriginCheck::none;
  const auto scheme_end = origin.find("://");
  const auto scheme = origin.substr(0, scheme_end);
  const auto authority =
      scheme_end == origin.npos ? std::string_view{} : origin.substr(scheme_end + 3);
  const bool web = scheme == "http" || scheme == "https";
  if (web && authority == host) return OriginCheck::none;
  constexpr std::string_view schemes[] = {"app", "file", "tauri", "vscode-webview", "vscode-file"};
  if (std::ranges::find(schemes, scheme) != std::end(schemes)) return OriginCheck::allowed;
  constexpr std::string_view hosts[] = {"localhost", "127.0.0.1", "0.0.0.0"};
  const bool ours = web && std::ranges::find(hosts, without_port(authority)) != std::end(hosts);
  return ours ? OriginCheck::allowed : OriginCheck::refused;
}

bool refused_host(std::string_view host, bool on_loopback) {
  if (!on_loopback) return false;
  const auto name = lower(without_port(host));
  if (name.empty() || name == "localhost" || name == hostname()) return false;
  boost::system::error_code error;
  const auto address = boost::asio::ip::make_address(name, error);
  if (!error) return !is_private(address);
  return std::ranges::none_of(
      std::initializer_list<std::string_view>{".localhost", ".local", ".internal"},
      [&](auto end) { return name.ends_with(end); });
}

}  // namespace sollol::sim

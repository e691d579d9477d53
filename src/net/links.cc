#include "net/links.h"

#include <fmt/format.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/addr.h>
#include <netlink/cache.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <boost/asio/ip/address.hpp>
#include <charconv>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <set>
#include <sstream>
#include <string_view>

#include "net/network.h"

namespace sollol::net {

namespace {

struct Closer {
  void operator()(nl_sock* socket) const noexcept { nl_socket_free(socket); }
  void operator()(nl_cache* cache) const noexcept { nl_cache_free(cache); }
};
using Socket = std::unique_ptr<nl_sock, Closer>;
using Cache = std::unique_ptr<nl_cache, Closer>;

/// "192.168.1.7/24" without the length; also of a MAC address.
std::string text_of(nl_addr* address) {
  if (address == nullptr || nl_addr_get_len(address) == 0) return {};
  std::array<char, 128> buffer{};
  const std::string_view text = nl_addr2str(address, buffer.data(), buffer.size());
  return std::string(text.substr(0, text.find('/')));
}

/// The network that an address with this prefix length is in.
std::string network_of(nl_addr* address, unsigned bits) {
  std::array<std::uint8_t, 16> bytes{};
  const unsigned length = nl_addr_get_len(address);
  std::memcpy(bytes.data(), nl_addr_get_binary_addr(address), std::min<std::size_t>(length, 16));
  for (unsigned bit = bits; bit < 8 * length; ++bit)
    bytes[bit / 8] &= static_cast<std::uint8_t>(~(0x80u >> (bit % 8)));
  nl_addr* made = nl_addr_build(nl_addr_get_family(address), bytes.data(), length);
  const std::string text = text_of(made);
  nl_addr_put(made);
  return fmt::format("{}/{}", text, bits);
}

void for_each(nl_cache* cache, const std::function<void(nl_object*)>& use) {
  for (nl_object* one = nl_cache_get_first(cache); one != nullptr; one = nl_cache_get_next(one))
    use(one);
}

Interface::Kind kind_of(rtnl_link* link) {
  const unsigned flags = rtnl_link_get_flags(link);
  if ((flags & IFF_LOOPBACK) != 0) return Interface::Kind::loopback;
  const char* raw = rtnl_link_get_type(link);
  const std::string_view type = raw == nullptr ? "" : raw;
  if (type == "bridge") return Interface::Kind::bridge;
  const bool tunnel = type == "wireguard" || type == "tun" || type == "ipip" || type == "sit" ||
                      type == "gre" || type == "vti" || type == "ip6tnl" || type == "xfrm";
  const bool no_link_layer =
      rtnl_link_get_arptype(link) == ARPHRD_NONE || rtnl_link_get_arptype(link) == ARPHRD_PPP;
  if ((flags & IFF_POINTOPOINT) != 0 || tunnel || no_link_layer)
    return Interface::Kind::point_to_point;
  if (rtnl_link_get_master(link) != 0 && (type == "veth" || type == "tun"))
    return Interface::Kind::inner;
  return Interface::Kind::network;
}

/// A bridge that a card belongs to carries this machine's own network, not containers.
void tell_bridges_apart(std::vector<Interface>& interfaces) {
  for (Interface& bridge : interfaces) {
    if (bridge.kind != Interface::Kind::bridge) continue;
    const bool has_card = std::ranges::any_of(interfaces, [&](const Interface& port) {
      return port.master == bridge.index && port.kind == Interface::Kind::network;
    });
    if (has_card) bridge.kind = Interface::Kind::network;
  }
}

std::set<std::string> gateways(nl_sock* socket) {
  std::set<std::string> found;
  nl_cache* raw = nullptr;
  if (rtnl_route_alloc_cache(socket, AF_UNSPEC, 0, &raw) < 0) return found;
  const Cache routes(raw);
  for_each(routes.get(), [&](nl_object* object) {
    auto* route = reinterpret_cast<rtnl_route*>(object);
    for (int i = 0; i < rtnl_route_get_nnexthops(route); ++i) {
      nl_addr* hop = rtnl_route_nh_get_gateway(rtnl_route_nexthop_n(route, i));
      if (hop != nullptr) found.insert(text_of(hop));
    }
  });
  return found;
}

std::vector<Interface> read_interfaces(nl_cache* cache) {
  std::vector<Interface> interfaces;
  for_each(cache, [&](nl_object* object) {
    auto* link = reinterpret_cast<rtnl_link*>(object);
    interfaces.push_back({
        .index = static_cast<unsigned>(rtnl_link_get_ifindex(link)),
        .name = rtnl_link_get_name(link),
        .kind = kind_of(link),
        .mac = text_of(rtnl_link_get_addr(link)),
        .up = (rtnl_link_get_flags(link) & IFF_UP) != 0,
        .master = static_cast<unsigned>(rtnl_link_get_master(link)),
    });
  });
  tell_bridges_apart(interfaces);
  return interfaces;
}

std::vector<OwnAddress> read_addresses(nl_cache* cache) {
  std::vector<OwnAddress> addresses;
  for_each(cache, [&](nl_object* object) {
    auto* address = reinterpret_cast<rtnl_addr*>(object);
    nl_addr* local = rtnl_addr_get_local(address);
    if (local == nullptr) return;
    const auto bits = static_cast<unsigned>(rtnl_addr_get_prefixlen(address));
    addresses.push_back({.ip = text_of(local),
                         .prefix_bits = bits,
                         .interface = static_cast<unsigned>(rtnl_addr_get_ifindex(address)),
                         .network = network_of(local, bits)});
  });
  return addresses;
}

std::vector<Neighbour> neighbours_in(nl_cache* cache, const std::set<std::string>& routers) {
  constexpr int useless = NUD_FAILED | NUD_INCOMPLETE | NUD_NOARP | NUD_NONE;
  std::vector<Neighbour> neighbours;
  for_each(cache, [&](nl_object* object) {
    auto* one = reinterpret_cast<rtnl_neigh*>(object);
    nl_addr* destination = rtnl_neigh_get_dst(one);
    nl_addr* mac = rtnl_neigh_get_lladdr(one);
    const int state = rtnl_neigh_get_state(one);
    if (destination == nullptr || mac == nullptr || state < 0 || (state & useless) != 0) return;
    const std::string ip = text_of(destination);
    if (!is_ip(ip)) return;  // an entry of a bridge's table: a MAC address alone
    const bool says_so = (rtnl_neigh_get_flags(one) & NTF_ROUTER) != 0;
    neighbours.push_back({.ip = ip,
                          .mac = text_of(mac),
                          .interface = static_cast<unsigned>(rtnl_neigh_get_ifindex(one)),
                          .is_router = says_so || routers.contains(ip)});
  });
  return neighbours;
}

}  // namespace

Result<Links> read_links() {
  const auto failed = [](int code) {
    return std::unexpected(Error{
        ErrorKind::refused, Origin::gateway, Retry::later,
        fmt::format("the kernel does not tell this machine's networks: {}", nl_geterror(code))});
  };
  const Socket socket(nl_socket_alloc());
  if (const int code = nl_connect(socket.get(), NETLINK_ROUTE); code < 0) return failed(code);
  nl_cache* raw = nullptr;
  if (const int code = rtnl_link_alloc_cache(socket.get(), AF_UNSPEC, &raw); code < 0)
    return failed(code);
  const Cache links(raw);
  if (const int code = rtnl_addr_alloc_cache(socket.get(), &raw); code < 0) return failed(code);
  const Cache addresses(raw);
  if (const int code = rtnl_neigh_alloc_cache(socket.get(), &raw); code < 0) return failed(code);
  const Cache neighbours(raw);
  return Links{.interfaces = read_interfaces(links.get()),
               .addresses = read_addresses(addresses.get()),
               .neighbours = neighbours_in(neighbours.get(), gateways(socket.get()))};
}

namespace {

/// An address of /proc/net/tcp: hexadecimal words of four bytes in the machine's own order.
std::string ip_of(std::string_view hex) {
  std::array<std::uint8_t, 16> bytes{};
  const std::size_t words = hex.size() / 8;
  for (std::size_t word = 0; word < words; ++word) {
    std::uint32_t value = 0;
    std::from_chars(hex.data() + 8 * word, hex.data() + 8 * (word + 1), value, 16);
    std::memcpy(bytes.data() + 4 * word, &value, sizeof value);
  }
  namespace ip = boost::asio::ip;
  if (words == 1) return ip::address_v4({bytes[0], bytes[1], bytes[2], bytes[3]}).to_string();
  return ip::address_v6(bytes).to_string();
}

void read_listeners(const char* path, std::vector<Address>& into) {
  constexpr std::string_view listening = "0A";
  std::ifstream table(path);
  std::string line, slot, local, remote, state;
  std::getline(table, line);  // the names of the columns
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    fields >> slot >> local >> remote >> state;
    const std::size_t colon = local.find(':');
    if (state != listening || colon == std::string::npos) continue;
    std::uint16_t port = 0;
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), port, 16);
    into.push_back({ip_of(std::string_view(local).substr(0, colon)), port});
  }
}

}  // namespace

std::vector<Address> read_listeners() {
  std::vector<Address> listeners;
  read_listeners("/proc/self/net/tcp", listeners);
  read_listeners("/proc/self/net/tcp6", listeners);
  return listeners;
}

std::vector<Neighbour> read_neighbours() {
  const Socket socket(nl_socket_alloc());
  nl_cache* raw = nullptr;
  if (nl_connect(socket.get(), NETLINK_ROUTE) < 0) return {};
  if (rtnl_neigh_alloc_cache(socket.get(), &raw) < 0) return {};
  const Cache cache(raw);
  return neighbours_in(cache.get(), gateways(socket.get()));
}

std::optional<unsigned> direct_interface(const std::string& ip) {
  const Socket socket(nl_socket_alloc());
  if (!is_ip(ip) || nl_connect(socket.get(), NETLINK_ROUTE) < 0) return std::nullopt;
  nl_addr* address = nullptr;
  if (nl_addr_parse(ip.c_str(), AF_UNSPEC, &address) < 0) return std::nullopt;
  rtnl_route* route = nullptr;
  const int code = rtnl_route_lookup(socket.get(), address, &route);
  nl_addr_put(address);
  if (code < 0 || route == nullptr) return std::nullopt;
  std::optional<unsigned> direct;
  if (rtnl_route_get_nnexthops(route) == 1) {
    rtnl_nexthop* hop = rtnl_route_nexthop_n(route, 0);
    if (rtnl_route_nh_get_gateway(hop) == nullptr && rtnl_route_nh_get_via(hop) == nullptr)
      direct = static_cast<unsigned>(rtnl_route_nh_get_ifindex(hop));
  }
  rtnl_route_put(route);
  return direct;
}

const Interface* Links::interface(unsigned index) const {
  const auto found = std::ranges::find(interfaces, index, &Interface::index);
  return found == interfaces.end() ? nullptr : &*found;
}

bool Links::is_own(std::string_view ip) const {
  static const Network loopback = Network::parse("127.0.0.0/8").value();
  return ip == "::1" || loopback.contains(ip) ||
         std::ranges::any_of(addresses, [ip](const OwnAddress& own) { return own.ip == ip; });
}

std::string_view Links::container_network(std::string_view ip) const {
  for (const OwnAddress& own : addresses) {
    const Interface* on = interface(own.interface);
    if (on == nullptr || on->kind != Interface::Kind::bridge) continue;
    if (Network::parse(own.network).value().contains(ip)) return on->name;
  }
  return {};
}

std::string_view Links::mac_of(std::string_view ip) const {
  const auto found = std::ranges::find(neighbours, ip, &Neighbour::ip);
  return found == neighbours.end() ? std::string_view{} : std::string_view(found->mac);
}

}  // namespace sollol::net

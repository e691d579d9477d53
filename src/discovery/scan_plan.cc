#include "discovery/scan_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/network_v4.hpp>
#include <set>
#include <span>

#include "net/network.h"

namespace sollol::discovery {

namespace ip = boost::asio::ip;
using net::Interface;
using net::Network;

namespace {

/// Addresses of a container network wider than may be scanned that are tried nevertheless:
/// containers are numbered from its start.
constexpr unsigned container_prefix_bits = 24;
constexpr unsigned whole_range_bits = 31;  // narrower networks keep no address for themselves

std::vector<Network> networks(std::initializer_list<const char*> texts) {
  std::vector<Network> made;
  for (const char* text : texts) made.push_back(Network::parse(text).value());
  return made;
}

bool in_any(std::string_view address, const std::vector<Network>& networks) {
  return std::ranges::any_of(networks,
                             [address](const Network& net) { return net.contains(address); });
}

bool is_loopback(std::string_view address) {
  static const auto loopback = networks({"127.0.0.0/8", "::1"});
  return in_any(address, loopback);
}

using net::is_private;

std::string text_of(std::uint32_t address) { return ip::address_v4(address).to_string(); }

std::optional<std::uint32_t> v4_of(const std::string& text) {
  boost::system::error_code bad;
  const auto parsed = ip::make_address_v4(text, bad);
  if (bad) return std::nullopt;
  return parsed.to_uint();
}

/// The hosts of a network: without its first and last address, which are its own.
AddressRange hosts_of(const ip::network_v4& network, std::string source) {
  const std::uint32_t base = network.network().to_uint();
  const std::uint32_t top = network.broadcast().to_uint();
  const bool keeps_ends = network.prefix_length() >= whole_range_bits;
  return {.first = keeps_ends ? base : base + 1,
          .last = keeps_ends ? top : top - 1,
          .network = network.canonical().to_string(),
          .source = std::move(source)};
}

bool in_any(std::uint32_t address, std::span<const AddressRange> ranges) {
  return std::ranges::any_of(
      ranges, [address](const AddressRange& range) { return range.contains(address); });
}

bool covers(const AddressRange& wide, const AddressRange& narrow) {
  return wide.first <= narrow.first && narrow.last <= wide.last;
}

void add(ScanPlan& plan, AddressRange range) {
  const bool known =
      std::ranges::any_of(plan.ranges, [&](const auto& other) { return covers(other, range); });
  if (!known) plan.ranges.push_back(std::move(range));
}

Result<ip::network_v4> parse_subnet(const std::string& text) {
  const auto wrong = [&](std::string_view what) {
    return std::unexpected(
        bad_input(fmt::format("subnet '{}': {}; write it as 192.168.1.0/24", text, what)));
  };
  const std::string whole = text.contains('/') ? text : text + "/32";
  boost::system::error_code bad;
  const ip::network_v4 network = ip::make_network_v4(whole, bad);
  if (bad) return wrong("no IPv4 network");
  const ip::network_v4 canonical = network.canonical();
  const std::string first = canonical.network().to_string();
  const std::string last = canonical.broadcast().to_string();
  const bool allowed =
      (is_private(first) && is_private(last)) || (is_loopback(first) && is_loopback(last));
  if (!allowed) return wrong("not a private network, and public addresses are never scanned");
  if (canonical.prefix_length() < 32 && canonical.hosts().size() > named_addresses_max)
    return wrong(fmt::format("more than {} addresses", named_addresses_max));
  return canonical;
}

Result<void> plan_named(ScanPlan& plan, const ScanOptions& options) {
  std::uint64_t total = 0;
  for (const std::string& text : options.subnets) {
    const auto network = parse_subnet(text);
    if (!network) return std::unexpected(network.error());
    add(plan, hosts_of(*network, "--subnet"));
    total += plan.ranges.back().size();
  }
  if (total > named_addresses_max)
    return std::unexpected(bad_input(fmt::format(
        "subnets: {} addresses in all, more than {}; name fewer", total, named_addresses_max)));
  return {};
}

/// Why nothing behind this interface is scanned; empty when it is.
std::string_view no_network(const Interface& interface) {
  if (interface.kind == Interface::Kind::point_to_point)
    return "a tunnel: name its nodes, or the range as a subnet";
  if (!interface.up) return "the interface is down";
  return {};
}

void plan_interface(ScanPlan& plan, const net::OwnAddress& own, const Interface& interface,
                    const ScanOptions& options) {
  if (interface.kind == Interface::Kind::loopback || interface.kind == Interface::Kind::inner)
    return;
  boost::system::error_code bad;
  const ip::network_v4 network = ip::make_network_v4(own.network, bad);
  if (bad) return;  // IPv6: only neighbours that are known
  const std::string shown = fmt::format("{} ({})", own.network, interface.name);
  const auto skip = [&](std::string reason) { plan.skipped.push_back({shown, std::move(reason)}); };
  if (const auto reason = no_network(interface); !reason.empty()) return skip(std::string(reason));
  if (!is_private(own.ip)) return skip("public addresses are never scanned");
  if (network.prefix_length() >= 32) return skip("one address alone");
  const bool containers = interface.kind == Interface::Kind::bridge;
  const auto add_hosts = [&](const ip::network_v4& of) {
    AddressRange range = hosts_of(of, interface.name);
    range.of_containers = containers;
    add(plan, std::move(range));
  };
  const Source source = containers ? Source::containers : Source::subnets;
  if (!options.sources.has(source))
    return skip(fmt::format("the source `{}` is turned off", text(source)));
  if (network.prefix_length() >= widest_prefix_bits) return add_hosts(network);
  if (containers) {
    skip(fmt::format("{} addresses: containers are numbered from its start, which is scanned",
                     network.hosts().size()));
    return add_hosts(ip::network_v4(network.network(), container_prefix_bits));
  }
  skip(fmt::format("{} addresses: name it as a subnet to scan it all", network.hosts().size()));
}

/// Whether a neighbour may be tried: on a link that is a network, at a private address.
bool worth_trying(const net::Neighbour& neighbour, const net::Links& links) {
  const Interface* interface = links.interface(neighbour.interface);
  return interface != nullptr && no_network(*interface).empty() && is_private(neighbour.ip) &&
         !links.is_own(neighbour.ip);
}

void plan_first(ScanPlan& plan, const net::Links& links, const ScanOptions& options) {
  std::set<std::string> known;
  const auto try_first = [&](const std::string& address) {
    if (known.insert(address).second) plan.first.push_back(address);
  };
  if (options.subnets.empty() && options.sources.has(Source::localhost)) {
    if (!options.exclude_localhost) try_first("127.0.0.1");
    for (const net::OwnAddress& own : links.addresses)
      if (!is_loopback(own.ip) && is_private(own.ip)) try_first(own.ip);
  }
  plan.own_count = plan.first.size();
  if (!options.sources.has(Source::neighbours)) return;
  for (const net::Neighbour& neighbour : links.neighbours) {
    if (!worth_trying(neighbour, links)) continue;
    const auto v4 = v4_of(neighbour.ip);
    const bool asked = options.subnets.empty() || (v4 && in_any(*v4, plan.ranges));
    if (asked) try_first(neighbour.ip);
  }
}

/// Networks in which the kernel finds neighbours by itself, and the room that it has for more.
void plan_links(ScanPlan& plan, const net::Links& links) {
  for (const net::OwnAddress& own : links.addresses) {
    const Interface* interface = links.interface(own.interface);
    boost::system::error_code bad;
    const ip::network_v4 network = ip::make_network_v4(own.network, bad);
    if (bad || interface == nullptr || interface->kind == Interface::Kind::loopback) continue;
    if (interface->kind == Interface::Kind::point_to_point) continue;
    plan.links.push_back(hosts_of(network, interface->name));
  }
  const auto known = static_cast<std::size_t>(std::ranges::count_if(
      links.neighbours, [](const net::Neighbour& one) { return v4_of(one.ip).has_value(); }));
  plan.neighbours_max = neighbours_at_once_max - std::min(known, neighbours_at_once_max);
  plan.neighbours_max = std::max(plan.neighbours_max, neighbours_at_once_min);
}

}  // namespace

Result<ScanPlan> plan_scan(const net::Links& links, const ScanOptions& options) {
  ScanPlan plan;
  if (!options.subnets.empty()) {
    if (const auto planned = plan_named(plan, options); !planned)
      return std::unexpected(planned.error());
  } else {
    for (const net::OwnAddress& own : links.addresses) {
      if (const Interface* interface = links.interface(own.interface))
        plan_interface(plan, own, *interface, options);
    }
  }
  plan_first(plan, links, options);
  plan_links(plan, links);
  return plan;
}

bool ScanPlan::on_link(std::string_view address) const {
  const auto v4 = v4_of(std::string(address));
  return v4 && in_any(*v4, links);
}

bool ScanPlan::contains(std::string_view address) const {
  if (std::ranges::find(first, address) != first.end()) return true;
  const auto v4 = v4_of(std::string(address));
  return v4 && in_any(*v4, ranges);
}

Source ScanPlan::source_of(std::string_view address) const {
  const auto at = std::ranges::find(first, address);
  if (at != first.end()) {
    const auto index = static_cast<std::size_t>(at - first.begin());
    return index < own_count ? Source::localhost : Source::neighbours;
  }
  const auto v4 = v4_of(std::string(address));
  const auto range = std::ranges::find_if(
      ranges, [&](const AddressRange& one) { return v4 && one.contains(*v4); });
  return range != ranges.end() && range->of_containers ? Source::containers : Source::subnets;
}

PlanCursor::PlanCursor(const ScanPlan& plan) : plan_(plan) {
  for (const std::string& address : plan.first)
    if (const auto v4 = v4_of(address)) before_.insert(*v4);
}

std::optional<std::string> PlanCursor::next() {
  if (first_ < plan_.first.size()) return plan_.first[first_++];
  while (range_ < plan_.ranges.size()) {
    const AddressRange& range = plan_.ranges[range_];
    if (offset_ > range.last - range.first) {
      ++range_;
      offset_ = 0;
      continue;
    }
    const std::uint32_t address = range.first + offset_++;
    if (!seen(address)) return text_of(address);
  }
  return std::nullopt;
}

/// Whether an address of the range under way has been handed out before.
bool PlanCursor::seen(std::uint32_t address) const {
  return before_.contains(address) || in_any(address, std::span(plan_.ranges).first(range_));
}

}  // namespace sollol::discovery

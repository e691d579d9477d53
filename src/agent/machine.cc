#include "agent/machine.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <thread>

namespace sollol::agent {
namespace {

constexpr std::size_t addresses_max = 256;

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") + 1 - first);
}

/// "MemTotal:  123 kB" in bytes; 0 when it is not there.
std::uint64_t meminfo(std::string_view text, std::string_view field) {
  const auto at = text.find(field);
  if (at == std::string_view::npos) return 0;
  const auto rest = text.substr(at + field.size());
  const auto digits = rest.substr(std::min(rest.find_first_not_of(' '), rest.size()));
  std::uint64_t kib = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), kib);
  return kib * 1024;
}

std::string ip_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address->sa_family == AF_INET) {
    const auto* v4 = reinterpret_cast<const sockaddr_in*>(address);
    inet_ntop(AF_INET, &v4->sin_addr, text.data(), text.size());
  } else if (address->sa_family == AF_INET6) {
    const auto* v6 = reinterpret_cast<const sockaddr_in6*>(address);
    if (!IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr))
      inet_ntop(AF_INET6, &v6->sin6_addr, text.data(), text.size());
  }
  return text.data();
}

std::vector<std::string> own_addresses() {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return {};
  const std::unique_ptr<ifaddrs, decltype(&freeifaddrs)> owned(list, &freeifaddrs);
  std::vector<std::string> addresses;
  for (const auto* one = list; one != nullptr; one = one->ifa_next) {
    if (one->ifa_addr == nullptr || (one->ifa_flags & IFF_LOOPBACK) != 0) continue;
    auto ip = ip_of(one->ifa_addr);
    if (!ip.empty() && addresses.size() < addresses_max) addresses.push_back(std::move(ip));
  }
  std::ranges::sort(addresses);
  const auto twice = std::ranges::unique(addresses);
  addresses.erase(twice.begin(), twice.end());
  return addresses;
}

std::string read_hostname(const Roots& roots) {
  if (const auto text = read_text(roots.proc + "/sys/kernel/hostname", 256))
    return std::string(trimmed(*text));
  return {};
}

std::optional<double> read_load(const Roots& roots) {
  const auto text = read_text(roots.proc + "/loadavg", 256);
  if (!text) return std::nullopt;
  double load = 0;
  const auto [end, failure] = std::from_chars(text->data(), text->data() + text->size(), load);
  return failure == std::errc{} ? std::optional(load) : std::nullopt;
}

}  // namespace

Machine read_machine(const Roots& roots) {
  Machine machine;
  const auto id = read_text(roots.etc + "/machine-id", 256).value_or("");
  machine.id = hashed_id(trimmed(id), "sollol machine");
  const auto boot = read_text(roots.proc + "/sys/kernel/random/boot_id", 256).value_or("");
  machine.boot_id = hashed_id(trimmed(boot), "sollol boot");
  machine.hostname = read_hostname(roots);
  machine.cores = std::thread::hardware_concurrency();
  const auto memory = read_text(roots.proc + "/meminfo", 64 << 10).value_or("");
  machine.memory_total = meminfo(memory, "MemTotal:");
  machine.memory_available = meminfo(memory, "MemAvailable:");
  machine.addresses = own_addresses();
  machine.load = read_load(roots);
  return machine;
}

std::string hashed_id(std::string_view id, std::string_view purpose) {
  // systemd writes this word until the first boot has made an id.
  if (id.empty() || id == "uninitialized") return {};
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned length = 0;
  HMAC(EVP_sha256(), id.data(), static_cast<int>(id.size()),
       reinterpret_cast<const unsigned char*>(purpose.data()), purpose.size(), hash.data(),
       &length);
  std::string text;
  for (unsigned i = 0; i < 16; ++i) text += fmt::format("{:02x}", hash[i]);
  return text;
}

}  // namespace sollol::agent

#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"

namespace sollol::net {

/// What gateways and agents call themselves on their links (DNS-SD, RFC 6763).
inline constexpr std::string_view gateway_service = "_sollol._tcp";
inline constexpr std::string_view agent_service = "_sollol-agent._tcp";

/// Services of others that are kept at once.
inline constexpr std::size_t services_max = 1024;

/// What is told to the link: a service at a port of this machine.
struct Announcement {
  std::string_view service;
  std::uint16_t port = 0;
  std::string name;                     // for people; made unique where it is taken
  std::vector<std::string> texts = {};  // "version=0.1.0", "path=/"
};

/// Who is heard of at one moment.
struct Announced {
  std::vector<Address> addresses;  // port 0: the ports that are looked at
  bool settled = true;             // nobody else is expected to be heard of in a moment
};

struct MdnsOptions {
  std::optional<Announcement> announce = {};
  bool browse = false;
  /// Told, for the log, of a daemon that is missed and of what is announced. On a thread of its
  /// own.
  std::function<void(const std::string&)> told = {};
  std::vector<std::string> client_libraries = {"libavahi-client.so.3"};
  std::vector<std::string> common_libraries = {"libavahi-common.so.3"};
};

/// Speaks with this machine's Avahi through its client library, loaded at run time, on a thread of
/// its own. A daemon that comes later, or again, is found within ten seconds.
class Mdns {
 public:
  /// Null, with the reason in `why`, where the library is not there.
  static std::unique_ptr<Mdns> open(MdnsOptions options, std::string& why);
  /// Takes back what was announced.
  ~Mdns();

  /// Gateways and agents of other machines that are announced at present: an agent's with port 0,
  /// since what is of interest is its machine. At most `services_max`. Untrusted: whoever is on the
  /// link can announce anything. Any thread.
  Announced heard() const;

  struct Impl;

 private:
  explicit Mdns(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::net

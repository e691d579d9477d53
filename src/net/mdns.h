#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/address.h"

namespace sollol::net {

/// Of gateways and agents of ours on a link (DNS-SD).
inline constexpr std::string_view mdns_service = "_sollol._tcp";

/// What a program of ours says of itself to its link.
struct Announcement {
  std::string role;  // "gateway", "agent"
  std::uint16_t port = 0;
  std::map<std::string, std::string> texts = {};  // "version" => "0.4.0"; beside "role"
  friend bool operator==(const Announcement&, const Announcement&) = default;
};

/// What was heard of one. Anybody on the link can say anything: nothing of it is proved.
struct Announced {
  std::string name;  // "sollol agent on gpu-box"
  std::string role;
  Address address;                                // IPv4
  std::map<std::string, std::string> texts = {};  // without "role"
  friend bool operator==(const Announced&, const Announced&) = default;
};

struct MdnsOptions {
  std::vector<std::string> libraries = {"libavahi-client.so.3"};  // the first that can be loaded
  bool browse = true;                                             // false: announce alone
  std::size_t announced_max = 1024;                               // more are not heard
  std::size_t texts_max = 16;                                     // of one
  std::size_t text_bytes_max = 255;                               // of one text
};

/// Announces and hears over multicast DNS, through Avahi's daemon and its client library, which is
/// loaded here and may be missing.
///
/// Avahi's calls may wait for D-Bus, so they are made on a thread of this object. Without the
/// library, D-Bus or the daemon nothing is heard, `problem` says why, and it goes on as soon as the
/// daemon is there; D-Bus itself is tried again every ten seconds. Any thread.
class Mdns {
 public:
  explicit Mdns(MdnsOptions options = {});
  /// Takes back what was announced. Waits at most a second for Avahi.
  ~Mdns();
  Mdns(const Mdns&) = delete;
  Mdns& operator=(const Mdns&) = delete;

  /// From now on; in the place of what was announced before.
  void announce(Announcement announcement);
  /// Those on the link at present, this process left out.
  std::vector<Announced> announced() const;
  /// Whether answers to the first question are still to be expected.
  bool listening() const;
  /// Why nothing is heard or announced; empty: all is well.
  std::string problem() const;

  struct State;

 private:
  std::shared_ptr<State> state_;
};

}  // namespace sollol::net

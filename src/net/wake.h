#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "net/links.h"

namespace sollol::net {

/// A card's MAC address as "aa:bb:cc:dd:ee:ff"; dashes and upper case are read too. Error:
/// bad_input for what is none, or is the address of no single card.
Result<std::string> parse_mac(std::string_view text);

/// The bytes that wake the machine whose card has this address, if it listens for them: six of
/// 0xff, then the address sixteen times. `mac` is as `parse_mac` gives it.
std::string magic_packet(std::string_view mac);

/// Where a magic packet goes for a machine last seen at these addresses: the broadcast addresses of
/// those private networks of our own interfaces that hold one. Empty: it stands on no link of ours.
std::vector<std::string> wake_targets(const Links& links, std::span<const Address> addresses);

/// Sends the machine's magic packet to each of these broadcast addresses, port 9. Does not wait.
/// Error: refused, with the system's reason, when it could be sent to none.
Result<void> send_magic_packet(std::string_view mac, std::span<const std::string> targets);

}  // namespace sollol::net

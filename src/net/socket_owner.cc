#include "net/socket_owner.h"

#include <fmt/format.h>

#include <charconv>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <string_view>
#include <system_error>

namespace sollol::net {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view listening = "0A";

/// Inodes of the sockets that listen on that port.
void read_inodes(const char* path, std::uint16_t port, std::set<std::string>& into) {
  std::ifstream table(path);
  std::string line, slot, local, remote, state, queues, timer, retransmits, user, timeout, inode;
  std::getline(table, line);  // the names of the columns
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    fields >> slot >> local >> remote >> state >> queues >> timer >> retransmits >> user >>
        timeout >> inode;
    const std::size_t colon = local.find(':');
    if (state != listening || colon == std::string::npos) continue;
    std::uint16_t found = 0;
    std::from_chars(local.data() + colon + 1, local.data() + local.size(), found, 16);
    if (found == port && inode != "0") into.insert(fmt::format("socket:[{}]", inode));
  }
}

bool holds(const fs::path& process, const std::set<std::string>& sockets) {
  std::error_code refused;
  for (fs::directory_iterator one(process / "fd", refused), end; !refused && one != end;
       one.increment(refused)) {
    std::error_code gone;
    if (sockets.contains(fs::read_symlink(one->path(), gone).string())) return true;
  }
  return false;
}

}  // namespace

SocketOwner listener_owner(const Address& at) {
  std::set<std::string> sockets;
  read_inodes("/proc/self/net/tcp", at.port, sockets);
  read_inodes("/proc/self/net/tcp6", at.port, sockets);
  if (sockets.empty()) return {};
  std::error_code refused;
  for (fs::directory_iterator one("/proc", refused), end; !refused && one != end;
       one.increment(refused)) {
    const std::string number = one->path().filename().string();
    int pid = 0;
    const auto [stop, bad] = std::from_chars(number.data(), number.data() + number.size(), pid);
    if (bad != std::errc{} || stop != number.data() + number.size()) continue;
    if (!holds(one->path(), sockets)) continue;
    SocketOwner owner{.pid = pid, .name = {}};
    std::ifstream(one->path() / "comm") >> owner.name;
    return owner;
  }
  return {};
}

}  // namespace sollol::net

#include "net/listening.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

namespace sollol::net {
namespace {

union SocketAddress {
  sockaddr any;
  sockaddr_in v4;
  sockaddr_in6 v6;
};

/// The length of the address in `out`; 0 when `at` is no numeric address.
socklen_t fill(const Address& at, SocketAddress& out) {
  std::memset(&out, 0, sizeof out);
  if (inet_pton(AF_INET, at.ip.c_str(), &out.v4.sin_addr) == 1) {
    out.v4.sin_family = AF_INET;
    out.v4.sin_port = htons(at.port);
    return sizeof out.v4;
  }
  if (inet_pton(AF_INET6, at.ip.c_str(), &out.v6.sin6_addr) == 1) {
    out.v6.sin6_family = AF_INET6;
    out.v6.sin6_port = htons(at.port);
    return sizeof out.v6;
  }
  return 0;
}

}  // namespace

Result<void> check_unused(const Address& at) {
  SocketAddress address;
  const socklen_t length = fill(at, address);
  if (length == 0 || at.port == 0) return {};
  const int probe = ::socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (probe < 0) return {};  // opening the listener will say what is wrong
  const int on = 1;
  ::setsockopt(probe, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  // Without SO_REUSEPORT, so that it conflicts with whoever listens; it never listens itself.
  const bool taken = ::bind(probe, &address.any, length) != 0 && errno == EADDRINUSE;
  ::close(probe);
  if (!taken) return {};
  return std::unexpected(
      Error{ErrorKind::refused, Origin::gateway, Retry::never,
            fmt::format("cannot listen on {}: the address is in use", to_string(at))});
}

void refuse_new_connections(int descriptor) {
  constexpr unsigned flags_at = 13;  // in the TCP header, where a TCP socket's filter starts
  constexpr unsigned syn_and_ack = 0x12;
  constexpr unsigned syn = 0x02;
  // Connections made of this listener inherit the filter, which lets all of theirs pass.
  std::array<sock_filter, 5> program{{
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, flags_at),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, syn_and_ack),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, syn, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  }};
  const sock_fprog filter{.len = program.size(), .filter = program.data()};
  ::setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter);
}

void accept_new_connections(int descriptor) {
  const int unused = 0;
  ::setsockopt(descriptor, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}

bool connection_waits(int descriptor) {
  pollfd waiting{.fd = descriptor, .events = POLLIN, .revents = 0};
  return ::poll(&waiting, 1, 0) > 0 && (waiting.revents & POLLIN) != 0;
}

int duplicate(int descriptor) { return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0); }

Address listening_address(int descriptor) {
  int listens = 0;
  socklen_t size = sizeof listens;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 || listens == 0)
    return {};
  SocketAddress address{};
  socklen_t length = sizeof address;
  if (::getsockname(descriptor, &address.any, &length) != 0) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.any.sa_family == AF_INET) {
    inet_ntop(AF_INET, &address.v4.sin_addr, text.data(), text.size());
    return {text.data(), ntohs(address.v4.sin_port)};
  }
  if (address.any.sa_family != AF_INET6) return {};
  inet_ntop(AF_INET6, &address.v6.sin6_addr, text.data(), text.size());
  return {text.data(), ntohs(address.v6.sin6_port)};
}

void raise_descriptor_limit() noexcept {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

std::size_t descriptors_max() noexcept {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : 1024;
}

}  // namespace sollol::net

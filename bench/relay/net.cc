#include "net.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <ctime>
#include <stdexcept>
#include <system_error>

namespace sollol::bench {
namespace {

constexpr int kBacklog = 16384;
constexpr std::size_t kSourceAddresses = 32;
constexpr std::uint32_t kFirstSource = 0x7f000301;  // 127.0.3.1

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

void set_option(const Fd& socket, int level, int name) {
  const int on = 1;
  if (setsockopt(socket.get(), level, name, &on, sizeof on) != 0) fail("setsockopt");
}

sockaddr_in native(Endpoint endpoint) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(endpoint.port);
  address.sin_addr.s_addr = htonl(endpoint.address);
  return address;
}

Nanoseconds clock_now(clockid_t clock) {
  timespec now{};
  clock_gettime(clock, &now);
  return std::chrono::seconds(now.tv_sec) + Nanoseconds(now.tv_nsec);
}

}  // namespace

void Fd::close() noexcept {
  if (fd_ >= 0) ::close(std::exchange(fd_, -1));
}

Endpoint Endpoint::parse(const std::string& text) {
  const auto colon = text.find(':');
  const auto host = text.substr(0, colon);
  in_addr address{};
  Endpoint endpoint;
  if (colon == std::string::npos || inet_pton(AF_INET, host.c_str(), &address) != 1) {
    throw std::runtime_error(fmt::format("'{}' is not ADDRESS:PORT", text));
  }
  const auto end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data() + colon + 1, end, endpoint.port);
  endpoint.address = ntohl(address.s_addr);
  if (error != std::errc{} || stop != end || endpoint.address >> 24 != 127) {
    throw std::runtime_error(fmt::format("'{}' is not a loopback ADDRESS:PORT", text));
  }
  return endpoint;
}

std::string Endpoint::text() const {
  return fmt::format("{}.{}.{}.{}:{}", address >> 24, address >> 16 & 255, address >> 8 & 255,
                     address & 255, port);
}

Fd listen_on(Endpoint at) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  set_option(socket, SOL_SOCKET, SO_REUSEADDR);
  const auto address = native(at);
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
    fail("bind");
  if (listen(socket.get(), kBacklog) != 0) fail("listen");
  return socket;
}

Endpoint bound_to(const Fd& socket) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  if (getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &size) != 0)
    fail("getsockname");
  return {ntohl(address.sin_addr.s_addr), ntohs(address.sin_port)};
}

Fd connect_to(Endpoint to, std::size_t seat) {
  Fd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) fail("socket");
  set_option(socket, IPPROTO_TCP, TCP_NODELAY);
  set_option(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
  const auto source =
      native({kFirstSource + static_cast<std::uint32_t>(seat % kSourceAddresses), 0});
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&source), sizeof source) != 0)
    fail("bind");
  const auto address = native(to);
  const int result =
      connect(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  return result == 0 || errno == EINPROGRESS ? std::move(socket) : Fd{};
}

Fd accept_from(const Fd& listener) {
  Fd socket(accept4(listener.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (socket) set_option(socket, IPPROTO_TCP, TCP_NODELAY);
  return socket;
}

void ask_for_arrival_times(const Fd& socket) { set_option(socket, SOL_SOCKET, SO_TIMESTAMPNS); }

Read read_with_arrival(const Fd& socket, std::span<char> into) {
  iovec buffer{into.data(), into.size()};
  alignas(cmsghdr) std::array<char, 128> control{};
  msghdr message{};
  message.msg_iov = &buffer;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  Read read{.size = recvmsg(socket.get(), &message, 0)};
  if (read.size <= 0) return read;
  for (auto* part = CMSG_FIRSTHDR(&message); part != nullptr; part = CMSG_NXTHDR(&message, part)) {
    if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_TIMESTAMPNS) continue;
    timespec at{};
    std::memcpy(&at, CMSG_DATA(part), sizeof at);
    read.arrived = std::chrono::seconds(at.tv_sec) + Nanoseconds(at.tv_nsec);
  }
  return read;
}

Poller::Poller() : fd_(epoll_create1(EPOLL_CLOEXEC)), ready_(512) {
  if (!fd_) fail("epoll_create1");
}

void Poller::add(const Fd& socket, std::uint32_t events, std::uint64_t token) {
  epoll_event event{.events = events, .data = {.u64 = token}};
  if (epoll_ctl(fd_.get(), EPOLL_CTL_ADD, socket.get(), &event) != 0) fail("epoll_ctl");
}

void Poller::change(const Fd& socket, std::uint32_t events, std::uint64_t token) {
  epoll_event event{.events = events, .data = {.u64 = token}};
  if (epoll_ctl(fd_.get(), EPOLL_CTL_MOD, socket.get(), &event) != 0) fail("epoll_ctl");
}

std::span<const epoll_event> Poller::wait(Nanoseconds limit) {
  timespec timeout{.tv_sec = limit.count() / 1'000'000'000,
                   .tv_nsec = limit.count() % 1'000'000'000};
  const auto* pointer = limit.count() < 0 ? nullptr : &timeout;
  const int count =
      epoll_pwait2(fd_.get(), ready_.data(), static_cast<int>(ready_.size()), pointer, nullptr);
  if (count < 0 && errno != EINTR) fail("epoll_pwait2");
  return {ready_.data(), static_cast<std::size_t>(std::max(count, 0))};
}

Nanoseconds monotonic_now() { return clock_now(CLOCK_MONOTONIC); }
Nanoseconds realtime_now() { return clock_now(CLOCK_REALTIME); }

void raise_fd_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) fail("getrlimit");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) fail("setrlimit");
}

}  // namespace sollol::bench

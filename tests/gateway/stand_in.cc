#include "stand_in.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace sollol::test {

namespace {

constexpr int look_again_ms = 20;  // for the wish to stop
constexpr int backlog_tries = 16;  // connections that fill a backlog of none
constexpr int handshake_ms = 200;  // a handshake on loopback that takes longer will not come

constexpr std::string_view banner = "SSH-2.0-OpenSSH_9.2\r\n";
constexpr std::string_view page =
    "HTTP/1.1 404 Not Found\r\nServer: other\r\nContent-Type: text/html\r\nContent-Length: "
    "16\r\n\r\n<h1>Nothing</h1>";

sockaddr_in address_of(const std::string& ip, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  ::inet_pton(AF_INET, ip.c_str(), &address.sin_addr);
  return address;
}

}  // namespace

StandIn::StandIn(Kind kind, const std::string& ip, std::uint16_t port)
    : kind_(kind), listener_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
  const int on = 1;
  ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  const sockaddr_in address = address_of(ip, port);
  const bool bound =
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 &&
      ::listen(listener_, kind == Kind::black_hole ? 0 : 64) == 0;
  if (!bound) throw std::runtime_error("stand-in at " + ip + ": " + std::strerror(errno));
  if (kind == Kind::black_hole) {
    fill_backlog(ip, port);
  } else {
    thread_ = std::thread([this] { serve(); });
  }
}

StandIn::~StandIn() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  for (const int socket : open_) ::close(socket);
  ::close(listener_);
}

/// Connects until a handshake stays unanswered: from then on, all do.
void StandIn::fill_backlog(const std::string& ip, std::uint16_t port) {
  const sockaddr_in address = address_of(ip, port);
  for (int i = 0; i < backlog_tries; ++i) {
    const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    open_.push_back(socket);
    ::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    pollfd ready{.fd = socket, .events = POLLOUT, .revents = 0};
    if (::poll(&ready, 1, handshake_ms) == 0) return;
  }
  throw std::runtime_error("stand-in: its backlog does not fill");
}

void StandIn::serve() {
  while (!stop_) {
    std::vector<pollfd> waits{{.fd = listener_, .events = POLLIN, .revents = 0}};
    for (const int socket : open_) waits.push_back({.fd = socket, .events = POLLIN, .revents = 0});
    if (::poll(waits.data(), waits.size(), look_again_ms) <= 0) continue;
    for (std::size_t i = 1; i < waits.size(); ++i) {
      if (waits[i].revents != 0) answer(waits[i].fd);
    }
    const int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (socket >= 0) greet(socket);
  }
}

void StandIn::greet(int socket) {
  if (kind_ == Kind::hangs_up) {
    ::close(socket);
    return;
  }
  if (kind_ == Kind::other_talk) ::send(socket, banner.data(), banner.size(), MSG_NOSIGNAL);
  open_.push_back(socket);
}

void StandIn::answer(int socket) {
  std::array<char, 65536> request;
  const auto got = ::recv(socket, request.data(), request.size(), 0);
  if (got <= 0) {
    std::erase(open_, socket);
    ::close(socket);
    return;
  }
  if (kind_ == Kind::web_server) ::send(socket, page.data(), page.size(), MSG_NOSIGNAL);
}

}  // namespace sollol::test

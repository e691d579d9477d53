#include "net/client_socket.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>
#include <vector>

#include "net/address.h"

namespace sollol::net {

namespace {

Error failed(std::string_view what, int code) {
  const bool none_left = code == EMFILE || code == ENFILE || code == ENOBUFS || code == ENOMEM;
  return {none_left ? ErrorKind::overloaded : ErrorKind::refused, Origin::gateway, Retry::later,
          fmt::format("{}: {}{}", what, std::strerror(code),
                      none_left ? "; raise the limit of open files (ulimit -n)" : "")};
}

IoResult result_of(ssize_t done, std::size_t wanted) {
  if (done > 0 || (done == 0 && wanted == 0))
    return {IoResult::Status::ok, static_cast<std::size_t>(done)};
  if (done == 0) return {IoResult::Status::end, 0};
  const bool later = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOTCONN;
  return {later ? IoResult::Status::would_block : IoResult::Status::error, 0};
}

pollfd to_poll(int descriptor, Direction direction) {
  const bool reads = direction == Direction::read;
  return {.fd = descriptor, .events = static_cast<short>(reads ? POLLIN : POLLOUT), .revents = 0};
}

int to_milliseconds(Duration limit) {
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(limit).count());
}

}  // namespace

ClientSocket& ClientSocket::operator=(ClientSocket&& other) noexcept {
  if (this == &other) return *this;
  if (descriptor_ >= 0) ::close(descriptor_);
  descriptor_ = other.release();
  return *this;
}

ClientSocket::~ClientSocket() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::pair<ClientSocket, ClientSocket>> ClientSocket::make_pair() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0)
    return std::unexpected(failed("no connection inside this process", errno));
  return std::pair{ClientSocket(ends[0]), ClientSocket(ends[1])};
}

Result<ClientSocket> ClientSocket::begin_connect(const Address& to) {
  const boost::asio::ip::tcp::endpoint at(boost::asio::ip::make_address(to.ip), to.port);
  ClientSocket made(
      ::socket(at.protocol().family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (made.descriptor_ < 0) return std::unexpected(failed(to_string(to), errno));
  const int on = 1;
  ::setsockopt(made.descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  const int begun = ::connect(made.descriptor_, at.data(), static_cast<socklen_t>(at.size()));
  if (begun != 0 && errno != EINPROGRESS) return std::unexpected(failed(to_string(to), errno));
  return made;
}

IoResult ClientSocket::read(std::span<char> into) noexcept {
  return result_of(::recv(descriptor_, into.data(), into.size(), 0), into.size());
}

IoResult ClientSocket::write(std::string_view bytes) noexcept {
  return result_of(::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL), bytes.size());
}

bool ClientSocket::wait(Direction direction, Duration limit) const noexcept {
  pollfd one = to_poll(descriptor_, direction);
  return ::poll(&one, 1, to_milliseconds(limit)) > 0;
}

bool ClientSocket::stale() const noexcept { return wait(Direction::read, Duration::zero()); }

void wait_for_any(std::span<Awaited> all, Duration limit) {
  std::vector<pollfd> polled;
  polled.reserve(all.size());
  for (const Awaited& one : all) polled.push_back(to_poll(one.descriptor, one.direction));
  if (::poll(polled.data(), polled.size(), to_milliseconds(limit)) <= 0) return;
  for (std::size_t i = 0; i < all.size(); ++i) all[i].ready = polled[i].revents != 0;
}

}  // namespace sollol::net

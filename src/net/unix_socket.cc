#include "net/unix_socket.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/tcp.h"

namespace sollol::net {

namespace {

ErrorKind kind_of(int code) {
  switch (code) {
    case ENOENT:
      return ErrorKind::not_found;
    case EACCES:
    case EPERM:
      return ErrorKind::forbidden;
    case EMFILE:
    case ENFILE:
    case EAGAIN:
      return ErrorKind::overloaded;
    default:
      return ErrorKind::refused;
  }
}

}  // namespace

Result<std::unique_ptr<Stream>> connect_unix(asio::io_context& context, Scheduler& scheduler,
                                             const std::string& path) {
  const auto failed = [&](int code) {
    return std::unexpected(Error{kind_of(code), Origin::node, Retry::later,
                                 fmt::format("{}: {}", path, std::strerror(code))});
  };
  sockaddr_un at{};
  at.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof at.sun_path) return failed(ENAMETOOLONG);
  std::memcpy(at.sun_path, path.data(), path.size());
  const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return failed(errno);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
    const int code = errno;
    ::close(descriptor);
    return failed(code);
  }
  return adopt_stream(context, scheduler, descriptor);
}

}  // namespace sollol::net

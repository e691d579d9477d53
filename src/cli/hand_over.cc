#include "cli/hand_over.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <span>
#include <utility>

namespace sollol::cli {
namespace {

constexpr std::size_t passed_at_once = 64;  // SCM_MAX_FD is 253
constexpr std::size_t message_max = 256;
constexpr std::string_view last_ours = "last";
constexpr std::string_view last_held_elsewhere = "last, held elsewhere";
constexpr timeval answer_limit{.tv_sec = 10, .tv_usec = 0};

struct Name {
  sockaddr_un address{};
  socklen_t length = 0;
};

/// "\0sollol/127.0.0.1:11434": in the abstract namespace, which goes with the network's.
Name name_of(const Address& at) {
  Name name;
  name.address.sun_family = AF_UNIX;
  const std::string text = "sollol/" + to_string(at);
  const std::size_t size = std::min(text.size(), sizeof name.address.sun_path - 1);
  std::memcpy(name.address.sun_path + 1, text.data(), size);
  name.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + size);
  return name;
}

/// The other side's process, when it runs as our user or as root.
std::optional<int> trusted_peer(int descriptor) {
  ucred peer{};
  socklen_t size = sizeof peer;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) return std::nullopt;
  if (peer.uid != ::geteuid() && peer.uid != 0) return std::nullopt;
  return peer.pid;
}

bool has_hung_up(int descriptor) {
  pollfd watched{.fd = descriptor, .events = 0, .revents = 0};
  return descriptor >= 0 && ::poll(&watched, 1, 0) > 0 && (watched.revents & POLLHUP) != 0;
}

union Control {
  std::array<char, CMSG_SPACE(sizeof(int) * passed_at_once)> bytes;
  cmsghdr align;
};

bool send_message(int descriptor, std::string_view text, std::span<const int> passed = {}) {
  iovec part{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  Control control{};
  if (!passed.empty()) {
    message.msg_control = &control;
    message.msg_controllen = CMSG_SPACE(passed.size_bytes());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(passed.size_bytes());
    std::memcpy(CMSG_DATA(header), passed.data(), passed.size_bytes());
  }
  return ::sendmsg(descriptor, &message, MSG_NOSIGNAL) >= 0;
}

/// The next message; empty at the end, on failure, or when none came in time.
std::string receive_message(int descriptor, std::vector<int>* passed = nullptr) {
  std::array<char, message_max> text{};
  iovec part{.iov_base = text.data(), .iov_len = text.size()};
  Control control{};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = &control;
  message.msg_controllen = sizeof control;
  const ssize_t got = ::recvmsg(descriptor, &message, MSG_CMSG_CLOEXEC);
  if (got <= 0) return {};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    std::vector<int> here((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    std::memcpy(here.data(), CMSG_DATA(header), here.size() * sizeof(int));
    for (const int descriptor_passed : here) {
      if (passed != nullptr) {
        passed->push_back(descriptor_passed);
      } else {
        ::close(descriptor_passed);
      }
    }
  }
  return {text.data(), static_cast<std::size_t>(got)};
}

Error failed(std::string detail) {
  return {ErrorKind::refused, Origin::gateway, Retry::never, std::move(detail)};
}

}  // namespace

// ---- in charge

HandOverServer::~HandOverServer() { close(); }

Result<void> HandOverServer::open(const Address& at) {
  const Name name = name_of(at);
  listener_ = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const bool bound =
      listener_ >= 0 &&
      ::bind(listener_, reinterpret_cast<const sockaddr*>(&name.address), name.length) == 0 &&
      ::listen(listener_, 4) == 0;
  if (bound) return {};
  const std::string reason = std::strerror(errno);
  close();
  return std::unexpected(failed("no later gateway can take over this one's address: " + reason));
}

void HandOverServer::close() {
  drop_peer();
  if (listener_ >= 0) ::close(std::exchange(listener_, -1));
}

bool HandOverServer::has_passed_sockets() const { return passed_ && !has_hung_up(peer_); }

void HandOverServer::drop_peer() {
  passed_ = false;
  if (peer_ >= 0) ::close(std::exchange(peer_, -1));
}

bool HandOverServer::serve(const Steps& steps) {
  if (listener_ < 0) return false;
  const int arrived = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (arrived >= 0) {
    if (has_hung_up(peer_)) drop_peer();
    if (peer_ < 0 && trusted_peer(arrived)) {
      peer_ = arrived;
    } else {
      ::close(arrived);  // one at a time
    }
  }
  if (peer_ < 0) return false;
  errno = 0;
  const std::string step = receive_message(peer_);
  if (step.empty()) {
    if (errno != EAGAIN && errno != EWOULDBLOCK) drop_peer();
    return false;
  }
  return answer(step, steps);
}

bool HandOverServer::answer(std::string_view step, const Steps& steps) {
  if (step == "prepare") {
    steps.prepare();
    if (!send_message(peer_, "prepared")) drop_peer();
    return false;
  }
  if (step == "sockets") {
    const PassedSockets all = steps.sockets();
    std::span<const int> left(all.descriptors);
    bool sent = true;
    while (sent && !left.empty()) {
      const auto some = left.first(std::min(left.size(), passed_at_once));
      left = left.subspan(some.size());
      const std::string_view last = all.held_elsewhere ? last_held_elsewhere : last_ours;
      sent = send_message(peer_, left.empty() ? last : "more", some);
    }
    passed_ = true;
    if (!sent || all.descriptors.empty()) drop_peer();
    return false;
  }
  if (step != "serving") {
    drop_peer();
    return false;
  }
  ::close(std::exchange(listener_, -1));  // the name is the other side's from here on
  send_message(peer_, "draining");
  drop_peer();
  return true;
}

// ---- taking over

Result<std::optional<TakeOver>> TakeOver::connect(const Address& at) {
  const Name name = name_of(at);
  const int descriptor = ::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return std::unexpected(failed(std::strerror(errno)));
  TakeOver taking(descriptor, 0);
  ::setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &answer_limit, sizeof answer_limit);
  ::setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &answer_limit, sizeof answer_limit);
  if (::connect(descriptor, reinterpret_cast<const sockaddr*>(&name.address), name.length) != 0)
    return std::optional<TakeOver>();
  const auto pid = trusted_peer(descriptor);
  if (!pid) {
    return std::unexpected(failed(
        fmt::format("the gateway at {} runs as another user: take over as that user or as root",
                    to_string(at))));
  }
  taking.pid_ = *pid;
  return std::optional<TakeOver>(std::move(taking));
}

TakeOver::TakeOver(TakeOver&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)), pid_(other.pid_) {}

TakeOver::~TakeOver() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<std::string> TakeOver::ask(std::string_view step, std::vector<int>* passed) {
  std::string answer;
  if (step.empty() || send_message(descriptor_, step))
    answer = receive_message(descriptor_, passed);
  if (!answer.empty()) return answer;
  return std::unexpected(failed(
      fmt::format("the running gateway (process {}) did not hand over: it has ended, runs as "
                  "another user, or hands over to another process",
                  pid_)));
}

Result<void> TakeOver::prepare() {
  const auto answer = ask("prepare");
  if (!answer) return std::unexpected(answer.error());
  return {};
}

Result<PassedSockets> TakeOver::sockets() {
  PassedSockets all;
  auto answer = ask("sockets", &all.descriptors);
  while (answer && *answer == "more") answer = ask({}, &all.descriptors);
  if (!answer) {
    for (const int descriptor : all.descriptors) ::close(descriptor);
    return std::unexpected(answer.error());
  }
  all.held_elsewhere = *answer == last_held_elsewhere;
  return all;
}

Result<void> TakeOver::serving() {
  const auto answer = ask("serving");
  if (!answer) return std::unexpected(answer.error());
  return {};
}

}  // namespace sollol::cli

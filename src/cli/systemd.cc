#include "cli/systemd.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime is POSIX
#include <unistd.h>

#include <charconv>
#include <cstddef>
#include <cstring>

namespace sollol::cli {
namespace {

constexpr int first_passed = 3;  // sd_listen_fds(3)
constexpr int passed_max = 1024;

std::optional<std::uint64_t> number(const std::optional<std::string>& text) {
  std::uint64_t value = 0;
  if (!text || text->empty()) return std::nullopt;
  const auto [stop, bad] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (bad != std::errc{} || stop != text->data() + text->size()) return std::nullopt;
  return value;
}

bool meant_for_us(const Environment& environment, std::string_view variable) {
  const auto pid = number(environment.get(variable));
  return pid && *pid == static_cast<std::uint64_t>(::getpid());
}

}  // namespace

ServiceManager::ServiceManager(const Environment& environment)
    : socket_(environment.get("NOTIFY_SOCKET").value_or("")) {
  const bool usable = socket_.starts_with('/') || socket_.starts_with('@');
  if (!usable || socket_.size() >= sizeof(sockaddr_un::sun_path)) socket_.clear();
  if (socket_.starts_with('@')) socket_[0] = '\0';
  const auto interval = number(environment.get("WATCHDOG_USEC"));
  const bool ours = !environment.get("WATCHDOG_PID") || meant_for_us(environment, "WATCHDOG_PID");
  if (interval && *interval > 0 && ours) watchdog_ = std::chrono::microseconds(*interval / 2);
}

void ServiceManager::notify(std::string_view lines) const {
  if (!present()) return;
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  std::memcpy(to.sun_path, socket_.data(), socket_.size());
  const int descriptor = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (descriptor < 0) return;
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + socket_.size());
  ::sendto(descriptor, lines.data(), lines.size(), MSG_NOSIGNAL, reinterpret_cast<sockaddr*>(&to),
           length);
  ::close(descriptor);
}

void ServiceManager::ready(std::string_view status) const {
  notify(fmt::format("READY=1\nSTATUS={}", status));
}

void ServiceManager::reloading() const {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  notify(fmt::format("RELOADING=1\nMONOTONIC_USEC={}\nSTATUS=reading the configuration again",
                     now.tv_sec * 1'000'000 + now.tv_nsec / 1000));
}

void ServiceManager::stopping(std::string_view status) const {
  notify(fmt::format("STOPPING=1\nSTATUS={}", status));
}

std::vector<int> activated_sockets(const Environment& environment) {
  const auto count = number(environment.get("LISTEN_FDS"));
  if (!count || *count > passed_max || !meant_for_us(environment, "LISTEN_PID")) return {};
  std::vector<int> descriptors;
  for (int i = 0; i < static_cast<int>(*count); ++i) {
    ::fcntl(first_passed + i, F_SETFD, FD_CLOEXEC);
    descriptors.push_back(first_passed + i);
  }
  return descriptors;
}

}  // namespace sollol::cli

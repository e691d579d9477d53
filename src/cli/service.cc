#include "cli/service.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>  // NOLINT(modernize-deprecated-headers): signal sets are POSIX
#include <spdlog/spdlog.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ranges>

#include "cli/command.h"

namespace sollol::cli {
namespace {

using Clock = std::chrono::steady_clock;
using gateway::Gateway;
using gateway::Worker;

constexpr Duration drain_look_every = std::chrono::milliseconds(20);
constexpr Duration drain_tell_every = std::chrono::seconds(5);
constexpr Duration error_records_go_out = std::chrono::seconds(2);  // after the drain's limit
constexpr Duration resets_go_out = std::chrono::seconds(1);         // after that
constexpr Duration resets_at_once_go_out = std::chrono::milliseconds(200);  // at a second signal
constexpr std::size_t told_at_most = 5;
constexpr Duration rest = std::chrono::hours(1);

sigset_t awaited_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  return signals;
}

/// The loop of the main thread: signals, the next gateway, the service manager's watchdog.
class Service {
 public:
  Service(Gateway& gateway, const Address& at, Worker::Sockets sockets,
          const ServiceManager& manager, const ServiceHooks& hooks);
  ~Service() { ::close(signals_); }
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  int run();

 private:
  enum class Wish { nothing, reload, stop, hand_over };

  Wish wait(Duration limit);
  Wish next_signal() const;
  void reload();
  int drain(Wish why);
  bool drain_until(Clock::time_point limit);
  void cut_all();
  void tell_progress(Clock::time_point limit) const;
  void feed_watchdog();

  Gateway& gateway_;
  Address at_;
  Worker::Sockets sockets_;
  const ServiceManager& manager_;
  const ServiceHooks& hooks_;
  int signals_;
  HandOverServer hand_over_;
  Clock::time_point next_beat_ = Clock::now();
};

Service::Service(Gateway& gateway, const Address& at, Worker::Sockets sockets,
                 const ServiceManager& manager, const ServiceHooks& hooks)
    : gateway_(gateway), at_(at), sockets_(sockets), manager_(manager), hooks_(hooks) {
  const sigset_t signals = awaited_signals();
  signals_ = ::signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
  if (const Result<void> open = hand_over_.open(at); !open) spdlog::warn("{}", open.error().detail);
}

int Service::run() {
  const std::string serving = fmt::format("serving at {}", to_string(at_));
  manager_.ready(serving);
  while (true) {
    const Wish wish = wait(rest);
    if (wish == Wish::stop || wish == Wish::hand_over) return drain(wish);
    if (wish != Wish::reload) continue;
    manager_.reloading();
    hooks_.reload();
    manager_.ready(serving);
  }
}

/// Waits for something to do, at most `limit`.
Service::Wish Service::wait(Duration limit) {
  if (manager_.watchdog_interval())
    limit = std::min<Duration>(limit, std::max<Duration>(next_beat_ - Clock::now(), Duration(0)));
  std::array<pollfd, 3> watched{{{.fd = signals_, .events = POLLIN, .revents = 0},
                                 {.fd = hand_over_.listener(), .events = POLLIN, .revents = 0},
                                 {.fd = hand_over_.peer(), .events = POLLIN, .revents = 0}}};
  const auto wait_ms = std::chrono::ceil<std::chrono::milliseconds>(limit).count();
  const int ready = ::poll(watched.data(), watched.size(), static_cast<int>(wait_ms));
  feed_watchdog();
  if (ready <= 0) return Wish::nothing;
  if (watched[0].revents != 0) return next_signal();
  const bool taken = hand_over_.serve(
      {.prepare = [this] { gateway_.save_state(); },
       .sockets =
           [this] {
             return PassedSockets{gateway_.sockets(), sockets_ == Worker::Sockets::shared};
           }});
  return taken ? Wish::hand_over : Wish::nothing;
}

Service::Wish Service::next_signal() const {
  signalfd_siginfo got{};
  if (::read(signals_, &got, sizeof got) != sizeof got) return Wish::nothing;
  spdlog::info("signal {}", got.ssi_signo == SIGHUP   ? "HUP"
                            : got.ssi_signo == SIGINT ? "INT"
                                                      : "TERM");
  return got.ssi_signo == SIGHUP ? Wish::reload : Wish::stop;
}

void Service::feed_watchdog() {
  const auto interval = manager_.watchdog_interval();
  if (!interval || Clock::now() < next_beat_) return;
  next_beat_ = Clock::now() + *interval;
  // A thread that hangs must not look alive because this one does.
  if (gateway_.responsive()) manager_.notify("WATCHDOG=1");
}

int Service::drain(Wish why) {
  const Duration timeout = hooks_.drain_timeout();
  const auto limit = Clock::now() + timeout;
  const bool taken_over = why == Wish::hand_over;
  // Whoever was given copies of the sockets and has not said so yet may still come to serve them.
  if (taken_over || hand_over_.has_passed_sockets()) sockets_ = Worker::Sockets::shared;
  hand_over_.close();
  manager_.stopping(taken_over ? "another gateway has taken over; finishing" : "finishing");
  spdlog::info("{}: finishing what runs, for at most {:.0f} s; another signal ends it at once",
               taken_over ? "another gateway has taken over" : "stopping",
               std::chrono::duration<double>(timeout).count());
  if (taken_over) gateway_.hand_off_state();
  gateway_.drain(sockets_);
  bool in_time = drain_until(limit);
  if (!gateway_.drained() && in_time) {
    spdlog::warn("time is up: what still runs ends with an error");
    gateway_.end_running();
    in_time = drain_until(Clock::now() + error_records_go_out);
  }
  if (!gateway_.drained() && in_time) {
    gateway_.reset_connections();
    in_time = drain_until(Clock::now() + resets_go_out);
  }
  if (!in_time) cut_all();
  gateway_.stop();
  if (in_time) spdlog::info("stopped");
  return in_time ? exit_done : exit_failed;
}

/// A second signal: what is cut must not look complete, all else is over.
void Service::cut_all() {
  spdlog::warn("a second signal: ended at once");
  gateway_.reset_connections();
  const auto limit = Clock::now() + resets_at_once_go_out;
  while (!gateway_.drained() && Clock::now() < limit) wait(std::chrono::milliseconds(1));
}

/// Until all is done or `limit`; false when a signal said not to wait.
bool Service::drain_until(Clock::time_point limit) {
  auto next_told = Clock::now() + drain_tell_every;
  while (!gateway_.drained() && Clock::now() < limit) {
    if (wait(drain_look_every) == Wish::stop) return false;
    if (Clock::now() < next_told) continue;
    next_told += drain_tell_every;
    tell_progress(limit);
  }
  return true;
}

void Service::tell_progress(Clock::time_point limit) const {
  const Gateway::Running running = gateway_.running();
  std::string some;
  for (const auto& request : running.requests | std::views::take(told_at_most)) {
    some += fmt::format("{}{} of {} ({} at {}, {:.0f} s)", some.empty() ? ": " : ", ", request.id,
                        request.client, request.model.empty() ? "no model" : request.model,
                        request.node.empty() ? "no node yet" : request.node,
                        std::chrono::duration<double>(request.since).count());
  }
  if (running.requests.size() > told_at_most)
    some += fmt::format(" and {} more", running.requests.size() - told_at_most);
  const auto left = std::chrono::duration<double>(limit - Clock::now()).count();
  const std::string text =
      fmt::format("finishing: {} requests run, {} of them queued, {:.0f} s left",
                  running.requests.size(), running.queued, std::max(0.0, left));
  manager_.stopping(text);
  spdlog::info("{}{}", text, some);
}

}  // namespace

void block_signals() {
  const sigset_t signals = awaited_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of its write, not our end
}

int serve(Gateway& gateway, const Address& at, Worker::Sockets sockets,
          const ServiceManager& manager, const ServiceHooks& hooks) {
  Service service(gateway, at, sockets, manager, hooks);
  return service.run();
}

}  // namespace sollol::cli

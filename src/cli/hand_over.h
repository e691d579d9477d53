#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"

namespace sollol::cli {

/// Listening sockets on their way to the next gateway.
struct PassedSockets {
  std::vector<int> descriptors;
  bool held_elsewhere = false;  // by a service manager, who keeps them when all gateways end
};

/// How a running gateway gives its listening sockets to the next one.
///
/// The one in charge of an address has an abstract unix socket that is named after it, so both live
/// in the same network namespace and no stale file is ever left. The next one asks in three steps,
/// and only after the last does the first one stop accepting; until then it may vanish without
/// harm:
///
///     prepare    save what you have learnt        (it is about to be read)
///     sockets    pass your listening sockets      (SCM_RIGHTS: with them the connections that
///     wait) serving    I accept: finish what you have
///
/// Both sides check that the other runs as the same user, or as root. Linux only.
///
/// The side that is in charge. Calls never block; one thread.
class HandOverServer {
 public:
  /// What the steps of the other side do.
  struct Steps {
    std::function<void()> prepare;
    std::function<PassedSockets()> sockets;  // stay ours: copies are passed
  };

  HandOverServer() = default;
  ~HandOverServer();
  HandOverServer(const HandOverServer&) = delete;
  HandOverServer& operator=(const HandOverServer&) = delete;

  /// Error: refused, when another process is in charge of the address.
  Result<void> open(const Address& at);
  void close();

  /// Descriptors to wait for until they are readable, then call `serve`; -1: none at present.
  int listener() const noexcept { return listener_; }
  int peer() const noexcept { return peer_; }
  /// A peer that may still come to serve holds copies of our sockets.
  bool has_passed_sockets() const;
  /// True: the other side serves from now on, and the name is free for it.
  bool serve(const Steps& steps);

 private:
  void drop_peer();
  bool answer(std::string_view step, const Steps& steps);

  int listener_ = -1;
  int peer_ = -1;
  bool passed_ = false;
};

/// The side that takes over. Calls block for at most some seconds.
class TakeOver {
 public:
  /// Nullopt: nobody is in charge of the address. Error: it is not ours to take.
  static Result<std::optional<TakeOver>> connect(const Address& at);
  TakeOver(TakeOver&& other) noexcept;
  ~TakeOver();
  TakeOver& operator=(TakeOver&&) = delete;

  int pid() const noexcept { return pid_; }
  Result<void> prepare();
  Result<PassedSockets> sockets();
  Result<void> serving();

 private:
  explicit TakeOver(int descriptor, int pid) : descriptor_(descriptor), pid_(pid) {}
  Result<std::string> ask(std::string_view step, std::vector<int>* passed = nullptr);

  int descriptor_;
  int pid_;
};

}  // namespace sollol::cli

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/result.h"
#include "gateway/options.h"
#include "gateway/worker.h"

namespace sollol::gateway {

/// The whole gateway: a control thread and workers, on one listen address.
///
/// Its life: `start`, any number of `reload`, then `drain` until `drained`, `end_running` when that
/// takes too long, and `stop`. All from one thread.
class Gateway {
 public:
  explicit Gateway(Options options);
  ~Gateway();

  /// Begins to probe the nodes, before anything listens; `start` does it else.
  Result<void> prepare();
  /// Every node has answered or failed, and those that answer have told their models.
  bool nodes_known();
  /// Binds, starts all threads and returns the bound address. With `sockets`, which listen already
  /// and are owned from now on, these are served instead. Error: refused, when the address cannot
  /// be had or somebody else listens there.
  Result<Address> start(std::vector<int> sockets = {});
  /// Starts all threads without an address to be found at: what is to be served comes through
  /// `serve`.
  Result<void> start_inside();
  /// Any thread, after a start: serves a connection that somebody else made.
  void serve(net::ClientSocket socket);
  /// Those that keep the nodes; after a start.
  Control& control() noexcept;
  ViewSource& views() noexcept;
  /// Descriptors of the listening sockets: for handing them to another process. Before `drain`.
  std::vector<int> sockets();

  /// Takes up changed options without touching a request under way: nodes by what differs, limits,
  /// timeouts, policy; the access log is opened anew, certificates and keys are read
  /// again. Returns the settings that differ and wait for
  /// a restart. Error: bad_input; then nothing has changed.
  Result<std::vector<std::string>> reload(Options options);

  /// Writes the state file now; and leaves it to another process from now on.
  void save_state();
  void hand_off_state();
  /// Every thread has run what it was given by the last call: for a watchdog.
  bool responsive();

  Duration drain_timeout() const;

  /// Takes nothing new and finishes what it has. `sockets`: whether others serve them on.
  void drain(Worker::Sockets sockets = Worker::Sockets::ours);
  /// Nothing runs, waits or is connected any more.
  bool drained() const;
  /// What still runs, and how many wait in the queue.
  struct Running {
    std::vector<RunningRequest> requests;
    std::uint32_t queued = 0;
  };
  Running running();
  /// Ends what still runs with its API's error, and answers the queue 503.
  void end_running();
  /// Resets what even then is left.
  void reset_connections();
  /// Ends all threads; connections are closed.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace sollol::gateway

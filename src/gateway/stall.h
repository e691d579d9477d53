#pragma once

#include <functional>

#include "base/time.h"
#include "cluster/live.h"
#include "gateway/options.h"
#include "net/scheduler.h"

namespace sollol::gateway {

/// How long a node may be silent between two tokens of a stream: the fixed limit of the options, or
/// learnt from the longest silences of this model on this node; the upper bound while nothing is
/// known. Zero: as long as it likes.
Duration stall_limit(const StallOptions& options, const cluster::ReplicaLive* replica) noexcept;

/// Notices when a stream has stopped between two tokens. One timer for a stream, looked at when it
/// fires: a token costs it nothing but the time that the relay reads anyway. One thread.
class StallTimer final : private net::TimerWheel::Entry {
 public:
  /// `stalled` is called once, when `limit` has passed since the last `heard`.
  StallTimer(net::Scheduler& scheduler, std::function<void()> stalled)
      : scheduler_(scheduler), stalled_(std::move(stalled)) {}

  /// From now on silence counts. Does nothing when it counts already, or with no limit.
  void start(TimePoint now, Duration limit);
  bool running() const noexcept { return limit_.count() > 0; }
  void heard(TimePoint now) noexcept { last_ = now; }
  void stop() noexcept { disarm(); }
  bool has_stalled() const noexcept { return has_stalled_; }
  Duration limit() const noexcept { return limit_; }

 private:
  void expired() override;

  net::Scheduler& scheduler_;
  std::function<void()> stalled_;
  Duration limit_{};
  TimePoint last_{};
  bool has_stalled_ = false;
};

}  // namespace sollol::gateway

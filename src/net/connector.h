#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "net/address.h"
#include "net/scheduler.h"
#include "net/stream.h"

namespace sollol::net {

/// How connections to nodes are made: TCP in the gateway, in memory in the simulator.
class Connector {
 public:
  virtual ~Connector() = default;
  /// Error kinds: refused (nothing listens, no route), timeout (the deadline passed), overloaded
  /// (no descriptor left).
  virtual Task<Result<std::unique_ptr<Stream>>> connect(Address to, TimePoint deadline) = 0;
};

/// Connects to the first address that answers, in order. The deadline is for all of them: each has
/// an equal share of the time that is left, so that one which swallows everything leaves some for
/// the next. Error: the last one's.
Task<Result<std::unique_ptr<Stream>>> connect_any(Connector& connector, const Scheduler& clock,
                                                  std::vector<Address> addresses,
                                                  TimePoint deadline);

}  // namespace sollol::net

#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "sim/fleet.h"

namespace sollol::sim {

/// Lets another process watch and drive a fleet, over HTTP on an address of its own, so that it
/// works while nodes are down.
///
///     GET  /nodes                     what each node has seen and done
///     POST /nodes/NAME/kill           the machine is switched off
///     POST /nodes/NAME/restart        and on again
///     PUT  /nodes/NAME/faults         a JSON list of faults replaces those of the node; an element
///                                     is "die_after_tokens:20", or an object with "fault" and
///                                     "probability", "count" or "scope"
///
/// Answers are JSON, errors `{"error":"…"}`. Has a thread of its own. The fleet must outlive it.
class ControlServer {
 public:
  /// Listens at "127.0.0.1:8000" (port 0: a free one). Throws std::runtime_error when it cannot.
  ControlServer(Fleet& fleet, const std::string& address);
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// "http://127.0.0.1:8000".
  const std::string& url() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

/// The faults that a JSON text lists, in the form of `PUT /nodes/NAME/faults`.
Result<std::vector<FaultSpec>> read_faults(std::string_view json);

/// What a node has seen and done, as `GET /nodes` shows it.
std::string counters_json(std::string_view name, std::string_view url,
                          const NodeCounters& counters);

}  // namespace sollol::sim

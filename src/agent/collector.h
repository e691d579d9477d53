#pragma once

#include <optional>
#include <string>

#include "agent/gpus.h"
#include "agent/owner.h"
#include "agent/processes.h"
#include "agent/report.h"
#include "agent/roots.h"
#include "base/time.h"

namespace sollol::agent {

/// A report is made at most so often, however many ask.
inline constexpr Duration refresh_interval = std::chrono::seconds(1);

/// Looks at this machine and keeps what the next look needs to tell rates. One thread.
class Collector {
 public:
  explicit Collector(Roots roots = {}, const GpuLibraries& libraries = {});

  /// The report of this moment, or the last one while it is younger than `refresh_interval`. Blocks
  /// while /proc is read and the drivers answer: milliseconds.
  const AgentReport& report(TimePoint now, WallTime wall_now);

 private:
  AgentReport look(TimePoint now, WallTime wall_now);
  void add_cpu(Machine& machine, const ProcessTable& table);

  Roots roots_;
  Gpus gpus_;
  OwnerWatch owner_;
  std::optional<ProcessTable> before_;
  std::optional<AgentReport> last_;
  TimePoint made_{};
};

/// Puts together who uses which GPU: the nodes' devices, and per GPU what other programs than
/// Ollama take of it. Where the driver tells no process's utilisation, the GPU's own counts as
/// foreign when only others are on it, and none when no other is.
void attribute(const ProcessTable& table, AgentReport& report);

}  // namespace sollol::agent

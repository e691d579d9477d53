#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <span>

namespace sollol::bench {

/// What some processes have used up so far, and hold now, all together.
struct ProcessUse {
  std::chrono::nanoseconds cpu{};  // run time of all living threads, as the scheduler counts it
  std::chrono::milliseconds
      user{};  // the split into user and system is sampled by the kernel's tick:
  std::chrono::milliseconds
      system{};  // good over seconds, and its sum may differ a little from `cpu`
  std::uint64_t rss_kib = 0;
  std::uint64_t pss_kib = 0;  // pages shared between processes counted once

  /// What was used between two samples; memory stays that of the later one.
  friend ProcessUse operator-(ProcessUse after, const ProcessUse& before) {
    after.cpu -= before.cpu;
    after.user -= before.user;
    after.system -= before.system;
    return after;
  }
};

/// Reads /proc of each process and of its children (a master's workers). A process that is gone
/// counts nothing. `sample_cpu` leaves the memory fields 0 and costs some tens of microseconds;
/// `sample_memory` walks page tables.
ProcessUse sample_cpu(std::span<const pid_t> processes);
ProcessUse sample_memory(std::span<const pid_t> processes);

}  // namespace sollol::bench

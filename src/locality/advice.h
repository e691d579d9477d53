#pragma once

#include <cstddef>
#include <string>

#include "locality/grouping.h"

namespace sollol::locality {

/// Whether many tasks should run at once.
struct Advice {
  bool parallel = false;
  /// How many workers are worth having: tasks that can run without slowing each other. 1 when
  /// sequential; 0 without nodes. A node that answers several requests at once can take more.
  std::size_t width = 0;
  std::string reason{};  // one sentence
};

/// Machines, however many nodes each has. O(1).
std::size_t count_unique_physical_hosts(const Grouping& grouping) noexcept;

/// Parallel when there are at least two tasks and two nodes that work without slowing each other:
/// on different machines, or on one machine with devices known to be different. Measurement
/// overrules both: nodes that slow each other as on one device count once wherever they are, and
/// nodes that do not count apart. Pure; O(hosts).
Advice advise(const Grouping& grouping, std::size_t tasks);

/// What advise() says, without why.
bool should_use_parallel_execution(const Grouping& grouping, std::size_t tasks);

}  // namespace sollol::locality

#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "sollol/batch.h"

namespace sollol::python {

/// A batch of the library under way, on a thread of its own, which never runs Python.
class RunningBatch {
 public:
  RunningBatch(CallStarter start, BatchOptions options);
  ~RunningBatch();
  RunningBatch(RunningBatch&&) noexcept = default;

  /// Lines that are done, and whether it has ended. Ctrl-C ends the wait.
  std::pair<std::size_t, bool> wait(std::size_t seen, double timeout);
  /// Why it ended early; empty: it did not. Raises its failure.
  std::string stopped();
  /// Leaves what is in flight, and ends the thread.
  void close();
  /// In a forked child, which has no such thread: what it holds stays for good.
  void abandon();

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;
  std::thread thread_;
};

}  // namespace sollol::python

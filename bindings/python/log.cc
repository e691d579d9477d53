// The library's log, kept until Python asks for it: no thread of the library ever runs Python.
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>
#include <pthread.h>

#include <atomic>
#include <deque>
#include <mutex>

#include "core.h"
#include "sollol/log.h"

namespace sollol::python {

namespace {

constexpr std::size_t lines_max = 1000;  // the oldest go

using Line = std::pair<int, std::string>;  // level as `logging` numbers it, and text

struct Lines {
  std::mutex mutex;
  std::deque<Line> all;
  std::atomic<bool> any{false};
};

/// Lives as long as the process: the library's threads may still write at its end.
Lines& lines() {
  static Lines& only = *new Lines;
  return only;
}

int python_level(LogLevel level) {
  constexpr int levels[] = {10, 20, 30, 40};
  return levels[static_cast<std::size_t>(level)];
}

std::vector<Line> take_log() {
  if (!lines().any.load(std::memory_order_relaxed)) return {};
  const std::scoped_lock lock(lines().mutex);
  lines().any = false;
  std::vector<Line> taken(lines().all.begin(), lines().all.end());
  lines().all.clear();
  return taken;
}

}  // namespace

void bind_log(nb::module_& module) {
  log_to(
      [](LogLevel level, std::string_view text) {
        const std::scoped_lock lock(lines().mutex);
        if (lines().all.size() == lines_max) lines().all.pop_front();
        lines().all.emplace_back(python_level(level), text);
        lines().any = true;
      },
      LogLevel::info);
  // A fork copies the lock as it is at that moment: nobody may hold it then.
  pthread_atfork([] { lines().mutex.lock(); }, [] { lines().mutex.unlock(); },
                 [] { lines().mutex.unlock(); });
  module.def("take_log", &take_log, "What the library has said since the last time.");
}

}  // namespace sollol::python

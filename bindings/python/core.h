#pragma once

#include <nanobind/nanobind.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <future>
#include <optional>
#include <thread>

#include "sollol/failure.h"

namespace sollol::python {

namespace nb = nanobind;

/// Which error of `sollol.errors` a failure is when no node is to blame.
enum class Blame : std::uint8_t { input, connection };

/// Raises it in Python.
[[noreturn]] void raise(const Failure& failure, Blame blame);

/// How long the main thread sleeps between two looks at whether Ctrl-C was pressed, should the
/// signal not have woken it.
inline constexpr std::chrono::milliseconds signal_check_every(50);

/// Python handles signals on the main thread alone.
inline bool on_main_thread() { return ::getpid() == ::syscall(SYS_gettid); }

/// Called when the module is loaded.
void start();

/// Called when the interpreter is about to end: from then on no other thread comes back to Python.
/// A thread that did would be ended by the interpreter inside our frames, and with it the process.
/// Waits for those on their way back.
void end_python();

/// A thread on its way back to Python, while this lives; one that comes too late stays in the
/// constructor for good.
class ComingBack {
 public:
  ComingBack();
  ~ComingBack();
  ComingBack(const ComingBack&) = delete;
  ComingBack& operator=(const ComingBack&) = delete;
};

/// Other threads may run Python while this lives.
class OthersRun {
 public:
  OthersRun() : state_(PyEval_SaveThread()) {}
  ~OthersRun() {
    const ComingBack coming_back;
    PyEval_RestoreThread(state_);
  }
  OthersRun(const OthersRun&) = delete;
  OthersRun& operator=(const OthersRun&) = delete;

 private:
  PyThreadState* state_;
};

/// This thread may use Python while this lives, inside of OthersRun.
class PythonAgain {
 public:
  PythonAgain() {
    const ComingBack coming_back;
    gil_.emplace();
  }

 private:
  std::optional<nb::gil_scoped_acquire> gil_;
};

/// Raises what a signal's handler raised. With the GIL.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

/// Does what may take a while, without the GIL. Ctrl-C ends the wait, not the work: so `work` owns
/// what it uses.
template <class Work>
auto blocking(Work work) {
  using Result = decltype(work());
  if (!on_main_thread()) {
    const OthersRun others_run;
    return work();
  }
  std::packaged_task<Result()> task(std::move(work));
  auto result = task.get_future();
  std::thread(std::move(task)).detach();
  while (true) {
    {
      const OthersRun others_run;
      if (result.wait_for(signal_check_every) == std::future_status::ready) return result.get();
    }
    check_signals();
  }
}

void bind_batches(nb::module_& module);
void bind_calls(nb::module_& module);
void bind_registry(nb::module_& module);
void bind_log(nb::module_& module);

}  // namespace sollol::python

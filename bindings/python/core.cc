// The module `sollol._core`: the library's calls as they are, for the package around it to use.
#include "core.h"

#include <pthread.h>

#include <atomic>

namespace sollol::python {

namespace {

std::atomic<bool> python_ended{false};
std::atomic<int> coming_back{0};  // threads that saw Python alive and have it back any moment

}  // namespace

void start() {
  // Whoever was on the way back when a fork came is the parent's.
  ::pthread_atfork(nullptr, nullptr, [] { coming_back = 0; });
}

void end_python() {
  python_ended = true;
  // Whoever is on the way gets the GIL from here, while it may still have it.
  PyThreadState* const state = PyEval_SaveThread();
  while (coming_back != 0) std::this_thread::yield();
  PyEval_RestoreThread(state);
}

ComingBack::ComingBack() {
  ++coming_back;
  if (python_ended && !on_main_thread()) {
    --coming_back;
    while (true) ::pause();
  }
}

ComingBack::~ComingBack() { --coming_back; }

void raise(const Failure& failure, Blame blame) {
  const char* name = failure.unreachable          ? "NodeUnreachable"
                     : blame == Blame::connection ? "ConnectionBroken"
                                                  : "ConfigError";
  const nb::object type = nb::module_::import_("sollol.errors").attr(name);
  PyErr_SetObject(type.ptr(), nb::str(failure.text.data(), failure.text.size()).ptr());
  throw nb::python_error();
}

}  // namespace sollol::python

NB_MODULE(_core, module) {
  module.doc() = "SOLLOL's C++ library.";
  sollol::python::start();
  module.def("end_python", &sollol::python::end_python,
             "The interpreter is about to end: no other thread comes back to it.");
  sollol::python::bind_log(module);
  sollol::python::bind_registry(module);
  sollol::python::bind_batches(module);
  sollol::python::bind_calls(module);
}

// The module `sollol._core`: the library's calls as they are, for the package around it to use.
#include "core.h"

#include <atomic>

namespace sollol::python {

namespace {

std::atomic<bool> python_ended{false};

}  // namespace

void end_python() { python_ended = true; }

void wait_if_python_ended() {
  while (python_ended && !on_main_thread()) ::pause();
}

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
  module.def("end_python", &sollol::python::end_python,
             "The interpreter is about to end: no other thread comes back to it.");
  sollol::python::bind_log(module);
  sollol::python::bind_registry(module);
  sollol::python::bind_calls(module);
}

#include "agent/gpus.h"

#include <utility>

namespace sollol::agent {

Gpus::Gpus(const GpuLibraries& libraries, const Roots& roots) {
  if (auto nvml = open_nvml(libraries.nvml, notes_)) sources_.push_back(std::move(nvml));
  if (auto rocm = open_rocm(libraries.rocm, roots, notes_)) sources_.push_back(std::move(rocm));
}

GpuReading Gpus::read() {
  GpuReading reading{.gpus = {}, .notes = notes_};
  for (const auto& source : sources_) source->read(reading);
  return reading;
}

}  // namespace sollol::agent

#pragma once

#include <memory>
#include <string>
#include <vector>

#include "agent/report.h"
#include "agent/roots.h"

namespace sollol::agent {

/// The libraries of the GPUs' drivers, tried in order; a test names its own.
struct GpuLibraries {
  std::vector<std::string> nvml = {"libnvidia-ml.so.1"};
  std::vector<std::string> rocm = {"librocm_smi64.so", "librocm_smi64.so.7", "librocm_smi64.so.6",
                                   "librocm_smi64.so.5", "/opt/rocm/lib/librocm_smi64.so"};
};

/// What one look at the GPUs gave.
struct GpuReading {
  std::vector<Gpu> gpus = {};           // of all vendors, each vendor's in its library's order
  std::vector<std::string> notes = {};  // why there are none of a vendor
};

/// One vendor's way to its GPUs. May block for as long as its driver does. One thread.
class GpuSource {
 public:
  virtual ~GpuSource() = default;
  /// Appends its GPUs. Which of the processes are Ollama's is not filled in.
  virtual void read(GpuReading& into) = 0;
};

inline constexpr unsigned gpus_max = 64;  // of one vendor

/// NVIDIA's NVML, loaded while the program runs. Null, with a note in `notes`, when it is not there
/// or does not start.
std::unique_ptr<GpuSource> open_nvml(const std::vector<std::string>& libraries,
                                     std::vector<std::string>& notes);

/// AMD's ROCm SMI, likewise; which processes use a GPU is told by the kernel's /sys/class/kfd.
std::unique_ptr<GpuSource> open_rocm(const std::vector<std::string>& libraries, const Roots& roots,
                                     std::vector<std::string>& notes);

/// All vendors together.
class Gpus {
 public:
  explicit Gpus(const GpuLibraries& libraries = {}, const Roots& roots = {});
  GpuReading read();

 private:
  std::vector<std::unique_ptr<GpuSource>> sources_;
  std::vector<std::string> notes_;
};

}  // namespace sollol::agent

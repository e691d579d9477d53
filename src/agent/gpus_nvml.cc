// NVIDIA's GPUs through NVML. The few declarations that are needed follow NVIDIA's "NVML API
// Reference Guide"; the ABI of versioned functions (_v2, _v3) is fixed by their name.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

#include "agent/gpus.h"
#include "base/library.h"

namespace sollol::agent {
namespace {

using Device = struct NvmlDevice*;              // nvmlDevice_t, opaque
using Code = int;                               // nvmlReturn_t
constexpr Code success = 0;                     // NVML_SUCCESS
constexpr unsigned uuid_size = 96;              // NVML_DEVICE_UUID_V2_BUFFER_SIZE
constexpr unsigned name_size = 96;              // NVML_DEVICE_NAME_V2_BUFFER_SIZE
constexpr unsigned long long no_value = ~0ULL;  // NVML_VALUE_NOT_AVAILABLE, -1 as unsigned
constexpr unsigned processes_max = 256;

struct Memory {  // nvmlMemory_t
  unsigned long long total, free, used;
};
struct Utilisation {  // nvmlUtilization_t, percent
  unsigned gpu, memory;
};
struct ProcessInfo {  // nvmlProcessInfo_v2_t, which the _v3 functions fill
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};
struct ProcessSample {  // nvmlProcessUtilizationSample_t
  unsigned pid;
  unsigned long long time_us;
  unsigned sm, memory, encoder, decoder;  // percent
};

struct Functions {
  Code (*init)();
  Code (*count)(unsigned*);
  Code (*device)(unsigned, Device*);
  Code (*uuid)(Device, char*, unsigned);
  Code (*name)(Device, char*, unsigned);
  Code (*memory)(Device, Memory*);
  // These may be missing in old drivers.
  Code (*utilisation)(Device, Utilisation*);
  Code (*compute)(Device, unsigned*, ProcessInfo*);
  Code (*graphics)(Device, unsigned*, ProcessInfo*);
  Code (*samples)(Device, ProcessSample*, unsigned*, unsigned long long);
};

bool find_functions(const Library& library, Functions& out) {
  library.find("nvmlDeviceGetUtilizationRates", out.utilisation);
  library.find("nvmlDeviceGetComputeRunningProcesses_v3", out.compute);
  library.find("nvmlDeviceGetGraphicsRunningProcesses_v3", out.graphics);
  library.find("nvmlDeviceGetProcessUtilization", out.samples);
  return library.find("nvmlInit_v2", out.init) &&
         library.find("nvmlDeviceGetCount_v2", out.count) &&
         library.find("nvmlDeviceGetHandleByIndex_v2", out.device) &&
         library.find("nvmlDeviceGetUUID", out.uuid) &&
         library.find("nvmlDeviceGetName", out.name) &&
         library.find("nvmlDeviceGetMemoryInfo", out.memory);
}

class Nvml final : public GpuSource {
 public:
  explicit Nvml(const Functions& functions) : nvml_(functions) {}

  void read(GpuReading& into) override {
    unsigned count = 0;
    if (nvml_.count(&count) != success) {
      into.notes.emplace_back("NVML does not tell how many GPUs there are");
      return;
    }
    seen_us_.resize(std::min(count, gpus_max));
    for (unsigned i = 0; i < seen_us_.size(); ++i) {
      Device device = nullptr;
      std::array<char, uuid_size> uuid{};
      if (nvml_.device(i, &device) == success &&
          nvml_.uuid(device, uuid.data(), uuid_size - 1) == success) {
        into.gpus.push_back(read_one(device, uuid.data(), seen_us_[i]));
      } else {
        into.notes.push_back(fmt::format("NVML tells nothing of its GPU {}", i));
      }
    }
  }

 private:
  Gpu read_one(Device device, const char* uuid, unsigned long long& seen_us) {
    Gpu gpu{.uuid = uuid, .vendor = "nvidia"};
    std::array<char, name_size> name{};
    if (nvml_.name(device, name.data(), name_size - 1) == success) gpu.name = name.data();
    if (Memory memory{}; nvml_.memory(device, &memory) == success) {
      gpu.memory_total = memory.total;
      gpu.memory_free = memory.free;
    }
    Utilisation busy{};
    if (nvml_.utilisation != nullptr && nvml_.utilisation(device, &busy) == success)
      gpu.utilisation = std::min(busy.gpu, 100u);
    // Games draw, models compute: both kinds take the GPU.
    const bool compute = read_processes(nvml_.compute, device, gpu);
    const bool graphics = read_processes(nvml_.graphics, device, gpu);
    gpu.processes_known = compute && graphics;
    if (gpu.processes_known) read_samples(device, gpu, seen_us);
    return gpu;
  }

  static bool read_processes(Code (*list)(Device, unsigned*, ProcessInfo*), Device device,
                             Gpu& gpu) {
    std::array<ProcessInfo, processes_max> infos{};
    unsigned count = processes_max;
    if (list == nullptr || list(device, &count, infos.data()) != success) return false;
    for (const auto& info : std::span(infos).first(std::min(count, processes_max))) {
      const auto known = std::ranges::find(gpu.processes, info.pid, &GpuProcess::pid);
      if (known != gpu.processes.end()) continue;
      GpuProcess process{.pid = info.pid};
      if (info.memory != no_value) process.memory = info.memory;
      gpu.processes.push_back(process);
    }
    return true;
  }

  /// The driver keeps samples of some seconds; each read takes what is new.
  void read_samples(Device device, Gpu& gpu, unsigned long long& seen_us) const {
    std::array<ProcessSample, processes_max> samples{};
    unsigned count = processes_max;
    if (nvml_.samples == nullptr || gpu.processes.empty() ||
        nvml_.samples(device, samples.data(), &count, seen_us) != success)
      return;
    for (auto& process : gpu.processes) process.utilisation = 0;
    for (const auto& sample : std::span(samples).first(std::min(count, processes_max))) {
      seen_us = std::max(seen_us, sample.time_us);
      const auto process = std::ranges::find(gpu.processes, sample.pid, &GpuProcess::pid);
      if (process != gpu.processes.end())
        process->utilisation = std::max(*process->utilisation, std::min(sample.sm, 100u));
    }
  }

  Functions nvml_;
  std::vector<unsigned long long> seen_us_;  // newest sample of each GPU
};

}  // namespace

std::unique_ptr<GpuSource> open_nvml(const std::vector<std::string>& libraries,
                                     std::vector<std::string>& notes) {
  const Library library(libraries);
  if (!library.loaded()) {
    notes.push_back("no NVIDIA GPUs: " + library.problem());
    return nullptr;
  }
  Functions functions{};
  if (!find_functions(library, functions)) {
    notes.emplace_back("no NVIDIA GPUs: the NVML library lacks functions; update the driver");
    return nullptr;
  }
  if (const Code code = functions.init(); code != success) {
    notes.push_back(fmt::format("no NVIDIA GPUs: NVML does not start (error {})", code));
    return nullptr;
  }
  return std::make_unique<Nvml>(functions);
}

}  // namespace sollol::agent

// AMD's GPUs through ROCm SMI. The few declarations that are needed follow AMD's header
// rocm_smi/rocm_smi.h.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "agent/gpus.h"
#include "base/library.h"

namespace sollol::agent {
namespace {

using Code = int;            // rsmi_status_t
constexpr Code success = 0;  // RSMI_STATUS_SUCCESS
constexpr int vram = 0;      // RSMI_MEM_TYPE_VRAM
constexpr std::size_t name_size = 128;
constexpr std::size_t processes_max = 256;

/// rsmi_process_info_t; newer versions append to it, so there is room behind what is read here.
struct ProcessInfo {
  std::uint32_t pid, pasid;
  std::uint64_t vram_usage;
  std::array<std::uint64_t, 29> later;
};

struct Functions {
  Code (*init)(std::uint64_t);
  Code (*count)(std::uint32_t*);
  Code (*unique_id)(std::uint32_t, std::uint64_t*);
  Code (*name)(std::uint32_t, char*, std::size_t);
  Code (*memory_total)(std::uint32_t, int, std::uint64_t*);
  Code (*memory_used)(std::uint32_t, int, std::uint64_t*);
  Code (*busy)(std::uint32_t, std::uint32_t*);
  // May be missing in old versions.
  Code (*process)(std::uint32_t pid, std::uint32_t device, ProcessInfo*);
};

bool find_functions(const Library& library, Functions& out) {
  library.find("rsmi_compute_process_info_by_device_get", out.process);
  return library.find("rsmi_init", out.init) &&
         library.find("rsmi_num_monitor_devices", out.count) &&
         library.find("rsmi_dev_unique_id_get", out.unique_id) &&
         library.find("rsmi_dev_name_get", out.name) &&
         library.find("rsmi_dev_memory_total_get", out.memory_total) &&
         library.find("rsmi_dev_memory_usage_get", out.memory_used) &&
         library.find("rsmi_dev_busy_percent_get", out.busy);
}

class Rocm final : public GpuSource {
 public:
  Rocm(const Functions& functions, std::string kfd) : rsmi_(functions), kfd_(std::move(kfd)) {}

  void read(GpuReading& into) override {
    std::uint32_t count = 0;
    if (rsmi_.count(&count) != success) {
      into.notes.emplace_back("ROCm SMI does not tell how many GPUs there are");
      return;
    }
    const auto pids = names_in(kfd_, processes_max);
    for (std::uint32_t i = 0; i < std::min(count, gpus_max); ++i) {
      std::uint64_t id = 0;
      if (rsmi_.unique_id(i, &id) == success && id != 0)
        into.gpus.push_back(read_one(i, id, pids));
      else
        into.notes.push_back(fmt::format("ROCm SMI knows no unique id of its GPU {}", i));
    }
  }

 private:
  Gpu read_one(std::uint32_t index, std::uint64_t id, const std::vector<std::string>& pids) {
    // As the runtime prints it and ROCR_VISIBLE_DEVICES takes it.
    Gpu gpu{.uuid = fmt::format("GPU-{:016x}", id), .vendor = "amd"};
    std::array<char, name_size> name{};
    if (rsmi_.name(index, name.data(), name_size - 1) == success) gpu.name = name.data();
    std::uint64_t total = 0;
    std::uint64_t used = 0;
    if (rsmi_.memory_total(index, vram, &total) == success &&
        rsmi_.memory_used(index, vram, &used) == success) {
      gpu.memory_total = total;
      gpu.memory_free = total - std::min(total, used);
    }
    if (std::uint32_t busy = 0; rsmi_.busy(index, &busy) == success)
      gpu.utilisation = std::min(busy, 100u);
    gpu.processes_known = rsmi_.process != nullptr;
    if (gpu.processes_known) read_processes(index, pids, gpu);
    return gpu;
  }

  void read_processes(std::uint32_t index, const std::vector<std::string>& pids, Gpu& gpu) const {
    for (const auto& text : pids) {
      std::uint32_t pid = 0;
      const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), pid);
      if (failure != std::errc{} || end != text.data() + text.size()) continue;
      ProcessInfo info{};
      if (rsmi_.process(pid, index, &info) == success && info.vram_usage > 0)
        gpu.processes.push_back({.pid = pid, .memory = info.vram_usage});
    }
  }

  Functions rsmi_;
  std::string kfd_;
};

}  // namespace

std::unique_ptr<GpuSource> open_rocm(const std::vector<std::string>& libraries, const Roots& roots,
                                     std::vector<std::string>& notes) {
  const Library library(libraries);
  if (!library.loaded()) {
    notes.push_back("no AMD GPUs: " + library.problem());
    return nullptr;
  }
  Functions functions{};
  if (!find_functions(library, functions)) {
    notes.emplace_back("no AMD GPUs: the ROCm SMI library lacks functions; update ROCm");
    return nullptr;
  }
  if (const Code code = functions.init(0); code != success) {
    notes.push_back(fmt::format("no AMD GPUs: ROCm SMI does not start (error {})", code));
    return nullptr;
  }
  return std::make_unique<Rocm>(functions, roots.sys + "/class/kfd/kfd/proc");
}

}  // namespace sollol::agent

// Stands in for librocm_smi64.so: the same symbols, GPUs out of a file.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "fake_gpus.h"

namespace {

struct ProcessInfo {
  std::uint32_t pid, pasid;
  std::uint64_t vram, sdma;
  std::uint32_t occupancy;
};

constexpr int success = 0;
constexpr int invalid_argument = 1;
constexpr int not_found = 7;

std::vector<FakeGpu> all;

}  // namespace

extern "C" {

int rsmi_init(std::uint64_t) { return std::getenv("SOLLOL_FAKE_GPUS") == nullptr ? 8 : success; }
int rsmi_num_monitor_devices(std::uint32_t* count) {
  all = fake_gpus();
  *count = static_cast<std::uint32_t>(all.size());
  return success;
}
int rsmi_dev_unique_id_get(std::uint32_t index, std::uint64_t* id) {
  if (index >= all.size()) return invalid_argument;
  *id = std::stoull(all[index].id, nullptr, 16);
  return success;
}
int rsmi_dev_name_get(std::uint32_t index, char* name, std::size_t size) {
  std::strncpy(name, all[index].name.c_str(), size);
  return success;
}
int rsmi_dev_memory_total_get(std::uint32_t index, int, std::uint64_t* total) {
  *total = all[index].total;
  return success;
}
int rsmi_dev_memory_usage_get(std::uint32_t index, int, std::uint64_t* used) {
  *used = all[index].total - all[index].free;
  return success;
}
int rsmi_dev_busy_percent_get(std::uint32_t index, std::uint32_t* busy) {
  *busy = all[index].busy;
  return success;
}
int rsmi_compute_process_info_by_device_get(std::uint32_t pid, std::uint32_t index,
                                            ProcessInfo* info) {
  for (const auto& process : all[index].processes) {
    if (process.pid != pid) continue;
    *info = {pid, 0, std::stoull(process.memory), 0, 0};
    return success;
  }
  return not_found;
}
}

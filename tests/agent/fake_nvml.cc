// Stands in for libnvidia-ml.so.1: the same symbols, GPUs out of a file.
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "fake_gpus.h"

namespace {

struct Memory {
  unsigned long long total, free, used;
};
struct Utilisation {
  unsigned gpu, memory;
};
struct ProcessInfo {
  unsigned pid;
  unsigned long long memory;
  unsigned gpu_instance, compute_instance;
};
struct ProcessSample {
  unsigned pid;
  unsigned long long time_us;
  unsigned sm, memory, encoder, decoder;
};

constexpr int success = 0;
constexpr int invalid_argument = 2;
constexpr int not_supported = 3;

std::vector<FakeGpu> all;

const FakeGpu& of(void* device) { return all[reinterpret_cast<std::uintptr_t>(device) - 1]; }

int copy(const std::string& text, char* into, unsigned size) {
  if (text.size() + 1 > size) return 7;
  std::memcpy(into, text.c_str(), text.size() + 1);
  return success;
}

}  // namespace

extern "C" {

int nvmlInit_v2() { return std::getenv("SOLLOL_FAKE_GPUS") == nullptr ? 9 : success; }
int nvmlDeviceGetCount_v2(unsigned* count) {
  all = fake_gpus();
  *count = static_cast<unsigned>(all.size());
  return success;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) {
  if (index >= all.size()) return invalid_argument;
  *device = reinterpret_cast<void*>(static_cast<std::uintptr_t>(index) + 1);
  return success;
}
int nvmlDeviceGetUUID(void* device, char* into, unsigned size) {
  return copy(of(device).id, into, size);
}
int nvmlDeviceGetName(void* device, char* into, unsigned size) {
  return copy(of(device).name, into, size);
}
int nvmlDeviceGetMemoryInfo(void* device, Memory* memory) {
  const auto& gpu = of(device);
  *memory = {gpu.total, gpu.free, gpu.total - gpu.free};
  return success;
}
int nvmlDeviceGetUtilizationRates(void* device, Utilisation* busy) {
  *busy = {of(device).busy, 0};
  return success;
}
int nvmlDeviceGetComputeRunningProcesses_v3(void* device, unsigned* count, ProcessInfo* infos) {
  unsigned used = 0;
  for (const auto& process : of(device).processes) {
    if (used == *count) return 7;
    const auto memory = process.memory == "-" ? ~0ULL : std::stoull(process.memory);
    infos[used++] = {process.pid, memory, 0, 0};
  }
  *count = used;
  return success;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void*, unsigned* count, ProcessInfo*) {
  *count = 0;
  return success;
}
int nvmlDeviceGetProcessUtilization(void* device, ProcessSample* samples, unsigned* count,
                                    unsigned long long) {
  unsigned used = 0;
  for (const auto& process : of(device).processes) {
    if (process.busy == "-") return not_supported;
    samples[used++] = {process.pid, 1000, static_cast<unsigned>(std::stoul(process.busy)), 0, 0, 0};
  }
  *count = used;
  return success;
}
}

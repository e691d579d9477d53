#pragma once

#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

/// What the stand-ins for the drivers' libraries tell, a line each in the file that
/// SOLLOL_FAKE_GPUS names:
///   gpu ID NAME TOTAL FREE BUSY
///   process PID MEMORY BUSY      of the GPU above; a '-' for MEMORY or BUSY: the driver does not
///   say
struct FakeProcess {
  unsigned pid = 0;
  std::string memory, busy;
};
struct FakeGpu {
  std::string id, name;
  unsigned long long total = 0, free = 0;
  unsigned busy = 0;
  std::vector<FakeProcess> processes;
};

inline std::vector<FakeGpu> fake_gpus() {
  std::vector<FakeGpu> gpus;
  const char* path = std::getenv("SOLLOL_FAKE_GPUS");
  std::ifstream file(path == nullptr ? "" : path);
  for (std::string line; std::getline(file, line);) {
    std::istringstream in(line);
    std::string kind;
    in >> kind;
    if (kind == "gpu") {
      FakeGpu gpu;
      in >> gpu.id >> gpu.name >> gpu.total >> gpu.free >> gpu.busy;
      gpus.push_back(gpu);
    } else if (kind == "process" && !gpus.empty()) {
      FakeProcess process;
      in >> process.pid >> process.memory >> process.busy;
      gpus.back().processes.push_back(process);
    }
  }
  return gpus;
}

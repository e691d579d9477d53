#pragma once

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agent/report.h"

namespace sollol::agent {

/// Which GPUs a process with this environment may use, by UUID; nothing when that cannot be told.
///
/// CUDA_VISIBLE_DEVICES is for NVIDIA's; ROCR_VISIBLE_DEVICES, and within what it leaves
/// HIP_VISIBLE_DEVICES and GPU_DEVICE_ORDINAL, for AMD's. An unset variable shows all, an empty one
/// none; a list ends at its first invalid entry. A UUID may be shortened. Numbers count CUDA's
/// devices from the fastest on: they tell which GPU only with CUDA_DEVICE_ORDER=PCI_BUS_ID, or
/// where all GPUs are of one kind. Parts of GPUs (MIG) are not told apart. Source: NVIDIA's "CUDA
/// C++ Programming Guide", environment variables; AMD's "GPU isolation techniques".
std::optional<std::vector<std::string>> visible_gpus(
    const std::map<std::string, std::string, std::less<>>& environment, std::span<const Gpu> gpus);

}  // namespace sollol::agent

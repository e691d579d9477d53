#pragma once

#include <cstdint>
#include <string_view>

#include "gateway/view.h"

namespace sollol::gateway {

/// Whether a GPU does a node's work, as `/api/ps` tells by `size_vram`.
enum class GpuWork : std::uint8_t {
  unknown,  // nothing is loaded: a node says nothing about a GPU that it does not use
  none,     // all that is loaded lies in main memory
  partly,
  all,
};

std::string_view name(GpuWork work) noexcept;

/// What a node can do, as far as it tells without an agent.
struct Capabilities {
  std::uint64_t disk_bytes = 0;    // of all its models
  std::uint64_t loaded_bytes = 0;  // of what is in memory, a GPU's included
  std::uint64_t vram_bytes = 0;    // of that, in a GPU's memory
  GpuWork gpu = GpuWork::unknown;
};

/// Pure. Stubs for models of Ollama's cloud take no room and tell nothing.
Capabilities capabilities_of(const NodeListing& listing) noexcept;

}  // namespace sollol::gateway

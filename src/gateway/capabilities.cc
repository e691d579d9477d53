#include "gateway/capabilities.h"

namespace sollol::gateway {

std::string_view name(GpuWork work) noexcept {
  switch (work) {
    case GpuWork::unknown:
      return "unknown";
    case GpuWork::none:
      return "no";
    case GpuWork::partly:
      return "partly";
    case GpuWork::all:
      return "yes";
  }
  return "unknown";
}

Capabilities capabilities_of(const NodeListing& listing) noexcept {
  Capabilities found;
  for (const api::ModelEntry& model : listing.models) {
    if (!model.remote) found.disk_bytes += model.size_bytes;
  }
  for (const api::LoadedModel& model : listing.loaded) {
    found.loaded_bytes += model.size_bytes;
    found.vram_bytes += model.vram_bytes;
  }
  if (found.loaded_bytes > 0) {
    found.gpu = found.vram_bytes == 0                   ? GpuWork::none
                : found.vram_bytes < found.loaded_bytes ? GpuWork::partly
                                                        : GpuWork::all;
  }
  return found;
}

}  // namespace sollol::gateway

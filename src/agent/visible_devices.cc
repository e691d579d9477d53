#include "agent/visible_devices.h"

#include <algorithm>
#include <charconv>

namespace sollol::agent {
namespace {

using Uuids = std::vector<std::string>;
using Variables = std::map<std::string, std::string, std::less<>>;

std::string_view trimmed(std::string_view text) {
  while (text.starts_with(' ')) text.remove_prefix(1);
  while (text.ends_with(' ')) text.remove_suffix(1);
  return text;
}

/// What one list leaves of `all`; nothing when it cannot be told.
std::optional<Uuids> chosen(std::string_view list, const Uuids& all, bool numbers_tell) {
  Uuids left;
  while (true) {
    const auto comma = std::min(list.find(','), list.size());
    const auto entry = trimmed(list.substr(0, comma));
    if (entry.starts_with("MIG-")) return std::nullopt;
    std::string found;
    if (entry.starts_with("GPU-")) {
      const auto known = std::ranges::find_if(
          all, [entry](const std::string& uuid) { return uuid.starts_with(entry); });
      if (known == all.end() && !all.empty()) return left;
      // Without the driver's library the word of the list itself is all there is.
      found = known == all.end() ? std::string(entry) : *known;
    } else {
      std::size_t number = 0;
      const auto [end, failure] =
          std::from_chars(entry.data(), entry.data() + entry.size(), number);
      if (failure != std::errc{} || end != entry.data() + entry.size()) return left;
      if (all.empty() || !numbers_tell) return std::nullopt;
      if (number >= all.size()) return left;
      found = all[number];
    }
    left.push_back(std::move(found));
    if (comma == list.size()) return left;
    list.remove_prefix(comma + 1);
  }
}

bool all_alike(std::span<const Gpu> gpus, std::string_view vendor) {
  std::string_view name;
  for (const auto& gpu : gpus) {
    if (gpu.vendor != vendor) continue;
    if (!name.empty() && gpu.name != name) return false;
    name = gpu.name;
  }
  return true;
}

Uuids uuids_of(std::span<const Gpu> gpus, std::string_view vendor) {
  Uuids uuids;
  for (const auto& gpu : gpus)
    if (gpu.vendor == vendor) uuids.push_back(gpu.uuid);
  return uuids;
}

std::optional<Uuids> narrowed(std::optional<Uuids> shown, const Variables& environment,
                              std::string_view variable, bool numbers_tell) {
  const auto list = environment.find(variable);
  if (!shown || list == environment.end()) return shown;
  return chosen(list->second, *shown, numbers_tell);
}

}  // namespace

std::optional<Uuids> visible_gpus(const Variables& environment, std::span<const Gpu> gpus) {
  const auto order = environment.find("CUDA_DEVICE_ORDER");
  const bool by_bus = order != environment.end() && order->second == "PCI_BUS_ID";
  auto nvidia = narrowed(uuids_of(gpus, "nvidia"), environment, "CUDA_VISIBLE_DEVICES",
                         by_bus || all_alike(gpus, "nvidia"));
  auto amd = uuids_of(gpus, "amd");
  std::optional<Uuids> shown = amd;
  for (const auto* variable :
       {"ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL"}) {
    // AMD's runtime honours CUDA's variable too, but Ollama tells the two apart by its own.
    if (shown && shown->empty() && !amd.empty()) break;
    shown = narrowed(std::move(shown), environment, variable, true);
  }
  if (!nvidia || !shown) return std::nullopt;
  nvidia->insert(nvidia->end(), shown->begin(), shown->end());
  return nvidia;
}

}  // namespace sollol::agent

#include "sim/pull.h"

#include <algorithm>

#include "sim/manifest.h"
#include "sim/model_name.h"

namespace sollol::sim {
namespace {

constexpr std::uint64_t made_up_bytes = 20'000'000;

}  // namespace

void Catalogue::add(const ModelSpec& model) {
  if (const auto name = ModelName::parse(model.name)) models_.emplace(name->key(), complete(model));
}

std::optional<ModelSpec> Catalogue::find(std::string_view name) const {
  const auto parsed = ModelName::parse(name);
  if (!parsed) return std::nullopt;
  if (const auto found = models_.find(parsed->key()); found != models_.end()) return found->second;
  for (const char* absent : {"no-such", "missing", "unknown"}) {
    if (parsed->model.starts_with(absent)) return std::nullopt;
  }
  ModelSpec model;
  model.name = parsed->display();
  model.size_bytes = made_up_bytes;
  return complete(std::move(model));
}

void Downloads::join(TimePoint now, const std::string& blob, std::uint64_t total,
                     double bytes_per_s) {
  auto& download = downloads_[blob];
  download.before = progress(now, blob).completed;
  download.since = now;
  download.total = total;
  download.bytes_per_s = bytes_per_s;
  ++download.pullers;
}

Downloads::State Downloads::progress(TimePoint now, const std::string& blob) const {
  const auto found = downloads_.find(blob);
  if (found == downloads_.end()) return {};
  const auto& download = found->second;
  const auto came =
      download.pullers == 0 ? 0.0 : to_seconds(now - download.since) * download.bytes_per_s;
  return {std::min(download.total, download.before + static_cast<std::uint64_t>(came)),
          download.total};
}

void Downloads::leave(TimePoint now, const std::string& blob) {
  const auto state = progress(now, blob);
  auto& download = downloads_[blob];
  download.before = state.completed;
  download.since = now;
  if (--download.pullers == 0 && state.completed == state.total) downloads_.erase(blob);
}

}  // namespace sollol::sim

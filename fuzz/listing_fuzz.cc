// What a node lists (/api/tags, /api/ps, /api/version), and what is made of it for clients.
#include "api/listing.h"

#include <array>
#include <string>

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const std::string_view json = fuzz::text(data, size);
  if (const auto tags = api::parse_tags(json)) {
    const std::array<std::span<const api::ModelEntry>, 2> nodes{*tags, *tags};
    const std::string merged = api::merge_tags(nodes);
    const auto again = api::parse_tags(merged);
    fuzz::require(again.has_value() && again->size() <= tags->size());
    fuzz::require(tags->empty() == again->empty());
    for (const auto& entry : *again) fuzz::require(!entry.name.empty());
    (void)api::merge_openai_models(nodes);
  }
  if (const auto loaded = api::parse_ps(json)) {
    const std::array<std::span<const api::LoadedModel>, 2> nodes{*loaded, *loaded};
    const auto again = api::parse_ps(api::merge_ps(nodes));
    fuzz::require(again.has_value() && again->size() <= loaded->size());
  }
  if (const auto version = api::parse_version(json)) fuzz::require(!version->empty());
  return 0;
}

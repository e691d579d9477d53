#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::api {

/// More models than any node has; a longer list is refused unless the caller says otherwise.
inline constexpr std::size_t models_max_default = 10000;

/// A model that a node has on disk: one entry of `/api/tags`.
struct ModelEntry {
  std::string name;  // as the node wrote it
  std::string key;   // ModelKey's text; the lower-cased name when it is no valid name
  std::string digest;
  std::uint64_t size_bytes = 0;
  std::string modified_at;
  bool remote = false;          // a stub: the node asks Ollama's cloud
  bool embedding_only = false;  // embeds and cannot complete
  std::vector<std::string> capabilities;
  std::string parameter_size, quantization;
  std::uint32_t context_length = 0;  // of training; 0: not told
  std::string raw;                   // the entry's JSON as the node wrote it
};

/// How many weights a `parameter_size` such as "3.2B" or "137M" tells of; 0 where it tells nothing.
double parameter_count(std::string_view parameter_size);

/// A model that a node has in memory: one entry of `/api/ps`.
struct LoadedModel {
  std::string name, key, digest;
  std::uint64_t size_bytes = 0, vram_bytes = 0;
  std::uint32_t context_length = 0;  // in effect, per request; 0: not told
  std::string expires_at;            // stale while the model is busy
  std::string raw;
};

/// Reads `/api/tags`. Entries without a name are skipped; whatever else is missing or of a wrong
/// type reads as empty. Error: bad_reply when it is not JSON, has no `models`, or lists more than
/// `models_max`.
Result<std::vector<ModelEntry>> parse_tags(std::string_view json,
                                           std::size_t models_max = models_max_default);

/// Reads `/api/ps`; as lenient, same errors.
Result<std::vector<LoadedModel>> parse_ps(std::string_view json,
                                          std::size_t models_max = models_max_default);

/// Reads `/api/version`. Error: bad_reply.
Result<std::string> parse_version(std::string_view json);

/// The `/api/tags` body for all nodes: one entry per key, as a node wrote it, most recently
/// modified first. Where nodes hold different digests, the copy that most nodes hold, then the
/// newest.
std::string merge_tags(std::span<const std::span<const ModelEntry>> per_node);

/// The `/api/ps` body for all nodes: one entry per key, the one that stays longest; longest
/// remaining first.
std::string merge_ps(std::span<const std::span<const LoadedModel>> per_node);

/// The `/v1/models` body for all nodes; same choice and order as `merge_tags`.
std::string merge_openai_models(std::span<const std::span<const ModelEntry>> per_node);

/// One entry of it, which is also the answer of `/v1/models/:model`.
std::string openai_model(const ModelEntry& entry);

}  // namespace sollol::api

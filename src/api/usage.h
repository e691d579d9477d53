#pragma once

#include <cstdint>
#include <string_view>

#include "api/routes.h"
#include "base/time.h"

namespace sollol::api {

/// What an answer reports about its cost; 0: not reported.
struct Usage {
  std::uint64_t prompt_tokens = 0;  // including those reused from the node's cache
  std::uint64_t output_tokens = 0;
  Duration total{};        // request in to answer out, on the node
  Duration load{};         // waiting in the node's load queue, and loading
  Duration prompt_eval{};  // only the part that was not cached
  Duration eval{};
  bool from_node_durations = false;  // the durations are the node's own (native routes)

  /// Waiting for a parallel slot on the node, plus templating (§4); 0 when durations are missing.
  Duration slot_wait() const noexcept;
};

/// The usage that a JSON answer, or the tail of one, reports. Looks for the last of each key in the
/// text, so the head of a large answer may be missing. Allocates nothing.
Usage usage_of_json(std::string_view body_tail, Operation operation) noexcept;

}  // namespace sollol::api

#pragma once

#include <span>
#include <string_view>

#include "sim/call.h"

namespace sollol::sim {

/// One route of an Ollama server. A path that ends in "/:" takes one more segment, the call's
/// parameter.
struct Route {
  std::string_view method;
  std::string_view path;
  Handled (*handle)(Call call);
  ErrorForm form = ErrorForm::native;
  enum class Kind : std::uint8_t {
    other,
    inference,
    upload
  } kind = Kind::other;  // upload: reads its own body
};

std::span<const Route> native_routes();      // /api/..., text and embeddings; fixed answers
std::span<const Route> management_routes();  // models and blobs
std::span<const Route> openai_routes();
std::span<const Route> responses_routes();
std::span<const Route> anthropic_routes();

}  // namespace sollol::sim

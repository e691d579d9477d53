#pragma once

#include <span>
#include <string>
#include <string_view>

namespace sollol::api {

/// The request headers that a preflight allows, as one field value.
extern const std::string_view cors_allowed_headers;

/// The methods that a preflight allows.
inline constexpr std::string_view cors_allowed_methods =
    "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS";

/// Whether Ollama would serve a page of this origin: pages of this machine, desktop and editor
/// schemes, and what `extra` (the entries of OLLAMA_ORIGINS) adds. An entry is compared in any
/// case; `*` in it stands for any text, alone for all. Source: reference/ollama-api.md §1.
bool origin_allowed(std::string_view origin, std::span<const std::string> extra);

/// Whether the origin is the very server that was asked (its `Host`), which is no cross-origin
/// request at all.
bool is_same_origin(std::string_view origin, std::string_view host);

}  // namespace sollol::api

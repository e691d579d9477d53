#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::api {

/// A native request's body with `options.num_ctx` set to this, wherever it says otherwise or
/// nothing; every other byte stays. As Ollama reads it: `options` in any case, null as good as
/// absent, equal keys merged with the last one's values. nullopt where `options` is something else
/// or the body no object: a node words the answer to that. Followed by `json_padding` readable
/// bytes.
/// Source: reference/ollama-api.md §4.1.
std::optional<std::string> with_num_ctx(std::string_view body, std::uint32_t num_ctx);

}  // namespace sollol::api

#pragma once

#include <string_view>

namespace sollol::api {

/// Whether `pattern`, in which each `*` stands for any text, is the whole of `text`, in any ASCII
/// case. Linear in pattern × text.
bool glob_matches(std::string_view pattern, std::string_view text);

}  // namespace sollol::api

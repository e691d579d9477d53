#pragma once

#include <string>
#include <string_view>

namespace sollol::sim {

/// Why `text`, which does not begin with one JSON value, is refused, in the words of Go's
/// encoding/json.
std::string go_syntax_error(std::string_view text);

}  // namespace sollol::sim

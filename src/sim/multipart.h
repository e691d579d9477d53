#pragma once

#include <map>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sollol::sim {

/// The parts of a multipart/form-data body by name; a file's content under the name of its field.
Result<std::map<std::string, std::string, std::less<>>> parse_multipart(
    std::string_view content_type, std::string_view body);

}  // namespace sollol::sim

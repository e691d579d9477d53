#include "discovery/source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace sollol::discovery {

Result<Sources> Sources::parse(const std::vector<std::string>& names) {
  Sources sources = none();
  for (const std::string& name : names) {
    const auto found = std::ranges::find(source_names, name);
    if (found == source_names.end()) {
      return std::unexpected(bad_input(fmt::format("'{}' is no source of nodes; there are {}", name,
                                                   fmt::join(source_names, ", "))));
    }
    sources.add(static_cast<Source>(found - source_names.begin()));
  }
  return sources;
}

}  // namespace sollol::discovery

// An Origin and a Host, one a line, and an entry of cors.origins on a third.
#include "api/cors.h"

#include <vector>

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const std::string_view bytes = fuzz::text(data, size);
  const std::size_t first = bytes.find('\n');
  if (first == std::string_view::npos) return 0;
  const std::string_view origin = bytes.substr(0, first);
  const std::string_view rest = bytes.substr(first + 1);
  const std::size_t second = rest.find('\n');
  const std::string_view host = rest.substr(0, second);
  std::vector<std::string> extra;
  if (second != std::string_view::npos) extra.emplace_back(rest.substr(second + 1));
  const bool plain = api::origin_allowed(origin, {});
  const bool more = api::origin_allowed(origin, extra);
  fuzz::require(!plain || more);  // an entry only ever adds
  if (api::is_same_origin(origin, host)) fuzz::require(origin.ends_with(host) || !host.empty());
  if (plain) fuzz::require(origin.contains("://"));
  return 0;
}

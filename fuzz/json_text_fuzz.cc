// Texts written as JSON read back as they were, and the walk over fields ends on any bytes.
#include "api/json_text.h"

#include <boost/json/parse.hpp>

#include "api/json_scan.h"
#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const std::string_view text = fuzz::text(data, size);
  for (const auto escape : {api::JsonEscape::lines, api::JsonEscape::html}) {
    const std::string written = api::json_string(text, escape);
    fuzz::require(!written.contains('\n') && !written.contains('\r'));
    boost::json::error_code error;
    const auto value = boost::json::parse(written, error);
    fuzz::require(!error && value.is_string());
    const auto ours = api::json_string_value(written);
    fuzz::require(ours && *ours == std::string_view(value.get_string()));
    fuzz::require(api::json_string_value(api::json_string(*ours, escape)) == *ours);
  }
  std::size_t bytes = 0;
  for (api::JsonScan scan(text); scan.next();) bytes += scan.key().size() + scan.value().size();
  fuzz::require(bytes <= text.size());
  (void)api::json_decoded(text);
  (void)api::json_unsigned(text);
  return 0;
}

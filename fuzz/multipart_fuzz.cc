// A multipart form: the content type up to the first line end, then the body.
#include "api/intent.h"
#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const std::string_view bytes = fuzz::text(data, size);
  const std::size_t line = bytes.find('\n');
  if (line == std::string_view::npos) return 0;
  const auto model = api::multipart_model(bytes.substr(0, line), bytes.substr(line + 1));
  if (model) fuzz::require(bytes.contains(*model));
  return 0;
}

// A sollol.toml: any text is settings or an explained error.
#include "cli/config.h"
#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  cli::Settings settings;
  const auto applied = cli::apply_toml(settings, fuzz::text(data, size), "sollol.toml");
  if (!applied) fuzz::require(!applied.error().detail.empty());
  return 0;
}

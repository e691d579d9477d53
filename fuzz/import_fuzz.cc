// The YAML of another gateway: settings and nodes, or an explained error; both print.
#include "discovery/import.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const auto imported = discovery::import_settings(fuzz::text(data, size), "config.yaml");
  if (!imported) {
    fuzz::require(!imported.error().detail.empty());
    return 0;
  }
  fuzz::require(!discovery::to_toml(*imported, "config.yaml").empty());
  return 0;
}

// A keys file: what is read can be written, and reads back as it was.
#include "gateway/keys.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const auto keys = gateway::parse_keys(fuzz::text(data, size), "keys.toml");
  if (!keys) {
    fuzz::require(!keys.error().detail.empty());
    return 0;
  }
  const std::string text = gateway::keys_text(*keys);
  const auto again = gateway::parse_keys(text, "keys.toml");
  fuzz::require(again.has_value() && gateway::keys_text(*again) == text);
  return 0;
}

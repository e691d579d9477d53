// A model name: its key is a fixed point, and its shown form has the same key.
#include "api/model_name.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  const std::string_view written = fuzz::text(data, size);
  const auto key = api::ModelKey::from(written);
  const std::string shown = api::canonical_name(written);
  if (!key) {
    fuzz::require(shown == written);
    return 0;
  }
  fuzz::require(key->view().size() <= api::ModelKey::length_max);
  const auto again = api::ModelKey::from(shown);
  fuzz::require(again && *again == *key);
  fuzz::require(!api::model_namespace(written).empty());
  return 0;
}

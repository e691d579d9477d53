// The usage that an answer's tail reports: any bytes, any operation; sums never leave their range.
#include "api/usage.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  if (size < 1) return 0;
  constexpr auto operations = static_cast<unsigned>(api::Operation::none) + 1;
  const auto operation = static_cast<api::Operation>(data[0] % operations);
  const api::Usage usage = api::usage_of_json(fuzz::text(data + 1, size - 1), operation);
  fuzz::require(usage.total >= Duration::zero() && usage.load >= Duration::zero());
  fuzz::require(usage.slot_wait() >= Duration::zero() && usage.slot_wait() <= usage.total);
  return 0;
}

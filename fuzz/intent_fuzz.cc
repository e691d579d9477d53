// A request body of each operation; followed by padding of any value, as the gateway's buffers are.
#include "api/intent.h"

#include <cstring>
#include <memory>

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  static api::IntentScanner scanner;
  if (size < 2) return 0;
  constexpr auto operations = static_cast<unsigned>(api::Operation::none);
  const auto operation = static_cast<api::Operation>(data[0] % operations);
  const std::size_t length = size - 2;
  const auto body = std::make_unique<char[]>(length + api::json_padding);
  std::memcpy(body.get(), data + 2, length);
  std::memset(body.get() + length, data[1], api::json_padding);
  const auto intent = scanner.scan({body.get(), length}, operation);
  if (intent) fuzz::require(intent->has_model == !intent->model.empty());
  return 0;
}

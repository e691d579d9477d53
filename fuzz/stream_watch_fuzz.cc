// A streamed answer in each form: the same verdict however it is cut.
#include "api/stream_watch.h"

#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  if (size < 2) return 0;
  const auto form = static_cast<api::StreamForm>(data[0] % 6);
  const std::string_view bytes = fuzz::text(data + 2, size - 2);
  api::StreamWatcher whole(form), cut(form);
  whole.feed(bytes);
  fuzz::in_pieces(bytes, data[1], [&](std::string_view piece) { cut.feed(piece); });
  whole.end();
  cut.end();
  fuzz::require(whole.finished() == cut.finished() && whole.failed() == cut.failed());
  fuzz::require(whole.records() == cut.records() && whole.error() == cut.error());
  fuzz::require(whole.usage().output_tokens == cut.usage().output_tokens);
  return 0;
}

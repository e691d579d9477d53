// A node's stream that broke off, the request continued, and another node's stream spliced to it:
// what is kept never depends on the cuts, and what is sent on are whole records.
#include "api/continuation.h"

#include <optional>

#include "pieces.h"

namespace {

using namespace sollol;

api::Operation operation_of(std::uint8_t byte) {
  constexpr api::Operation operations[] = {
      api::Operation::generate, api::Operation::chat,        api::Operation::chat_completions,
      api::Operation::messages, api::Operation::completions, api::Operation::responses};
  return operations[byte % 6];
}

api::Transcript said(api::Operation operation, std::string_view stream, std::uint8_t seed) {
  api::Transcript transcript(operation, 1024);
  api::StreamWatcher watcher(api::stream_form(operation, true));
  watcher.record_to(&transcript);
  if (seed == 0) {
    watcher.feed(stream);
  } else {
    fuzz::in_pieces(stream, seed, [&](std::string_view piece) { watcher.feed(piece); });
  }
  fuzz::require(watcher.whole_bytes() <= stream.size());
  return transcript;
}

}  // namespace

/// Operation, seed, then three parts divided by NUL: the request, the first stream, the second.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const auto operation = operation_of(data[0]);
  const std::string_view rest = fuzz::text(data + 2, size - 2);
  const auto first_end = rest.find('\0');
  const std::string_view body = rest.substr(0, first_end);
  const std::string_view streams =
      first_end == std::string_view::npos ? std::string_view{} : rest.substr(first_end + 1);
  const auto second_end = streams.find('\0');
  const std::string_view stream = streams.substr(0, second_end);
  const std::string_view more =
      second_end == std::string_view::npos ? std::string_view{} : streams.substr(second_end + 1);

  api::Transcript transcript = said(operation, stream, 0);
  const api::Transcript cut = said(operation, stream, static_cast<std::uint8_t>(data[1] | 1));
  fuzz::require(transcript.text() == cut.text() && transcript.tokens() == cut.tokens());
  fuzz::require(transcript.obstacle() == cut.obstacle());
  fuzz::require(transcript.text().size() <= 1024);

  const auto next = api::continuation_of(body, transcript);
  if (!next) return 0;
  const auto form = api::stream_form(operation, true);
  api::Transcript other = transcript;
  api::Splice splice(form, transcript, {.resumes = 1});
  api::Splice pieces(form, other, {.resumes = 1});
  std::string whole, joined;
  splice.feed(more, whole);
  splice.end(whole);
  fuzz::in_pieces(more, data[1], [&](std::string_view piece) { pieces.feed(piece, joined); });
  pieces.end(joined);
  fuzz::require(whole == joined);
  fuzz::require(whole.empty() || whole.back() == '\n');
  if (next->step == api::Continuation::Step::close) (void)splice.closing_records("t");
  return 0;
}

// A response head and the body behind it: the same however it is cut, and never past its end.
#include <memory>
#include <string>

#include "http/framing.h"
#include "http/head.h"
#include "pieces.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sollol;
  using http::HeadParse;
  if (size < 2) return 0;
  const std::string_view bytes = fuzz::text(data + 2, size - 2);
  const auto head = std::make_unique<http::ResponseHead>();
  const std::size_t cut = data[0] * bytes.size() / 256;
  const HeadParse part = http::parse_response_head(bytes.substr(0, cut), {}, *head);
  const HeadParse whole = http::parse_response_head(bytes, {}, *head);
  if (part.state != HeadParse::State::incomplete) {
    fuzz::require(part.state == whole.state && part.length == whole.length);
  }
  if (whole.state == HeadParse::State::bad) fuzz::require(whole.status == 502);
  if (whole.state != HeadParse::State::complete) return 0;
  fuzz::require(whole.length <= bytes.size() && head->status >= 100 && head->status <= 999);
  http::BodyWatcher body(http::response_framing(*head, data[1] % 2 == 0 ? "GET" : "HEAD"));
  fuzz::in_pieces(bytes.substr(whole.length), data[1], [&](std::string_view piece) {
    fuzz::require(body.feed(piece, [](std::string_view) {}) <= piece.size());
  });
  body.end_of_stream();
  fuzz::require(body.state() != http::BodyWatcher::State::reading);
  return 0;
}

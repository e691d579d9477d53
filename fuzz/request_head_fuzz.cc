// A request head and the body behind it: the same however it is cut, and never past its end.
#include <memory>
#include <string>

#include "http/framing.h"
#include "http/head.h"
#include "pieces.h"

namespace {

using namespace sollol;
using http::HeadParse;

void check_body(http::Framing framing, std::string_view bytes, std::uint8_t seed) {
  http::BodyWatcher whole(framing), cut(framing);
  std::string payload, payload_cut;
  const std::size_t used = whole.feed(bytes, [&](std::string_view run) { payload.append(run); });
  std::size_t used_cut = 0;
  fuzz::in_pieces(bytes, seed, [&](std::string_view piece) {
    used_cut += cut.feed(piece, [&](std::string_view run) { payload_cut.append(run); });
  });
  fuzz::require(used <= bytes.size() && used == used_cut && payload == payload_cut);
  fuzz::require(whole.state() == cut.state() && whole.unsettled() == cut.unsettled());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes = fuzz::text(data + 2, size - 2);
  const auto head = std::make_unique<http::RequestHead>();
  const HeadParse whole = http::parse_request_head(bytes, {}, *head);
  const std::size_t cut = bytes.empty() ? 0 : data[0] * bytes.size() / 256;
  const HeadParse part = http::parse_request_head(bytes.substr(0, cut), {}, *head);
  if (part.state == HeadParse::State::complete) {
    fuzz::require(whole.state == HeadParse::State::complete && part.length == whole.length);
  } else if (part.state == HeadParse::State::bad) {
    fuzz::require(whole.state == HeadParse::State::bad && part.status == whole.status);
  }
  if (http::parse_request_head(bytes, {}, *head).state != HeadParse::State::complete) return 0;
  fuzz::require(whole.length <= bytes.size() &&
                bytes.substr(0, whole.length).ends_with("\r\n\r\n"));
  fuzz::require(head->target == "*" || head->target.starts_with('/'));
  check_body(head->framing, bytes.substr(whole.length), data[1]);
  return 0;
}

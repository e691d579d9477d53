// A chunked body against a second, plain reading of RFC 9112 §7.1: the same payload, the same end,
// the same refusals, however it is cut.
#include <cctype>
#include <optional>
#include <string>

#include "http/framing.h"
#include "pieces.h"

namespace {

using namespace sollol;

struct Reading {
  enum class End { whole, unfinished, bad } end = End::unfinished;
  std::string payload;
  std::size_t used = 0;  // when whole
};

/// One line without its CRLF; nullopt when it has not ended yet. A bare CR or LF makes it bad.
std::optional<std::string_view> take_line(std::string_view bytes, std::size_t& at, bool& bad) {
  for (std::size_t i = at; i < bytes.size(); ++i) {
    if (bytes[i] == '\n' || bytes[i] == '\0') return bad = true, std::nullopt;
    if (bytes[i] != '\r') continue;
    if (i + 1 == bytes.size()) return std::nullopt;
    if (bytes[i + 1] != '\n') return bad = true, std::nullopt;
    const std::string_view line = bytes.substr(at, i - at);
    at = i + 2;
    return line;
  }
  return std::nullopt;
}

/// Whole bodies only: what is refused inside a line that has not ended is not judged here.
Reading read(std::string_view bytes) {
  Reading reading;
  std::size_t at = 0;
  bool bad = false;
  while (true) {
    const auto line = take_line(bytes, at, bad);
    if (!line) return reading.end = bad ? Reading::End::bad : Reading::End::unfinished, reading;
    std::size_t digits = 0;
    std::uint64_t size = 0;
    for (; digits < line->size() && std::isxdigit(static_cast<unsigned char>((*line)[digits]));
         ++digits) {
      const char c = static_cast<char>(std::tolower(static_cast<unsigned char>((*line)[digits])));
      size = size * 16 + static_cast<std::uint64_t>(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    const bool plain = digits == line->size() || (*line)[digits] == ';';
    if (digits == 0 || digits > 15 || !plain) return reading.end = Reading::End::bad, reading;
    if (size == 0) break;
    if (bytes.size() - at < size) return reading.payload.append(bytes.substr(at)), reading;
    reading.payload.append(bytes.substr(at, size));
    at += size;
    if (bytes.size() - at < 2) return reading;
    if (bytes.substr(at, 2) != "\r\n") return reading.end = Reading::End::bad, reading;
    at += 2;
  }
  while (true) {
    const auto line = take_line(bytes, at, bad);
    if (!line) return reading.end = bad ? Reading::End::bad : Reading::End::unfinished, reading;
    if (line->empty()) break;
    if (line->front() == ' ' || line->front() == '\t')
      return reading.end = Reading::End::bad, reading;
  }
  reading.end = Reading::End::whole;
  reading.used = at;
  return reading;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 1) return 0;
  const std::string_view bytes = fuzz::text(data + 1, size - 1);
  http::BodyWatcher watcher({http::Framing::Kind::chunked, 0});
  std::string payload;
  std::size_t used = 0;
  fuzz::in_pieces(bytes, data[0], [&](std::string_view piece) {
    used += watcher.feed(piece, [&](std::string_view run) { payload.append(run); });
  });
  const Reading reading = read(bytes);
  // What our watcher takes as whole, the plain reading takes as the same whole. It may refuse more
  // (malformed extensions and trailers), never less.
  if (watcher.done()) {
    fuzz::require(reading.end == Reading::End::whole);
    fuzz::require(payload == reading.payload && used == reading.used);
    fuzz::require(watcher.payload_bytes() == payload.size());
  }
  if (reading.end == Reading::End::bad) fuzz::require(!watcher.done());
  fuzz::require(reading.payload.starts_with(payload) || payload.starts_with(reading.payload));
  watcher.end_of_stream();
  fuzz::require(watcher.state() != http::BodyWatcher::State::reading);
  return 0;
}

#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <string_view>

#include "http/head.h"

namespace sollol::http {

/// Follows the framing of one message body over raw bytes, in place: it copies nothing and changes
/// nothing.
///
/// Feed it the bytes that follow the head, in pieces that may split anywhere. O(bytes) for chunk
/// lines, O(1) for payload. One thread at a time.
class BodyWatcher {
 public:
  enum class State : std::uint8_t { reading, done, bad };

  BodyWatcher() noexcept : BodyWatcher(Framing{}) {}
  explicit BodyWatcher(Framing framing) noexcept;

  /// Advances over `bytes` and gives each run of payload to `payload(std::string_view)`. Returns
  /// how many bytes belong to this body: fewer than given when it ends (or turns out bad) inside
  /// them.
  template <class Payload>
  std::size_t feed(std::string_view bytes, Payload&& payload) {
    std::size_t at = 0;
    while (at < bytes.size() && state_ == State::reading) {
      if (phase_ == Phase::data) {
        const std::uint64_t run = std::min<std::uint64_t>(left_, bytes.size() - at);
        payload(bytes.substr(at, run));
        at += run;
        consumed_data(run);
      } else {
        at += feed_line(bytes.substr(at));
      }
    }
    return at;
  }

  /// Call when the peer closed: ends an until_close body, makes any other unfinished one bad.
  void end_of_stream() noexcept;

  State state() const noexcept { return state_; }
  bool done() const noexcept { return state_ == State::done; }
  /// How many of the bytes fed so far belong to a chunk that is not complete, or, once done, to the
  /// last chunk. Whoever holds them back can still put a chunk of his own before them.
  std::uint64_t unsettled() const noexcept { return unsettled_; }
  const Framing& framing() const noexcept { return framing_; }
  std::uint64_t payload_bytes() const noexcept { return payload_bytes_; }

 private:
  enum class Phase : std::uint8_t {
    data,
    size,
    extension,
    size_lf,
    data_cr,
    data_lf,
    trailer,
    trailer_name,
    trailer_line,
    trailer_lf,
    last_lf
  };

  void consumed_data(std::uint64_t run) noexcept;
  std::size_t feed_line(std::string_view bytes) noexcept;
  void step(char c) noexcept;
  void fail() noexcept { state_ = State::bad; }

  Framing framing_;
  State state_ = State::reading;
  Phase phase_ = Phase::data;
  std::uint64_t left_ = 0;  // payload bytes of the current run
  std::uint64_t payload_bytes_ = 0;
  std::uint64_t unsettled_ = 0;
  unsigned digits_ = 0;         // hex digits of the chunk size so far
  std::uint32_t overhead_ = 0;  // bytes of extensions and trailers: bounded
};

/// Bytes of chunk extensions and trailers that one body may carry. Source: Go's net/http bounds
/// them alike.
inline constexpr std::uint32_t chunk_overhead_max = 16384;

/// Appends `size` as the opening line of a chunk (hex digits, CRLF).
void append_chunk_head(std::string& out, std::size_t size);

/// One payload as a whole chunk.
std::string chunk_of(std::string_view payload);

inline constexpr std::string_view last_chunk = "0\r\n\r\n";

}  // namespace sollol::http

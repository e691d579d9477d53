#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sollol::bench {

/// Reads HTTP/1.1 messages, requests or answers, as their bytes come: enough for measuring on
/// loopback, where both ends are ours or a proxy under test. Strict about what it counts on: a
/// message without a length is broken, not guessed.
///
/// Cost: one pass over the bytes; the head is copied once. One thread.
class HttpReader {
 public:
  /// Takes bytes up to the end of the message and appends its payload to `body`. Returns how many
  /// bytes it took: fewer than given only when the message ended (`complete()`) or made no sense
  /// (`broken()`).
  std::size_t feed(std::string_view bytes, std::string& body);

  bool complete() const noexcept { return state_ == State::complete; }
  bool broken() const noexcept { return state_ == State::broken; }
  bool head_seen() const noexcept { return state_ != State::head; }
  /// The first line without its line end; valid from `head_seen()` until `next()`.
  std::string_view start_line() const noexcept {
    return std::string_view(head_).substr(0, line_end_);
  }
  /// Makes ready for the next message of the same connection.
  void next();

 private:
  enum class State : unsigned char {
    head,
    sized,
    chunk_size,
    chunk_data,
    chunk_end,
    trailer,
    complete,
    broken
  };

  std::size_t feed_head(std::string_view bytes);
  std::size_t feed_line(std::string_view bytes);
  std::size_t feed_data(std::string_view bytes, std::string& body);
  void parse_head();
  void parse_line();

  State state_ = State::head;
  std::string head_;           // the whole head, blank line included
  std::size_t line_end_ = 0;   // of the start line
  std::string line_;           // the chunk-size or trailer line that is being read
  std::size_t remaining_ = 0;  // payload bytes still due in this body or chunk
};

}  // namespace sollol::bench

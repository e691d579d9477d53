#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sollol::sim {

/// How many tokens a text has for a simulated model: words, cut every 16
/// bytes. A word that a model writes is one token to it also as a part of a prompt.
std::uint32_t count_tokens(std::string_view text) noexcept;

/// Cuts a text into token-like pieces of a few characters, never inside one.
std::vector<std::string> split_tokens(std::string_view text);

/// The text that a model writes after `context`, one token a call.
///
/// Each token depends only on the model, the seed and every byte before it, so a text that is cut
/// anywhere and appended to the context goes on exactly as it would have:  text(context) == p +
/// text(context + p)  for every prefix p of it.
class TextStream {
 public:
  /// `answer_tokens` is about how many tokens come before the end.
  TextStream(std::string_view model, std::uint64_t seed, std::uint32_t answer_tokens,
             std::string_view context);

  /// nullopt: the model ends its answer here.
  std::optional<std::string> next();

 private:
  std::string_view word_at(std::uint64_t state) const noexcept;
  void take(std::string_view text) noexcept;

  std::uint64_t state_;  // hash of everything so far
  std::uint64_t
      word_start_;    // the same up to the last white space, which decides the word after it
  std::string tail_;  // what follows that white space, at most tail_max bytes
  std::uint32_t words_in_line_ = 0;
  std::uint64_t end_one_in_;  // one in so many sentences is the last
};

/// Cuts a stream of pieces at the first of some strings, holding back what may become one.
class StopFilter {
 public:
  explicit StopFilter(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  struct Result {
    std::string text;      // may be shown
    bool stopped = false;  // a stop string was met: nothing follows
  };
  Result push(std::string_view piece);
  /// What was held back, when no more comes.
  std::string flush() { return std::exchange(held_, {}); }

 private:
  std::vector<std::string> stops_;
  std::string held_;
};

}  // namespace sollol::sim

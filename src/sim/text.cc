#include "sim/text.h"

#include <algorithm>
#include <array>
#include <utility>

#include "sim/hash.h"

namespace sollol::sim {
namespace {

constexpr std::size_t tail_max =
    64;  // longer than any word, so that a longer tail is never a part of one
constexpr std::size_t piece_bytes = 6;
constexpr std::size_t word_bytes =
    16;  // counted as one token: no word that a model writes is longer
constexpr std::uint32_t line_words_min =
    8;  // an answer, and each of its lines, has at least so many words

constexpr std::array<std::string_view, 96> words = {"the",
                                                    "a",
                                                    "of",
                                                    "and",
                                                    "in",
                                                    "is",
                                                    "to",
                                                    "it",
                                                    "that",
                                                    "with",
                                                    "as",
                                                    "for",
                                                    "on",
                                                    "by",
                                                    "cheese",
                                                    "milk",
                                                    "river",
                                                    "light",
                                                    "morning",
                                                    "garden",
                                                    "stone",
                                                    "window",
                                                    "letter",
                                                    "number",
                                                    "music",
                                                    "silver",
                                                    "quiet",
                                                    "slow",
                                                    "warm",
                                                    "old",
                                                    "small",
                                                    "bright",
                                                    "clear",
                                                    "deep",
                                                    "open",
                                                    "early",
                                                    "late",
                                                    "often",
                                                    "never",
                                                    "always",
                                                    "makes",
                                                    "keeps",
                                                    "finds",
                                                    "turns",
                                                    "holds",
                                                    "brings",
                                                    "leaves",
                                                    "reads",
                                                    "writes",
                                                    "grows",
                                                    "moves",
                                                    "rests",
                                                    "because",
                                                    "while",
                                                    "after",
                                                    "before",
                                                    "between",
                                                    "under",
                                                    "without",
                                                    "perhaps",
                                                    "caf\u00e9",
                                                    "na\u00efve",
                                                    "\u00fcber",
                                                    "fa\u00e7ade",
                                                    "smørrebrød",
                                                    "\u6771\u4eac",
                                                    "\u0434\u043e\u043c",
                                                    "\U0001f642",
                                                    "\u201cso\u201d",
                                                    "it's",
                                                    "\"well\"",
                                                    "<b>bold</b>",
                                                    "salt&pepper",
                                                    "x<y",
                                                    "a>b",
                                                    "c:\\temp",
                                                    "50%",
                                                    "(yes)",
                                                    "e-mail",
                                                    "1,024",
                                                    "bread",
                                                    "butter",
                                                    "table",
                                                    "harbour",
                                                    "winter",
                                                    "summer",
                                                    "question",
                                                    "answer",
                                                    "model",
                                                    "token",
                                                    "people",
                                                    "city",
                                                    "road",
                                                    "water",
                                                    "fire",
                                                    "earth"};

bool is_space(char c) { return c == ' ' || c == '\n' || c == '\t' || c == '\r'; }

}  // namespace

std::uint32_t count_tokens(std::string_view text) noexcept {
  std::uint32_t count = 0;
  std::size_t in_word = 0;
  for (const char c : text) {
    in_word = is_space(c) ? 0 : in_word + 1;
    count += in_word % word_bytes == 1;
  }
  return count;
}

std::vector<std::string> split_tokens(std::string_view text) {
  std::vector<std::string> pieces;
  for (const char c : text) {
    const bool inside_character = (static_cast<unsigned char>(c) & 0xc0) == 0x80;
    if (pieces.empty() || (pieces.back().size() >= piece_bytes && !inside_character))
      pieces.emplace_back();
    pieces.back() += c;
  }
  return pieces;
}

TextStream::TextStream(std::string_view model, std::uint64_t seed, std::uint32_t answer_tokens,
                       std::string_view context)
    : state_(mix(hash_text(model) ^ mix(seed))),
      word_start_(state_),
      end_one_in_(std::max<std::uint64_t>(1, answer_tokens / 10)) {
  take(context);
}

void TextStream::take(std::string_view text) noexcept {
  for (const char c : text) {
    state_ = hash_text({&c, 1}, state_);
    if (!is_space(c)) {
      if (tail_.size() < tail_max) tail_ += c;
      continue;
    }
    words_in_line_ = c == '\n' ? 0 : words_in_line_ + !tail_.empty();
    tail_.clear();
    word_start_ = state_;
  }
}

std::string_view TextStream::word_at(std::uint64_t state) const noexcept {
  return words[mix(state) % words.size()];
}

std::optional<std::string> TextStream::next() {
  // Punctuation belongs to the word, so that a cut between the two is a cut inside a word.
  const auto whole_word = [this](std::uint64_t state) {
    const auto chance = mix(state ^ 0x50) % 10;
    return std::string(word_at(state)) + (chance == 0 ? "." : chance == 1 ? "," : "");
  };
  std::string piece;
  if (tail_.empty()) {
    piece = whole_word(state_);
  } else if (const auto expected = whole_word(word_start_);
             expected.size() > tail_.size() && expected.starts_with(tail_)) {
    piece = expected.substr(tail_.size());
  } else {
    const bool sentence_ends =
        tail_ == expected && tail_.ends_with('.') && words_in_line_ + 1 >= line_words_min;
    if (sentence_ends && mix(state_ ^ 0xe0) % end_one_in_ == 0) return std::nullopt;
    const char space = sentence_ends && mix(state_ ^ 0xa0) % 6 == 0 ? '\n' : ' ';
    piece = space + whole_word(hash_text({&space, 1}, state_));
  }
  take(piece);
  return piece;
}

StopFilter::Result StopFilter::push(std::string_view piece) {
  held_ += piece;
  auto cut = std::string::npos;
  for (const auto& stop : stops_) {
    if (!stop.empty()) cut = std::min(cut, held_.find(stop));
  }
  if (cut != std::string::npos) return {std::exchange(held_, {}).substr(0, cut), true};
  std::size_t hold = 0;  // the longest end that begins a stop string
  for (const auto& stop : stops_) {
    for (auto length = std::min(stop.size(), held_.size()); length > hold; --length) {
      if (std::string_view(held_).ends_with(std::string_view(stop).substr(0, length)))
        hold = length;
    }
  }
  auto text = held_.substr(0, held_.size() - hold);
  held_.erase(0, held_.size() - hold);
  return {std::move(text), false};
}

}  // namespace sollol::sim

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "routing/consider.h"

namespace sollol::routing {

/// What is predicted of a request. Prefill and decoding by the token: how many there are is of
/// `prompt` and `answer`. `wait` is for a better place than a free one, where that is the place it
/// got; `completion` is from dispatch to the last token; `given_length` is what it would have been,
/// had the length of the answer been known: what remains is ours to know.
enum class Predicted : std::uint8_t {
  prompt,
  answer,
  wait,
  load,
  prefill,
  decode,
  completion,
  given_length
};
inline constexpr std::array<std::string_view, 8> predicted_names{
    "prompt", "answer", "wait", "load", "prefill", "decode", "completion", "given_length"};

/// What came of a request; 0: not known.
struct Outcome {
  std::optional<AwaitedPlace> awaited = {};  // for which it was first told to wait
  double waited_s = 0;                       // since then
  double took_s = 0;                         // from dispatch to the last token
  bool told = false;                         // what follows is known: the node reported durations
  double prompt_tokens = 0;
  double cached_tokens = 0;  // of them, those that were expected in the node's cache
  double output_tokens = 0;
  double load_s = 0;
  double prefill_s = 0;
  double decode_s = 0;
};

/// A quantity as it was and as it was expected; 0: not known.
struct Prediction {
  double actual = 0;
  double predicted = 0;
  /// |log(actual / predicted)|; nullopt where one of them is not known.
  std::optional<double> error() const noexcept;
};
using Predictions = std::array<Prediction, predicted_names.size()>;

/// Holds what was expected of the chosen node against what came of it, by `Predicted`. Pure.
Predictions compare(const Considered& chosen, const RequestShape& shape, const Outcome& outcome);

}  // namespace sollol::routing

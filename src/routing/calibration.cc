#include "routing/calibration.h"

#include <cmath>
#include <utility>

namespace sollol::routing {

std::optional<double> Prediction::error() const noexcept {
  if (!(actual > 0) || !(predicted > 0)) return std::nullopt;
  return std::abs(std::log(actual / predicted));
}

Predictions compare(const Considered& chosen, const RequestShape& shape, const Outcome& outcome) {
  Predictions out;
  const auto of = [&](Predicted what) -> Prediction& { return out[std::to_underlying(what)]; };
  const double expected_s = chosen.own_s();
  if (outcome.awaited && outcome.awaited->node == chosen.node)
    of(Predicted::wait) = {outcome.waited_s, outcome.awaited->wait_s};
  of(Predicted::completion) = {outcome.took_s, expected_s};
  if (!outcome.told) return out;
  of(Predicted::prompt) = {outcome.prompt_tokens, shape.prompt_tokens};
  of(Predicted::answer) = {outcome.output_tokens, shape.expected_tokens};
  of(Predicted::load) = {outcome.load_s, chosen.load_s};
  const double evaluated = outcome.prompt_tokens - outcome.cached_tokens;
  const double evaluated_expected = shape.prompt_tokens - outcome.cached_tokens;
  if (evaluated > 0 && evaluated_expected > 0) {
    of(Predicted::prefill) = {outcome.prefill_s / evaluated, chosen.prefill_s / evaluated_expected};
  }
  if (outcome.output_tokens > 1 && shape.expected_tokens > 0) {
    const double token_s = chosen.decode_s / shape.expected_tokens;
    of(Predicted::decode) = {outcome.decode_s / outcome.output_tokens, token_s};
    of(Predicted::given_length) = {outcome.took_s,
                                   expected_s - chosen.decode_s + token_s * outcome.output_tokens};
  }
  return out;
}

}  // namespace sollol::routing

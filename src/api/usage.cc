#include "api/usage.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <span>

#include "api/json_scan.h"

namespace sollol::api {
namespace {

/// A key that is looked for, and where its number goes.
struct Wanted {
  std::string_view key;
  std::uint64_t& number;
  bool found = false;
};

std::size_t last_quote(std::string_view text, std::size_t before) noexcept {
  const void* at = memrchr(text.data(), '"', before);
  return at == nullptr ? std::string_view::npos
                       : static_cast<std::size_t>(static_cast<const char*>(at) - text.data());
}

/// What follows `"key"` and its colon; empty when no colon follows.
std::string_view value_after(std::string_view rest) noexcept {
  const auto colon = rest.find_first_not_of(" \t\r\n");
  if (colon == std::string_view::npos || rest[colon] != ':') return {};
  rest.remove_prefix(colon + 1);
  rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(" \t\r\n")));
  return rest;
}

/// Gives each wanted key the number after its last `"key":` in the text, in one pass from the end.
/// Inside a JSON string the quotes of a key are escaped, so generated text cannot be taken for one.
void last_numbers(std::string_view text, std::span<Wanted> wanted) noexcept {
  std::size_t missing = wanted.size();
  for (auto end = last_quote(text, text.size()); end != std::string_view::npos && missing > 0;) {
    const auto begin = last_quote(text, end);
    if (begin == std::string_view::npos) return;
    const auto key = text.substr(begin + 1, end - begin - 1);
    const auto value = value_after(text.substr(end + 1));
    end = begin;
    if (value.empty()) continue;
    for (Wanted& want : wanted) {
      if (want.found || want.key != key) continue;
      if (const auto number = json_unsigned(value)) {
        want.number = *number;
        want.found = true;
        --missing;
      }
    }
  }
}

Duration from_nanoseconds(std::uint64_t count) noexcept {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return std::chrono::duration_cast<Duration>(
      std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(count, most))));
}

Usage native_usage(std::string_view text) noexcept {
  Usage usage;
  std::uint64_t total = 0, load = 0, prompt_eval = 0, eval = 0;
  Wanted wanted[]{{"prompt_eval_count", usage.prompt_tokens},
                  {"eval_count", usage.output_tokens},
                  {"total_duration", total},
                  {"load_duration", load},
                  {"prompt_eval_duration", prompt_eval},
                  {"eval_duration", eval}};
  last_numbers(text, wanted);
  usage.total = from_nanoseconds(total);
  usage.load = from_nanoseconds(load);
  usage.prompt_eval = from_nanoseconds(prompt_eval);
  usage.eval = from_nanoseconds(eval);
  usage.from_node_durations = usage.total > Duration::zero();
  return usage;
}

Usage token_counts(std::string_view text, std::string_view prompt,
                   std::string_view output) noexcept {
  Usage usage;
  Wanted wanted[]{{prompt, usage.prompt_tokens}, {output, usage.output_tokens}};
  last_numbers(text, wanted);
  return usage;
}

}  // namespace

Duration Usage::slot_wait() const noexcept {
  if (!from_node_durations) return Duration::zero();
  auto rest = total;  // each step stays within [0, total]: a node's numbers may add up to anything
  for (const auto part : {load, prompt_eval, eval}) rest -= std::min(rest, part);
  return rest;
}

Usage usage_of_json(std::string_view body_tail, Operation operation) noexcept {
  switch (operation) {
    case Operation::generate:
    case Operation::chat:
    case Operation::embed:
      return native_usage(body_tail);
    case Operation::chat_completions:
    case Operation::completions:
    case Operation::openai_embeddings:
      return token_counts(body_tail, "prompt_tokens", "completion_tokens");
    case Operation::responses:
    case Operation::messages:
      return token_counts(body_tail, "input_tokens", "output_tokens");
    default:
      return {};
  }
}

}  // namespace sollol::api

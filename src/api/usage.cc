#include "api/usage.h"

#include <algorithm>
#include <limits>

#include "api/json_scan.h"

namespace sollol::api {
namespace {

/// The number after the last `"key":` of the text, 0 when there is none. Inside a JSON string the
/// quotes of a key are escaped, so generated text cannot be taken for one.
std::uint64_t last_number(std::string_view text, std::string_view quoted_key) noexcept {
  for (auto at = text.rfind(quoted_key); at != std::string_view::npos;
       at = text.rfind(quoted_key, at - 1)) {
    auto rest = text.substr(at + quoted_key.size());
    const auto colon = rest.find_first_not_of(" \t\r\n");
    if (colon != std::string_view::npos && rest[colon] == ':') {
      rest.remove_prefix(colon + 1);
      rest.remove_prefix(std::min(rest.size(), rest.find_first_not_of(" \t\r\n")));
      if (const auto number = json_unsigned(rest)) return *number;
    }
    if (at == 0) break;
  }
  return 0;
}

Duration from_nanoseconds(std::uint64_t count) noexcept {
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  return std::chrono::duration_cast<Duration>(
      std::chrono::nanoseconds(static_cast<std::int64_t>(std::min(count, most))));
}

Usage native_usage(std::string_view text) noexcept {
  Usage usage;
  usage.prompt_tokens = last_number(text, "\"prompt_eval_count\"");
  usage.output_tokens = last_number(text, "\"eval_count\"");
  usage.total = from_nanoseconds(last_number(text, "\"total_duration\""));
  usage.load = from_nanoseconds(last_number(text, "\"load_duration\""));
  usage.prompt_eval = from_nanoseconds(last_number(text, "\"prompt_eval_duration\""));
  usage.eval = from_nanoseconds(last_number(text, "\"eval_duration\""));
  usage.from_node_durations = usage.total > Duration::zero();
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
  Usage usage;
  switch (operation) {
    case Operation::generate:
    case Operation::chat:
    case Operation::embed:
      return native_usage(body_tail);
    case Operation::chat_completions:
    case Operation::completions:
    case Operation::openai_embeddings:
      usage.prompt_tokens = last_number(body_tail, "\"prompt_tokens\"");
      usage.output_tokens = last_number(body_tail, "\"completion_tokens\"");
      return usage;
    case Operation::responses:
    case Operation::messages:
      usage.prompt_tokens = last_number(body_tail, "\"input_tokens\"");
      usage.output_tokens = last_number(body_tail, "\"output_tokens\"");
      return usage;
    default:
      return usage;
  }
}

}  // namespace sollol::api

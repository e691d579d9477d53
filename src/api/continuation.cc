// The request that asks for the rest of an answer. The stream that comes back: splice.cc.
#include "api/continuation.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <optional>

#include "api/ascii.h"
#include "api/json_edit.h"
#include "api/json_scan.h"

namespace sollol::api {
namespace {

using Step = Continuation::Step;

/// The fields of a request that a continuation has to look at. Views into the body.
struct Fields {
  std::string_view prompt, messages, options, limit, raw, format, suffix, tools, stream_options;
  bool readable = true;

  std::string_view* named(std::string_view key, Operation operation);
};

std::string_view* Fields::named(std::string_view key, Operation operation) {
  const auto is = [key](std::string_view name) { return equals_any_case(key, name); };
  if (operation == Operation::generate) {
    if (is("prompt")) return &prompt;
    if (is("raw")) return &raw;
    if (is("suffix")) return &suffix;
  } else if (is("messages")) {
    return &messages;
  }
  if (is("tools")) return &tools;
  if (operation == Operation::generate || operation == Operation::chat)
    return is("options") ? &options : is("format") ? &format : nullptr;
  if (is("max_tokens")) return &limit;
  if (operation == Operation::chat_completions)
    return is("response_format") ? &format : is("stream_options") ? &stream_options : nullptr;
  return is("output_format") || is("output_config") ? &format : nullptr;
}

/// Reads the fields with Go's rules (any case). One that is given twice, or whose name is escaped,
/// is not for us to weigh.
Fields read_fields(std::string_view body, Operation operation) {
  Fields fields;
  for (JsonScan scan(body); scan.next();) {
    if (scan.key().contains('\\')) fields.readable = false;
    auto* field = fields.named(scan.key(), operation);
    if (field == nullptr) continue;
    if (!field->empty()) fields.readable = false;
    *field = scan.value();
  }
  return fields;
}

bool is_nothing(std::string_view value) noexcept {
  return value.empty() || value == "null" || value == R"("")" || value == "[]" || value == "{}";
}

/// Whether the answer is bound to a grammar.
bool is_bound(std::string_view format, Operation operation) {
  if (is_nothing(format)) return false;
  return operation != Operation::chat_completions || json_field(format, "type") != R"("text")";
}

/// Where the text so far goes: into `edits`. False when there is no such place.
bool add_text(TextEdits& edits, const Fields& fields, const Transcript& transcript) {
  const std::string text(transcript.text());
  if (transcript.operation() == Operation::generate) {
    if (fields.prompt.size() < 2 || fields.prompt.front() != '"') return false;
    edits.insert(&fields.prompt.back(), text);
    return true;
  }
  if (fields.messages.size() < 2 || fields.messages.front() != '[') return false;
  std::string_view last;
  for (JsonScan scan(fields.messages); scan.next();) last = scan.value();
  std::string_view role, content, calls;
  std::size_t contents = 0;
  for (JsonScan scan(last); scan.next();) {
    if (equals_any_case(scan.key(), "role")) role = scan.value();
    if (equals_any_case(scan.key(), "tool_calls")) calls = scan.value();
    if (!equals_any_case(scan.key(), "content")) continue;
    content = scan.value();
    ++contents;
  }
  if (role.size() < 2) return false;
  if (!equals_any_case(role.substr(1, role.size() - 2), "assistant")) {
    edits.insert(&fields.messages.back(), R"(,{"role":"assistant","content":")" + text + R"("})");
    return true;
  }
  // The client had begun the answer itself.
  const bool is_text = contents == 1 && content.size() >= 2 && content.front() == '"';
  if (!is_text || !is_nothing(calls)) return false;
  edits.insert(&content.back(), text);
  return true;
}

/// The number of a JSON value; nullopt when it is none.
std::optional<double> number_of(std::string_view value) {
  double number = 0;
  const auto [end, bad] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (bad != std::errc{} || end != value.data() + value.size()) return std::nullopt;
  return number;
}

enum class Room : std::uint8_t { left, none, unreadable };

/// Lowers the limit of the answer's length by what has been given.
Room lower_limit(TextEdits& edits, const Fields& fields, const Transcript& transcript) {
  std::string_view limit = fields.limit;
  if (!is_nothing(fields.options)) {
    for (JsonScan scan(fields.options); scan.next();) {
      if (scan.key().contains('\\')) return Room::unreadable;
      if (scan.key() != "num_predict") continue;
      if (!limit.empty()) return Room::unreadable;
      limit = scan.value();
    }
  }
  if (limit.empty() || limit == "null") return Room::left;
  const auto number = number_of(limit);
  if (!number) return Room::unreadable;
  if (*number < 0 || *number >= 1e15) return Room::left;  // endless
  const double rest = std::trunc(*number) - static_cast<double>(transcript.tokens());
  if (rest < 1) return Room::none;
  edits.replace(limit, std::to_string(static_cast<std::int64_t>(rest)));
  return Room::left;
}

/// Why the answer to this request cannot be continued, whatever has been said.
Obstacle obstacle_in(const Fields& fields, Operation operation) {
  if (!fields.readable) return Obstacle::unreadable;
  if (operation == Operation::generate && fields.raw != "true") return Obstacle::api;
  if (is_bound(fields.format, operation)) return Obstacle::format;
  if (!is_nothing(fields.suffix)) return Obstacle::suffix;
  // The node itself asks the model again, with what it found: the rest of that is not in the text.
  if (fields.tools.contains(R"("web_search)")) return Obstacle::tool_call;
  return Obstacle::none;
}

bool can_continue(Operation operation) {
  switch (operation) {
    case Operation::generate:
    case Operation::chat:
    case Operation::chat_completions:
    case Operation::messages:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::expected<Continuation, Obstacle> continuation_of(std::string_view body,
                                                      const Transcript& transcript) {
  const auto operation = transcript.operation();
  if (transcript.obstacle() != Obstacle::none) return std::unexpected(transcript.obstacle());
  if (transcript.tokens() == 0 && !transcript.closing())
    return Continuation{Step::resend, std::string(body)};
  if (!can_continue(operation)) return std::unexpected(Obstacle::api);
  const auto fields = read_fields(body, operation);
  // With totals that were to follow, the node that knew them is gone.
  const bool wants_usage = json_field(fields.stream_options, "include_usage") == "true";
  std::expected<Continuation, Obstacle> closing = Continuation{Step::close, {}};
  if (wants_usage) closing = std::unexpected(Obstacle::totals);
  if (transcript.closing()) return closing;
  if (const auto obstacle = obstacle_in(fields, operation); obstacle != Obstacle::none)
    return std::unexpected(obstacle);
  // The text is put into the request as the node escaped it, so it has to be a JSON string.
  if (!json_string_value('"' + std::string(transcript.text()) + '"'))
    return std::unexpected(Obstacle::unreadable);
  TextEdits edits(body);
  if (!add_text(edits, fields, transcript)) return std::unexpected(Obstacle::unreadable);
  switch (lower_limit(edits, fields, transcript)) {
    case Room::unreadable:
      return std::unexpected(Obstacle::unreadable);
    case Room::none:
      return closing;
    case Room::left:
      break;
  }
  return Continuation{Step::go_on, edits.apply()};
}

bool is_request_fault(std::string_view error) noexcept {
  constexpr std::string_view signs[] = {
      "context length",   "context size", "context window", "context limit",
      "does not support", "too long",     "\"code\":4",
  };
  return std::ranges::any_of(signs, [error](std::string_view s) { return error.contains(s); });
}

}  // namespace sollol::api

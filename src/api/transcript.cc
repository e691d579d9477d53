#include "api/transcript.h"

#include <array>
#include <cstring>
#include <utility>

#include "api/json_scan.h"

namespace sollol::api {
namespace {

struct Words {
  std::string_view name, text;
};

constexpr std::array<Words, obstacle_count> words = {{
    {"none", "nothing"},
    {"turned_off", "resuming is turned off"},
    {"api", "this API has no way to continue an answer"},
    {"tool_call", "a tool call had been sent"},
    {"thinking", "thinking had been sent"},
    {"format", "an answer with a format cannot be continued"},
    {"suffix", "an answer before a suffix cannot be continued"},
    {"too_long", "the request or the answer is larger than what is kept of it"},
    {"torn", "the client has part of a record"},
    {"totals", "only its totals were missing"},
    {"unreadable", "the request or the answer cannot be edited safely"},
    {"no_node", "no other node with the same model could go on"},
    {"retry_limits", "no further attempt is allowed"},
    {"client_fault", "the error is about the request"},
}};

bool is_nothing(std::string_view value) noexcept {
  return value.empty() || value == "null" || value == R"("")" || value == "[]";
}

/// Whether what stands between two quotes is one JSON string: every quote in it is escaped, and so
/// is every backslash that could escape the closing one.
bool is_string_inside(std::string_view text) noexcept {
  constexpr std::size_t token_max = 16;  // most tokens: faster looked through than searched
  if (text.size() <= token_max) {
    bool plain = true;
    for (const char c : text) plain &= c != '"' && c != '\\';
    if (plain) return true;
  }
  const auto escaped = [text](std::size_t at) {
    std::size_t backslashes = 0;
    while (backslashes < at && text[at - backslashes - 1] == '\\') ++backslashes;
    return backslashes % 2 == 1;
  };
  for (std::size_t from = 0; from < text.size();) {
    const void* quote = std::memchr(text.data() + from, '"', text.size() - from);
    if (quote == nullptr) break;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(quote) - text.data());
    if (!escaped(at)) return false;
    from = at + 1;
  }
  return !escaped(text.size());
}

}  // namespace

std::string_view obstacle_name(Obstacle obstacle) noexcept {
  return words[static_cast<std::size_t>(obstacle)].name;
}
std::string_view obstacle_text(Obstacle obstacle) noexcept {
  return words[static_cast<std::size_t>(obstacle)].text;
}

/// Takes the text of a record in the usual form: `key`, the text, `tail`. An unescaped quote before
/// a colon cannot stand inside a JSON string, so `key` is found in its place or not at all.
/// Literals of known length, so that a comparison is a few instructions.
template <std::size_t Key, std::size_t Tail>
bool Transcript::take_token(std::string_view data, const char (&key)[Key],
                            const char (&tail)[Tail]) {
  constexpr std::size_t key_size = Key - 1, tail_size = Tail - 1;
  if (data.size() < key_size + tail_size) return false;
  const char* const end = data.data() + data.size() - tail_size;
  if (std::memcmp(end, tail, tail_size) != 0) return false;
  std::size_t at = hint_;
  if (at + key_size > data.size() || std::memcmp(data.data() + at, key, key_size) != 0) {
    at = data.find(key, 0, key_size);
    if (at == std::string_view::npos) return false;
    hint_ = at;
  }
  const char* const begin = data.data() + at + key_size;
  if (end < begin) return false;
  const std::string_view value(begin, static_cast<std::size_t>(end - begin));
  if (!is_string_inside(value)) return false;
  append(value);
  return true;
}

void Transcript::record(std::string_view data) {
  if (obstacle_ != Obstacle::none) return;
  switch (operation_) {
    case Operation::generate:  // the first record is read whole, for the model's name
      if (!model_.empty() && take_token(data, R"("response":")", R"(","done":false})")) return;
      return native_record(data);
    case Operation::chat:
      if (!model_.empty() && take_token(data, R"("content":")", R"("},"done":false})")) return;
      return native_record(data);
    case Operation::chat_completions:
      if (!id_.empty() && take_token(data, R"("content":")", R"("},"finish_reason":null}]})"))
        return;
      return openai_record(data);
    case Operation::completions:
      return openai_record(data);
    case Operation::messages:
      if (take_token(data, R"("text_delta","text":")", R"("}})")) return;
      return anthropic_record(data);
    default:
      // Any record at all: there is no continuing it.
      return give_up(Obstacle::api);
  }
}

void Transcript::append(std::string_view escaped) {
  if (escaped.empty()) return;
  if (text_.size() + escaped.size() > text_max_) return give_up(Obstacle::too_long);
  text_.append(escaped);
  ++tokens_;
}

/// A JSON value that is a text, or null.
void Transcript::append_value(std::string_view json) {
  if (json.empty() || json == "null") return;
  if (json.size() < 2 || json.front() != '"') return give_up(Obstacle::unreadable);
  append(json.substr(1, json.size() - 2));
}

void Transcript::native_record(std::string_view data) {
  for (JsonScan scan(data); scan.next();) {
    const auto key = scan.key();
    const auto value = scan.value();
    if (key == "message") message_fields(value, "content");
    if (key == "response") append_value(value);
    if (key == "thinking" && !is_nothing(value)) give_up(Obstacle::thinking);
    if (key == "tool_calls" && !is_nothing(value)) give_up(Obstacle::tool_call);
    if (key == "model" && model_.empty()) model_ = value;
    if (key == "done" && value == "true") closing_ = true;
  }
}

void Transcript::message_fields(std::string_view message, std::string_view text_key) {
  for (JsonScan scan(message); scan.next();) {
    const auto key = scan.key();
    const auto value = scan.value();
    if (key == text_key) append_value(value);
    if ((key == "thinking" || key == "reasoning" || key == "reasoning_content") &&
        !is_nothing(value))
      give_up(Obstacle::thinking);
    if ((key == "tool_calls" || key == "function_call" || key == "refusal") && !is_nothing(value))
      give_up(Obstacle::tool_call);
  }
}

void Transcript::openai_record(std::string_view data) {
  for (JsonScan scan(data); scan.next();) {
    const auto key = scan.key();
    const auto value = scan.value();
    if (key == "id" && id_.empty()) id_ = value;
    if (key == "created" && created_.empty()) created_ = value;
    if (key == "model" && model_.empty()) model_ = value;
    if (key != "choices") continue;
    JsonScan choices(value);
    if (!choices.next()) continue;
    for (JsonScan choice(choices.value()); choice.next();) {
      if (choice.key() == "delta") message_fields(choice.value(), "content");
      if (choice.key() == "text") append_value(choice.value());
      if (choice.key() == "finish_reason" && !is_nothing(choice.value())) closing_ = true;
    }
    if (choices.next()) give_up(Obstacle::api);  // several answers at once
  }
}

void Transcript::anthropic_record(std::string_view data) {
  const auto type = json_field(data, "type");
  if (type == R"("message_start")") {
    message_open_ = true;
    model_ = json_field(json_field(data, "message"), "model");
  } else if (type == R"("content_block_start")") {
    const auto kind = json_field(json_field(data, "content_block"), "type");
    if (kind == R"("thinking")" || kind == R"("redacted_thinking")") {
      give_up(Obstacle::thinking);
    } else if (kind != R"("text")") {
      give_up(Obstacle::tool_call);
    }
    block_open_ = true;
    ++next_block_;
    append_value(json_field(json_field(data, "content_block"), "text"));
  } else if (type == R"("content_block_delta")") {
    const auto delta = json_field(data, "delta");
    if (json_field(delta, "type") != R"("text_delta")") return give_up(Obstacle::unreadable);
    append_value(json_field(delta, "text"));
  } else if (type == R"("content_block_stop")") {
    block_open_ = false;
  } else if (type == R"("message_delta")") {
    closing_ = true;
  }
}

void Transcript::give_up(Obstacle obstacle) noexcept {
  if (obstacle_ == Obstacle::none) obstacle_ = obstacle;
  std::string().swap(text_);
}

}  // namespace sollol::api

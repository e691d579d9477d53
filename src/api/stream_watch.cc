#include "api/stream_watch.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "api/errors.h"
#include "api/json_scan.h"
#include "api/json_text.h"

namespace sollol::api {
namespace {

/// How nodes end a record that only carries a token. Unescaped quotes followed by the braces that
/// close the record cannot come from generated text, nor from an object inside the record.
constexpr std::string_view native_token_end = R"("done":false})";
constexpr std::string_view openai_token_end = R"("finish_reason":null}]})";

constexpr std::string_view event_field = "event:";
constexpr std::string_view data_field = "data:";
constexpr std::string_view done_data = "[DONE]";

/// Memory that a stream keeps between records that span pieces.
constexpr std::size_t carry_kept = 4096;

bool is_empty_value(std::string_view value) {
  return value.empty() || value == "null" || value == R"("")" || value == "[]" || value == "{}" ||
         value == "false";
}

/// Whether an answer's record carries text, thinking or tool calls.
bool carries_output(std::string_view record) {
  const auto any_of = [](std::string_view object, std::initializer_list<std::string_view> keys) {
    for (const auto key : keys) {
      if (!is_empty_value(json_field(object, key))) return true;
    }
    return false;
  };
  return any_of(record, {"response", "thinking", "tool_calls"}) ||
         any_of(json_field(record, "message"), {"content", "thinking", "tool_calls"});
}

/// Whether the text of a record's end has `"done":true`; for records too large to read from their
/// start.
bool says_done(std::string_view text) {
  const auto at = text.rfind(R"("done")");
  if (at == std::string_view::npos) return false;
  const auto rest = text.substr(at + 6);
  const auto value = rest.find_first_not_of(": \t");
  return value != std::string_view::npos && value > 0 && rest.substr(value).starts_with("true");
}

/// Whether a line can be a JSON object; the rest of it is the client's to read.
bool is_object(std::string_view text) {
  const auto begin = text.find_first_not_of(" \t");
  const auto end = text.find_last_not_of(" \t");
  return begin != std::string_view::npos && text[begin] == '{' && text[end] == '}';
}

std::string_view without_return(std::string_view line) {
  if (line.ends_with('\r')) line.remove_suffix(1);
  return line;
}

std::string_view field_value(std::string_view line, std::string_view name) {
  line.remove_prefix(name.size());
  if (line.starts_with(' ')) line.remove_prefix(1);
  return line;
}

}  // namespace

void StreamWatcher::feed(std::string_view payload) {
  if (form_ == StreamForm::opaque) return;
  while (!payload.empty()) {
    const auto* end = static_cast<const char*>(std::memchr(payload.data(), '\n', payload.size()));
    if (end == nullptr) {
      take_piece(payload);
      fed_bytes_ += payload.size();
      line_open_ = true;
      return;
    }
    const auto length = static_cast<std::size_t>(end - payload.data());
    fed_bytes_ += length + 1;
    end_line(payload.substr(0, length));
    payload.remove_prefix(length + 1);
  }
}

void StreamWatcher::end() {
  if (!line_open_) return;
  const auto whole = whole_bytes_;
  end_line({});
  if (whole_bytes_ != whole) missing_end_ = missing_end_.empty() ? "\n" : "\n\n";
}

void StreamWatcher::take_piece(std::string_view piece) {
  const auto kept = std::min(piece.size(), carry_max - carry_.size());
  carry_.append(piece.substr(0, kept));
  piece.remove_prefix(kept);
  if (piece.empty()) return;
  if (piece.size() > tail_max) piece.remove_prefix(piece.size() - tail_max);
  if (tail_.size() + piece.size() > tail_max)
    tail_.erase(0, tail_.size() + piece.size() - tail_max);
  tail_.append(piece);
}

void StreamWatcher::end_line(std::string_view piece) {
  if (!line_open_) return line(without_return(piece));
  take_piece(piece);
  line_open_ = false;
  if (transcript_ != nullptr && !tail_.empty()) transcript_->lost();
  line(without_return(carry_));
  carry_.clear();
  tail_.clear();
  if (carry_.capacity() > carry_kept) std::string().swap(carry_);
}

void StreamWatcher::line(std::string_view text) {
  switch (form_) {
    case StreamForm::opaque:
      return;
    case StreamForm::ndjson_answer:
      return answer_line(text);
    case StreamForm::ndjson_progress:
      return progress_line(text);
    case StreamForm::sse_done:
    case StreamForm::sse_responses:
    case StreamForm::sse_anthropic:
      return sse_line(text);
  }
}

void StreamWatcher::answer_line(std::string_view text) {
  if (text.ends_with(native_token_end) && text.front() == '{') {
    ++records_;
    return show(text);
  }
  if (text.empty()) return;
  garbled_ = garbled_ || (!finished_ && tail_.empty() && !is_object(text));
  bool done = false;
  for (JsonScan scan(text); scan.next();) {
    if (scan.key() == "done") done = scan.value() == "true";
    if (scan.key() == "error" && !is_empty_value(scan.value())) return fail(scan.value());
  }
  done = done || says_done(tail_);
  if (!done || carries_output(text)) ++records_;
  show(text);
  if (!done) return;
  finished_ = true;
  read_usage(text);
  read_usage(tail_);
}

/// A whole record has come that is no error.
void StreamWatcher::show(std::string_view record) {
  if (garbled_) return;
  whole_bytes_ = fed_bytes_;
  if (transcript_ != nullptr) transcript_->record(record);
}

void StreamWatcher::progress_line(std::string_view text) {
  for (JsonScan scan(text); scan.next();) {
    if (scan.key() == "error" && !is_empty_value(scan.value())) return fail(scan.value());
    if (scan.key() == "status" && scan.value() == R"("success")") finished_ = true;
  }
  show(text);
}

void StreamWatcher::sse_line(std::string_view text) {
  event_open_ = !text.empty();
  if (text.empty()) {
    event_ = Event::unnamed;
    missing_end_ = {};
    if (!failed_ && !garbled_) whole_bytes_ = fed_bytes_;
  } else if (text.starts_with(data_field)) {
    const auto data = field_value(text, data_field);
    garbled_ = garbled_ || (!finished_ && tail_.empty() && !data.empty() && !is_object(data) &&
                            data != done_data);
    form_ == StreamForm::sse_done ? openai_data(data) : named_data(data);
    if (failed_ || garbled_) return;
    missing_end_ = "\n";
    show(data);
  } else if (text.starts_with(event_field)) {
    event_ = event_named(form_, field_value(text, event_field));
  } else {
    garbled_ = garbled_ || (!finished_ && text.front() != ':' && !text.starts_with("id:") &&
                            !text.starts_with("retry:"));
  }
}

void StreamWatcher::openai_data(std::string_view data) {
  if (data.ends_with(openai_token_end)) {
    ++records_;
    return;
  }
  if (data == done_data) {
    finished_ = true;
    return;
  }
  for (JsonScan scan(data); scan.next();) {
    if (scan.key() == "error" && !is_empty_value(scan.value())) return fail(scan.value());
    if (scan.key() == "usage") read_usage(scan.value());
    if (scan.key() != "choices") continue;
    JsonScan choices(scan.value());
    if (choices.next() && is_empty_value(json_field(choices.value(), "finish_reason"))) ++records_;
  }
}

void StreamWatcher::named_data(std::string_view data) {
  auto event = event_;
  if (event == Event::unnamed) event = event_named(form_, json_decoded(json_field(data, "type")));
  switch (event) {
    case Event::unnamed:
    case Event::other:
      return;
    case Event::delta:
      ++records_;
      return;
    case Event::usage:
      return read_usage(data);
    case Event::error: {
      const auto error = json_field(data, "error");
      return fail(is_empty_value(error) ? data : error);
    }
    case Event::failed:
      fail(json_field(json_field(data, "response"), "error"));
      [[fallthrough]];
    case Event::ended:
      finished_ = true;
      return read_usage(data);
  }
}

StreamWatcher::Event StreamWatcher::event_named(StreamForm form, std::string_view name) noexcept {
  if (name == "error") return Event::error;
  if (form == StreamForm::sse_anthropic) {
    if (name == "content_block_delta") return Event::delta;
    if (name == "message_stop") return Event::ended;
    return name == "message_start" || name == "message_delta" ? Event::usage : Event::other;
  }
  if (name.ends_with(".delta")) return Event::delta;
  if (name == "response.failed") return Event::failed;
  return name == "response.completed" || name == "response.incomplete" ? Event::ended
                                                                       : Event::other;
}

/// `raw_error` is the JSON of the error: a text, or an object with a `message`.
void StreamWatcher::fail(std::string_view raw_error) {
  failed_ = true;
  const auto message = json_field(raw_error, "message");
  error_ = json_decoded(message.empty() ? raw_error : message);
}

/// Takes over what `text` reports; what it does not report stays.
void StreamWatcher::read_usage(std::string_view text) {
  const auto operation = form_ == StreamForm::ndjson_answer ? Operation::chat
                         : form_ == StreamForm::sse_done    ? Operation::chat_completions
                                                            : Operation::messages;
  const auto update = [](auto& known, auto reported) {
    if (reported != decltype(reported){}) known = reported;
  };
  const Usage seen = usage_of_json(text, operation);
  update(usage_.prompt_tokens, seen.prompt_tokens);
  update(usage_.output_tokens, seen.output_tokens);
  update(usage_.total, seen.total);
  update(usage_.load, seen.load);
  update(usage_.prompt_eval, seen.prompt_eval);
  update(usage_.eval, seen.eval);
  update(usage_.from_node_durations, seen.from_node_durations);
}

StreamForm stream_form(Operation operation, bool stream) noexcept {
  if (!stream) return StreamForm::opaque;
  switch (operation) {
    case Operation::generate:
    case Operation::chat:
      return StreamForm::ndjson_answer;
    case Operation::pull:
    case Operation::push:
    case Operation::create:
      return StreamForm::ndjson_progress;
    case Operation::chat_completions:
    case Operation::completions:
      return StreamForm::sse_done;
    case Operation::responses:
      return StreamForm::sse_responses;
    case Operation::messages:
      return StreamForm::sse_anthropic;
    default:
      return StreamForm::opaque;
  }
}

std::string error_record(StreamForm form, std::string_view message, bool mid_record) {
  switch (form) {
    case StreamForm::opaque:
      return {};
    case StreamForm::ndjson_answer:
    case StreamForm::ndjson_progress:
      return fmt::format("{}{}\n", mid_record ? "\n" : "",
                         error_reply(Dialect::native, 500, message).body);
    case StreamForm::sse_done:
      return fmt::format("{}data: {}\n\n", mid_record ? "\n\n" : "",
                         error_reply(Dialect::openai, 500, message).body);
    case StreamForm::sse_responses: {
      // The event as OpenAI documents it, and the `error` object that its SDKs raise on.
      const auto text = json_string(message, JsonEscape::html);
      return fmt::format(
          "{}event: error\ndata: {{\"type\":\"error\",\"code\":\"server_error\",\"message\":{},"
          "\"param\":null,\"error\":{{\"message\":{},\"type\":\"api_error\",\"param\":null,"
          "\"code\":\"server_error\"}}}}\n\n",
          mid_record ? "\n\n" : "", text, text);
    }
    case StreamForm::sse_anthropic:
      return fmt::format("{}event: error\ndata: {}\n\n", mid_record ? "\n\n" : "",
                         error_reply(Dialect::anthropic, 500, message).body);
  }
  return {};
}

}  // namespace sollol::api

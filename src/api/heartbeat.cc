#include "api/heartbeat.h"

#include <fmt/format.h>

#include "api/errors.h"
#include "api/json_scan.h"
#include "api/json_text.h"
#include "api/timestamp.h"

namespace sollol::api {
namespace {

Dialect dialect_of_form(StreamForm form) {
  switch (form) {
    case StreamForm::sse_done:
    case StreamForm::sse_responses:
      return Dialect::openai;
    case StreamForm::sse_anthropic:
      return Dialect::anthropic;
    default:
      return Dialect::native;
  }
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.remove_suffix(1);
  return text;
}

}  // namespace

std::string heartbeat_record(Operation operation, std::string_view model_as_written, WallTime now) {
  switch (operation) {
    case Operation::generate:
    case Operation::chat: {
      std::string record = R"({"model":)";
      append_json_string(record, model_as_written, JsonEscape::html);
      fmt::format_to(std::back_inserter(record), R"(,"created_at":"{}",{},"done":false}})",
                     format_timestamp(now),
                     operation == Operation::chat ? R"("message":{"role":"assistant","content":""})"
                                                  : R"("response":"")");
      return record += '\n';
    }
    case Operation::chat_completions:
    case Operation::completions:
    case Operation::responses:
      return ": waiting\n\n";
    case Operation::messages:
      return "event: ping\ndata: {\"type\":\"ping\"}\n\n";
    default:
      return {};
  }
}

std::string_view stream_content_type(StreamForm form) noexcept {
  switch (form) {
    case StreamForm::opaque:
      return {};
    case StreamForm::ndjson_answer:
    case StreamForm::ndjson_progress:
      return ndjson_content_type;
    default:
      return sse_content_type;
  }
}

std::string refusal_record(StreamForm form, int status, std::string_view body) {
  body = trimmed(body);
  if (form == StreamForm::sse_responses) return error_record(form, error_message(body));
  const bool own_form = body.starts_with('{') && body.ends_with('}') &&
                        !json_field(body, "error").empty() &&
                        body.find_first_of("\r\n") == std::string_view::npos;
  const std::string text =
      own_form ? std::string(body)
               : error_reply(dialect_of_form(form), status, error_message(body)).body;
  switch (form) {
    case StreamForm::ndjson_answer:
    case StreamForm::ndjson_progress:
      return text + "\n";
    case StreamForm::sse_done:
      return fmt::format("data: {}\n\n", text);
    case StreamForm::sse_anthropic:
      return fmt::format("event: error\ndata: {}\n\n", text);
    default:
      return {};
  }
}

}  // namespace sollol::api

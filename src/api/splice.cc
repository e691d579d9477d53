// The rest of an answer, made to follow what its client has seen.
#include <fmt/format.h>

#include "api/continuation.h"
#include "api/json_edit.h"
#include "api/json_scan.h"

namespace sollol::api {
namespace {

constexpr std::string_view done_data = "[DONE]";

bool is_nothing(std::string_view value) noexcept {
  return value.empty() || value == "null" || value == R"("")" || value == "[]";
}

std::string event(std::string_view name, std::string_view data) {
  return fmt::format("event: {}\ndata: {}\n\n", name, data);
}

/// The number under `key` with `more` added, as JSON; empty when it is not there.
std::string raised(std::string_view object, std::string_view key, std::int64_t more) {
  const auto number = json_unsigned(json_field(object, key));
  if (!number) return {};
  const auto old = static_cast<std::int64_t>(std::min<std::uint64_t>(*number, INT64_MAX / 2));
  return std::to_string(std::max<std::int64_t>(old + more, 0));
}

std::int64_t nanoseconds(Duration d) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
}

}  // namespace

Splice::Splice(StreamForm form, Transcript& transcript, Contribution before)
    : form_(form),
      transcript_(transcript),
      before_(before),
      given_(transcript.tokens()),
      first_block_(transcript.next_block() - (transcript.block_open() ? 1 : 0)),
      joins_block_(transcript.block_open()) {}

void Splice::feed(std::string_view payload, std::string& out) {
  while (!payload.empty() && !stopped_) {
    const auto end = payload.find('\n');
    const auto piece = payload.substr(0, end);
    if (carry_.size() + piece.size() > line_max) {
      overrun_ = stopped_ = true;
      return;
    }
    if (end == std::string_view::npos) {
      carry_.append(piece);
      return;
    }
    if (carry_.empty()) {
      line(piece, out);
    } else {
      carry_.append(piece);
      line(carry_, out);
      carry_.clear();
    }
    payload.remove_prefix(end + 1);
  }
}

void Splice::end(std::string& out) {
  if (!carry_.empty() && !stopped_) line(carry_, out);
  carry_.clear();
}

void Splice::line(std::string_view text, std::string& out) {
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (form_ == StreamForm::ndjson_answer) {
    if (!text.empty()) data(text, out);
    return;
  }
  // Names of events are written anew with their data; comments were for the node's own client.
  if (!text.starts_with("data:")) return;
  text.remove_prefix(5);
  if (text.starts_with(' ')) text.remove_prefix(1);
  if (!text.empty()) data(text, out);
}

void Splice::data(std::string_view data, std::string& out) {
  if (data == done_data && form_ == StreamForm::sse_done) {
    out += "data: [DONE]\n\n";
    return;
  }
  const auto begin = data.find_first_not_of(" \t");
  const bool is_object = begin != std::string_view::npos && data[begin] == '{' &&
                         data[data.find_last_not_of(" \t")] == '}';
  const bool is_error = !is_nothing(json_field(data, "error"));
  stopped_ = !is_object || is_error;
  if (stopped_) return;
  switch (form_) {
    case StreamForm::ndjson_answer:
      return emit(json_field(data, "done") == "true" ? native(data) : data, out);
    case StreamForm::sse_done:
      return emit(openai(data), out);
    case StreamForm::sse_anthropic:
      return anthropic(data, out);
    default:
      return emit(data, out);
  }
}

/// A record on its way to the client.
void Splice::emit(std::string_view data, std::string& out) {
  if (data.empty()) return;
  transcript_.record(data);
  switch (form_) {
    case StreamForm::ndjson_answer:
      out.append(data) += '\n';
      return;
    case StreamForm::sse_done:
      out.append("data: ").append(data).append("\n\n");
      return;
    default:
      out += event(json_decoded(json_field(data, "type")), data);
  }
}

/// The final record of Ollama's own API, with the totals of the whole.
std::string Splice::native(std::string_view record) const {
  const auto given = static_cast<std::int64_t>(given_);
  const auto count = raised(record, "eval_count", given);
  return with_json_fields(
      record, {{"total_duration", raised(record, "total_duration", nanoseconds(before_.total))},
               {"prompt_eval_count", raised(record, "prompt_eval_count", -given)},
               {"eval_count", count.empty() ? std::to_string(given) : count},
               {"eval_duration", raised(record, "eval_duration", nanoseconds(before_.eval))},
               {"sollol_resumed", std::to_string(before_.resumes)}});
}

/// A chunk in the name of the first node's stream; empty when it only opens one.
std::string Splice::openai(std::string_view chunk) const {
  JsonScan choices(json_field(chunk, "choices"));
  const bool has_choice = choices.next();
  const auto choice = has_choice ? choices.value() : std::string_view{};
  const bool ends = !is_nothing(json_field(choice, "finish_reason"));
  const auto delta = json_field(choice, "delta");
  const bool opens = has_choice && !ends && !transcript_.id().empty() && !delta.empty() &&
                     is_nothing(json_field(delta, "content")) &&
                     is_nothing(json_field(delta, "tool_calls"));
  if (opens) return {};
  const auto usage = json_field(chunk, "usage");
  return with_json_fields(
      chunk,
      {{"id", transcript_.id()},
       {"created", transcript_.created()},
       {"usage", is_nothing(usage) ? "" : counted(usage, "prompt_tokens", "completion_tokens")},
       {"sollol_resumed", ends ? std::to_string(before_.resumes) : ""}});
}

/// Counts of tokens with those that were given before.
std::string Splice::counted(std::string_view usage, std::string_view prompt,
                            std::string_view output) const {
  const auto given = static_cast<std::int64_t>(given_);
  const auto zero = json_field(usage, output) == "0" && json_field(usage, prompt) == "0";
  if (zero) return std::string(usage);  // not the totals yet
  return with_json_fields(
      usage, {{prompt, raised(usage, prompt, -given)}, {output, raised(usage, output, given)}});
}

/// Ends the block that is open, as far as one is.
std::string Splice::closing_block() const {
  if (!transcript_.block_open()) return {};
  return fmt::format(R"({{"type":"content_block_stop","index":{}}})", transcript_.next_block() - 1);
}

void Splice::anthropic(std::string_view data, std::string& out) {
  const auto type = json_field(data, "type");
  if (type == R"("message_start")") {
    if (!transcript_.message_open()) emit(data, out);
    return;
  }
  const auto index = json_unsigned(json_field(data, "index"));
  if (type == R"("content_block_start")") {
    const bool text = json_field(json_field(data, "content_block"), "type") == R"("text")";
    if (joins_block_ && index == 0U && text) return;
    if (joins_block_ && index == 0U) {  // nothing was left to say: something else follows
      emit(closing_block(), out);
      joins_block_ = false;
      ++first_block_;
    }
  }
  if (type == R"("message_delta")") {
    emit(closing_block(), out);
    const auto usage = json_field(data, "usage");
    const std::string whole = with_json_fields(
        data, {{"usage", is_nothing(usage) ? "" : counted(usage, "input_tokens", "output_tokens")},
               {"sollol_resumed", std::to_string(before_.resumes)}});
    return emit(whole, out);
  }
  if (!index) return emit(data, out);
  const std::string moved =
      with_json_fields(data, {{"index", std::to_string(first_block_ + *index)}});
  emit(moved, out);
}

std::string Splice::closing_records(std::string_view created_at) {
  std::string out;
  const auto& model = transcript_.model();
  const bool says_why = transcript_.closing();  // the client knows how it ended
  switch (form_) {
    case StreamForm::ndjson_answer:
      if (says_why) break;
      emit(
          native(fmt::format(
              R"({{"model":{},"created_at":"{}",{},"done":true,"done_reason":"length","total_duration":0,"eval_duration":0}})",
              model.empty() ? "\"\"" : model, created_at,
              transcript_.operation() == Operation::chat
                  ? R"("message":{"role":"assistant","content":""})"
                  : R"("response":"")")),
          out);
      break;
    case StreamForm::sse_done:
      if (!says_why) {
        emit(
            openai(fmt::format(
                R"({{"id":{},"object":"chat.completion.chunk","created":{},"model":{},"system_fingerprint":"fp_ollama","choices":[{{"index":0,"delta":{{}},"finish_reason":"length"}}]}})",
                transcript_.id(), transcript_.created(), model.empty() ? "\"\"" : model)),
            out);
      }
      out += "data: [DONE]\n\n";
      break;
    case StreamForm::sse_anthropic:
      if (!says_why) {
        emit(closing_block(), out);
        emit(
            with_json_fields(
                R"({"type":"message_delta","delta":{"stop_reason":"max_tokens","stop_sequence":null}})",
                {{"usage", fmt::format(R"({{"output_tokens":{}}})", transcript_.tokens())},
                 {"sollol_resumed", std::to_string(before_.resumes)}}),
            out);
      }
      emit(R"({"type":"message_stop"})", out);
      break;
    default:
      break;
  }
  return out;
}

}  // namespace sollol::api

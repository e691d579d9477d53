#include "sim/responses_writer.h"

#include <fmt/format.h>

#include "sim/go_json.h"
#include "sim/hash.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

json::object usage_of(const Final& final) {
  return {{"input_tokens", final.prompt_tokens},
          {"input_tokens_details", {{"cached_tokens", 0}}},
          {"output_tokens", final.eval_tokens},
          {"output_tokens_details", {{"reasoning_tokens", 0}}},
          {"total_tokens", final.prompt_tokens + final.eval_tokens}};
}

json::object text_part(std::string_view text) {
  return {{"type", "output_text"},
          {"text", text},
          {"annotations", json::array{}},
          {"logprobs", json::array{}}};
}

json::object function_call(const ToolCall& call, std::string_view arguments,
                           std::string_view status) {
  return {{"id", "fc_" + call.id}, {"type", "function_call"}, {"status", status},
          {"call_id", call.id},    {"name", call.name},       {"arguments", arguments}};
}

}  // namespace

ResponsesWriter::ResponsesWriter(const Generation& request)
    : stream_(request.stream),
      model_(request.model),
      id_(fmt::format(
          "{}",
          mix(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count())) % 1'000'000)) {}

std::string ResponsesWriter::event(std::string_view type, json::object fields) {
  json::object data = {{"type", type}, {"sequence_number", sequence_++}};
  for (auto& [key, value] : fields) data[key] = std::move(value);
  return fmt::format("event: {}\ndata: {}\n\n", type, to_json(data));
}

json::object ResponsesWriter::response(std::string_view status, json::value usage) const {
  return {{"id", "resp_" + id_},
          {"object", "response"},
          {"created_at", std::chrono::system_clock::to_time_t(std::chrono::system_clock::now())},
          {"status", status},
          {"error", nullptr},
          {"incomplete_details", nullptr},
          {"instructions", nullptr},
          {"model", model_},
          {"output", output_},
          {"parallel_tool_calls", true},
          {"previous_response_id", nullptr},
          {"store", false},
          {"text", {{"format", {{"type", "text"}}}}},
          {"tool_choice", "auto"},
          {"tools", json::array{}},
          {"truncation", "disabled"},
          {"usage", std::move(usage)},
          {"metadata", json::object{}}};
}

json::object ResponsesWriter::item(Open kind, std::string_view status) const {
  const auto id =
      fmt::format("{}_{}_{}", kind == Open::reasoning ? "rs" : "msg", id_, output_.size());
  const bool done = status == "completed";
  if (kind == Open::reasoning) {
    json::array summary;
    if (done) summary.push_back({{"type", "summary_text"}, {"text", text_}});
    return {{"id", id}, {"type", "reasoning"}, {"summary", std::move(summary)}};
  }
  json::array content;
  if (done) content.push_back(text_part(text_));
  return {{"id", id},
          {"type", "message"},
          {"status", status},
          {"role", "assistant"},
          {"content", std::move(content)}};
}

std::string ResponsesWriter::begin(std::uint32_t) {
  return event("response.created", {{"response", response("in_progress", nullptr)}}) +
         event("response.in_progress", {{"response", response("in_progress", nullptr)}});
}

std::string ResponsesWriter::open(Open kind) {
  if (open_ == kind) return {};
  auto out = close();
  open_ = kind;
  auto added = item(kind, "in_progress");
  const auto id = added["id"];
  out += event("response.output_item.added",
               {{"output_index", output_.size()}, {"item", std::move(added)}});
  const json::object place = {{"item_id", id}, {"output_index", output_.size()}};
  auto part = place;
  if (kind == Open::message) {
    part["content_index"] = 0;
    part["part"] = text_part("");
    return out + event("response.content_part.added", std::move(part));
  }
  part["summary_index"] = 0;
  part["part"] = json::object{{"type", "summary_text"}, {"text", ""}};
  return out + event("response.reasoning_summary_part.added", std::move(part));
}

std::string ResponsesWriter::delta(std::string_view type, std::string_view text) {
  text_ += text;
  const auto* index = open_ == Open::message ? "content_index" : "summary_index";
  return event(type, {{"item_id", item(open_, "in_progress")["id"]},
                      {"output_index", output_.size()},
                      {index, 0},
                      {"delta", text}});
}

std::string ResponsesWriter::close() {
  if (open_ == Open::nothing) return {};
  const bool message = open_ == Open::message;
  auto done = item(open_, "completed");
  const json::object place = {{"item_id", done["id"]},
                              {"output_index", output_.size()},
                              {message ? "content_index" : "summary_index", 0}};
  auto text = place;
  text["text"] = text_;
  auto part = place;
  part["part"] =
      message ? text_part(text_) : json::object{{"type", "summary_text"}, {"text", text_}};
  auto out = event(message ? "response.output_text.done" : "response.reasoning_summary_text.done",
                   std::move(text)) +
             event(message ? "response.content_part.done" : "response.reasoning_summary_part.done",
                   std::move(part)) +
             event("response.output_item.done", {{"output_index", output_.size()}, {"item", done}});
  output_.push_back(std::move(done));
  open_ = Open::nothing;
  text_.clear();
  return out;
}

std::string ResponsesWriter::call(const ToolCall& call) {
  const auto arguments = to_json(call.arguments);
  auto done = function_call(call, arguments, "completed");
  const json::object place = {{"item_id", done["id"]}, {"output_index", output_.size()}};
  auto piece = place;
  piece["delta"] = arguments;
  auto all = place;
  all["arguments"] = arguments;
  auto out =
      event("response.output_item.added",
            {{"output_index", output_.size()}, {"item", function_call(call, "", "in_progress")}}) +
      event("response.function_call_arguments.delta", std::move(piece)) +
      event("response.function_call_arguments.done", std::move(all)) +
      event("response.output_item.done", {{"output_index", output_.size()}, {"item", done}});
  output_.push_back(std::move(done));
  return out;
}

std::string ResponsesWriter::piece(const Piece& piece) {
  std::string out;
  if (!piece.thinking.empty()) {
    out += open(Open::reasoning);
    out += delta("response.reasoning_summary_text.delta", piece.thinking);
  }
  if (!piece.content.empty()) {
    out += open(Open::message);
    out += delta("response.output_text.delta", piece.content);
  }
  if (!piece.tool_calls.empty()) out += close();
  for (const auto& tool : piece.tool_calls) out += call(tool);
  return out;
}

std::string ResponsesWriter::last(const Piece& rest, const Final& final) {
  auto out = piece(rest);
  out += close();
  return out + event("response.completed", {{"response", response("completed", usage_of(final))}});
}

std::string ResponsesWriter::whole(const Piece& all, const Final& final) {
  piece(all);
  close();
  return to_json(response("completed", usage_of(final)));
}

std::string ResponsesWriter::broken(std::string_view error) {
  auto failed = response("failed", nullptr);
  failed["error"] = json::object{{"code", "server_error"}, {"message", error}};
  return event("response.failed", {{"response", std::move(failed)}});
}

}  // namespace sollol::sim

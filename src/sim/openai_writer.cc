#include "sim/openai_writer.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>

#include "sim/go_json.h"
#include "sim/hash.h"
#include "sim/native_writer.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

json::object usage_of(const Final& final) {
  const auto prompt = final.prompt_tokens;
  return {{"prompt_tokens", prompt},
          {"completion_tokens", final.eval_tokens},
          {"total_tokens", prompt + final.eval_tokens}};
}

std::int64_t unix_now() {
  return std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
}

}  // namespace

std::string sse_data(const json::value& value) { return "data: " + to_json(value) + "\n\n"; }

json::array openai_tool_calls(const std::vector<ToolCall>& calls) {
  json::array out;
  for (const auto& call : calls) {
    out.push_back({{"id", call.id},
                   {"index", out.size()},
                   {"type", "function"},
                   {"function", {{"name", call.name}, {"arguments", to_json(call.arguments)}}}});
  }
  return out;
}

OpenAiWriter::OpenAiWriter(const Generation& request, Usage usage)
    : chat_(request.call == Generation::Call::chat),
      stream_(request.stream),
      include_usage_(usage == Usage::asked),
      logprobs_(request.logprobs),
      top_logprobs_(request.top_logprobs),
      model_(request.model),
      id_(fmt::format(
          "{}-{}", chat_ ? "chatcmpl" : "cmpl",
          mix(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count())) % 999)) {}

json::object OpenAiWriter::head(std::string_view object, std::string_view model) const {
  return {{"id", id_},
          {"object", object},
          {"created", unix_now()},
          {"model", model},
          {"system_fingerprint", "fp_ollama"}};
}

json::object OpenAiWriter::choice(const Piece& piece, std::string_view key,
                                  json::value finish) const {
  json::object out;
  if (chat_) {
    json::object message = {{"role", "assistant"}, {"content", piece.content}};
    if (!piece.thinking.empty()) message["reasoning"] = piece.thinking;
    if (!piece.tool_calls.empty()) message["tool_calls"] = openai_tool_calls(piece.tool_calls);
    out = {{"index", 0}, {key, std::move(message)}};
  } else {
    out = {{"text", piece.content}, {"index", 0}};
  }
  out["finish_reason"] = std::move(finish);
  if (logprobs_ && !piece.content.empty())
    out["logprobs"] = json::object{{"content", logprobs_of(piece.content, top_logprobs_)}};
  return out;
}

json::object OpenAiWriter::chunk(const Piece& piece, json::value finish) const {
  auto out = head(chat_ ? "chat.completion.chunk" : "text_completion", model_);
  out["choices"] = json::array{choice(piece, "delta", std::move(finish))};
  if (!chat_ && include_usage_) out["usage"] = usage_of({});
  return out;
}

std::string_view OpenAiWriter::finish_reason(const Final& final) const {
  return called_tools_ ? "tool_calls" : final.done_reason;
}

std::string OpenAiWriter::piece(const Piece& piece) {
  called_tools_ |= !piece.tool_calls.empty();
  return sse_data(chunk(piece, nullptr));
}

std::string OpenAiWriter::last(const Piece& rest, const Final& final) {
  std::string out;
  if (!rest.empty() && chat_) out += sse_data(chunk(rest, nullptr));
  out += sse_data(chunk(chat_ ? Piece{} : rest, json::value(finish_reason(final))));
  if (include_usage_) {
    auto usage = head(chat_ ? "chat.completion.chunk" : "text_completion", model_);
    usage["choices"] = json::array{};
    usage["usage"] = usage_of(final);
    out += sse_data(usage);
  }
  return out + "data: [DONE]\n\n";
}

std::string OpenAiWriter::whole(const Piece& all, const Final& final) {
  called_tools_ = !all.tool_calls.empty();
  auto out = head(chat_ ? "chat.completion" : "text_completion", model_);
  out["choices"] = json::array{choice(all, "message", json::value(finish_reason(final)))};
  out["usage"] = usage_of(final);
  return to_json(out);
}

/// Ollama's own translation loses the error: a chunk without model and content is all that comes.
std::string OpenAiWriter::broken(std::string_view) {
  auto out = head(chat_ ? "chat.completion.chunk" : "text_completion", "");
  out["choices"] = json::array{choice({}, "delta", nullptr)};
  return sse_data(out);
}

}  // namespace sollol::sim

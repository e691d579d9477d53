#include "sim/native_writer.h"

#include <boost/json/array.hpp>

#include "sim/go_json.h"
#include "sim/hash.h"

namespace sollol::sim {
namespace json = boost::json;

json::array native_tool_calls(const std::vector<ToolCall>& calls) {
  json::array out;
  for (const auto& call : calls) {
    out.push_back({{"id", call.id},
                   {"function",
                    {{"index", out.size()}, {"name", call.name}, {"arguments", call.arguments}}}});
  }
  return out;
}

json::array logprobs_of(std::string_view token, int top) {
  const auto entry = [](std::string_view text, double logprob) {
    json::array bytes;
    for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
    return json::object{{"token", text}, {"logprob", logprob}, {"bytes", std::move(bytes)}};
  };
  const auto chance = -static_cast<double>(mix(hash_text(token)) % 1000) / 1000;
  auto out = entry(token, chance);
  json::array others;
  for (int i = 0; i < top; ++i)
    others.push_back(
        entry(i == 0 ? std::string(token) : std::string(token) + std::to_string(i), chance - i));
  if (top > 0) out["top_logprobs"] = std::move(others);
  return {std::move(out)};
}

std::string_view NativeWriter::stream_type() const { return ndjson_type; }

json::object NativeWriter::record(const Piece& piece) const {
  json::object out = {{"model", model_},
                      {"created_at", go_timestamp(std::chrono::system_clock::now())}};
  if (chat_) {
    json::object message = {{"role", "assistant"}, {"content", piece.content}};
    if (!piece.thinking.empty()) message["thinking"] = piece.thinking;
    if (!piece.tool_calls.empty()) message["tool_calls"] = native_tool_calls(piece.tool_calls);
    out["message"] = std::move(message);
  } else {
    out["response"] = piece.content;
    if (!piece.thinking.empty()) out["thinking"] = piece.thinking;
  }
  out["done"] = false;
  if (logprobs_ && !piece.content.empty())
    out["logprobs"] = logprobs_of(piece.content, top_logprobs_);
  return out;
}

std::string NativeWriter::piece(const Piece& piece) { return to_json(record(piece)) + "\n"; }

std::string NativeWriter::ended(json::object out, const Final& final) const {
  out["done"] = true;
  out["done_reason"] = final.done_reason;
  if (!chat_ && !raw_) {
    json::array context;  // token numbers that mean something to this model only
    constexpr std::uint64_t context_max = 4096;
    const auto tokens =
        std::min<std::uint64_t>(final.prompt_tokens + final.eval_tokens, context_max);
    for (std::uint64_t i = 0; i < tokens; ++i)
      context.push_back(mix(i ^ hash_text(model_)) % 128'000);
    out["context"] = std::move(context);
  }
  const auto metric = [&](std::string_view key, std::int64_t value) {
    if (value != 0) out[key] = value;
  };
  const auto nanoseconds = [](Duration d) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  };
  metric("total_duration", nanoseconds(final.total));
  metric("load_duration", nanoseconds(final.load));
  metric("prompt_eval_count", final.prompt_tokens);
  metric("prompt_eval_duration", nanoseconds(final.prompt_eval));
  metric("eval_count", static_cast<std::int64_t>(final.eval_tokens));
  metric("eval_duration", nanoseconds(final.eval));
  return to_json(out);
}

std::string NativeWriter::last(const Piece& rest, const Final& final) {
  return ended(record(rest), final) + "\n";
}

std::string NativeWriter::whole(const Piece& all, const Final& final) {
  return ended(record(all), final);
}

std::string NativeWriter::broken(std::string_view error) {
  return error_body(ErrorForm::native, 500, error) + "\n";
}

std::string NativeWriter::loaded(std::string_view reason, Duration) {
  auto out = record({});
  out["done"] = true;
  out["done_reason"] = reason;
  return to_json(out);
}

std::string NativeWriter::rendered(std::string_view prompt) {
  auto out = record({});
  out["_debug_info"] = json::object{{"rendered_template", prompt}};
  return to_json(out);
}

}  // namespace sollol::sim

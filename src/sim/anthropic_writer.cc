#include "sim/anthropic_writer.h"

#include <fmt/format.h>

#include "sim/go_json.h"
#include "sim/hash.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

std::string event(std::string_view type, json::object fields) {
  json::object data = {{"type", type}};
  for (auto& [key, value] : fields) data[key] = std::move(value);
  return fmt::format("event: {}\ndata: {}\n\n", type, to_json(data));
}

json::object usage_of(std::uint64_t input, std::uint64_t output) {
  return {{"input_tokens", input}, {"output_tokens", output}};
}

std::string block_delta(std::size_t index, json::object delta) {
  return event("content_block_delta", {{"index", index}, {"delta", std::move(delta)}});
}

}  // namespace

AnthropicWriter::AnthropicWriter(const Generation& request, std::size_t characters)
    : stream_(request.stream),
      estimate_(std::max<std::size_t>(1, characters / 4)),
      model_(request.model),
      id_(fmt::format("msg_{:016x}",
                      mix(static_cast<std::uint64_t>(Clock::now().time_since_epoch().count())))) {}

json::object AnthropicWriter::message(json::array content, json::value stop_reason,
                                      json::object usage) const {
  return {{"id", id_},
          {"type", "message"},
          {"role", "assistant"},
          {"model", model_},
          {"content", std::move(content)},
          {"stop_reason", std::move(stop_reason)},
          {"stop_sequence", nullptr},
          {"usage", std::move(usage)}};
}

std::string_view AnthropicWriter::stop_reason(const Final& final) const {
  return called_tools_ ? "tool_use" : final.done_reason == "length" ? "max_tokens" : "end_turn";
}

std::string AnthropicWriter::begin(std::uint32_t) {
  return event("message_start", {{"message", message({}, nullptr, usage_of(estimate_, 0))}});
}

std::string AnthropicWriter::open(Block block) {
  if (open_ == block) return {};
  auto out = close();
  open_ = block;
  json::object empty = block == Block::thinking
                           ? json::object{{"type", "thinking"}, {"thinking", ""}}
                           : json::object{{"type", "text"}, {"text", ""}};
  return out +
         event("content_block_start", {{"index", index_}, {"content_block", std::move(empty)}});
}

std::string AnthropicWriter::close() {
  if (open_ == Block::nothing) return {};
  open_ = Block::nothing;
  return event("content_block_stop", {{"index", index_++}});
}

std::string AnthropicWriter::piece(const Piece& piece) {
  std::string out;
  if (!piece.thinking.empty()) {
    out += open(Block::thinking);
    out += block_delta(index_, {{"type", "thinking_delta"}, {"thinking", piece.thinking}});
  }
  if (!piece.content.empty()) {
    out += open(Block::text);
    out += block_delta(index_, {{"type", "text_delta"}, {"text", piece.content}});
  }
  for (const auto& call : piece.tool_calls) {
    called_tools_ = true;
    out += close();
    json::object block = {
        {"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", json::object{}}};
    out += event("content_block_start", {{"index", index_}, {"content_block", std::move(block)}});
    out += block_delta(index_,
                       {{"type", "input_json_delta"}, {"partial_json", to_json(call.arguments)}});
    out += event("content_block_stop", {{"index", index_++}});
  }
  return out;
}

std::string AnthropicWriter::last(const Piece& rest, const Final& final) {
  auto out = piece(rest);
  out += close();
  out += event(
      "message_delta",
      {{"delta", json::object{{"stop_reason", stop_reason(final)}, {"stop_sequence", nullptr}}},
       {"usage", usage_of(final.prompt_tokens, final.eval_tokens)}});
  return out + event("message_stop", {});
}

std::string AnthropicWriter::whole(const Piece& all, const Final& final) {
  json::array content;
  if (!all.thinking.empty())
    content.push_back({{"type", "thinking"}, {"thinking", all.thinking}, {"signature", ""}});
  if (!all.content.empty()) content.push_back({{"type", "text"}, {"text", all.content}});
  for (const auto& call : all.tool_calls) {
    called_tools_ = true;
    content.push_back(
        {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", call.arguments}});
  }
  return to_json(message(std::move(content), json::value(stop_reason(final)),
                         usage_of(final.prompt_tokens, final.eval_tokens)));
}

}  // namespace sollol::sim

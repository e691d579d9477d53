#include <fmt/format.h>

#include <boost/json/array.hpp>

#include "sim/fields.h"
#include "sim/go_json.h"
#include "sim/openai_request.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

const json::value* find(const json::value& object, std::string_view key) {
  return object.is_object() ? object.get_object().if_contains(key) : nullptr;
}

std::string text_of(const json::value& object, std::string_view key) {
  const auto* value = find(object, key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string{};
}

/// The text of a string or of a list of text blocks.
std::string plain_text(const json::value* content) {
  if (content == nullptr) return {};
  if (content->is_string()) return std::string(content->get_string());
  std::string out;
  if (const auto* blocks = content->if_array()) {
    for (const auto& block : *blocks) out += text_of(block, "text");
  }
  return out;
}

/// One message of theirs may be several of Ollama's: tool results become messages of their own.
void read_message(Fields& fields, const json::value& item, std::vector<ChatMessage>& into) {
  ChatMessage message{.role = text_of(item, "role")};
  const auto* content = find(item, "content");
  if (content == nullptr || !content->is_array()) {
    message.content = plain_text(content);
    into.push_back(std::move(message));
    return;
  }
  bool only_results = true;
  for (const auto& block : content->get_array()) {
    const auto type = text_of(block, "type");
    if (type == "tool_result") {
      into.push_back({.role = "tool", .content = plain_text(find(block, "content"))});
      continue;
    }
    only_results = false;
    if (type == "text") {
      message.content += text_of(block, "text");
    } else if (type == "thinking") {
      message.thinking += text_of(block, "thinking");
    } else if (type == "tool_use") {
      const auto* input = find(block, "input");
      message.tool_calls.push_back(
          {text_of(block, "id"), text_of(block, "name"),
           input != nullptr && input->is_object() ? input->get_object() : json::object{}});
    } else if (type == "image") {
      const auto* source = find(block, "source");
      if (source == nullptr || text_of(*source, "type") != "base64")
        return fields.fail(400, "invalid image source type: only base64 is supported");
      message.images.push_back(text_of(*source, "data"));
    }
  }
  if (!only_results) into.push_back(std::move(message));
}

}  // namespace

ApiResult<Generation> read_anthropic(const json::object& body) {
  Fields fields(body, "MessagesRequest");
  Generation out{.call = Generation::Call::chat};
  out.model = fields.text("model");
  const auto max_tokens = fields.number("max_tokens").value_or(0);
  const auto messages = fields.array("messages");
  if (out.model.empty()) fields.fail(400, "model is required");
  if (max_tokens <= 0) fields.fail(400, "max_tokens is required and must be positive");
  if (messages.empty()) fields.fail(400, "messages is required");
  out.num_predict = static_cast<std::int64_t>(max_tokens);
  out.stream = fields.flag("stream", false);
  out.temperature = fields.number("temperature").value_or(1.0);
  out.stop = fields.texts("stop_sequences");
  if (auto system = plain_text(fields.raw("system")); !system.empty()) {
    out.messages.push_back({.role = "system", .content = std::move(system)});
  }
  for (const auto& item : messages) read_message(fields, item, out.messages);
  for (const auto& tool : fields.array("tools")) {
    if (find(tool, "input_schema") == nullptr) continue;
    out.tools.push_back({{"type", "function"},
                         {"function",
                          {{"name", text_of(tool, "name")},
                           {"description", text_of(tool, "description")},
                           {"parameters", *find(tool, "input_schema")}}}});
  }
  if (const auto* thinking = fields.raw("thinking")) {
    const auto type = text_of(*thinking, "type");
    out.think = type == "enabled" || type == "adaptive" ? Think::on : Think::off;
  }
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

}  // namespace sollol::sim

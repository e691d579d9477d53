#include "sim/openai_request.h"

#include <fmt/format.h>

#include <boost/json/array.hpp>

#include "sim/fields.h"
#include "sim/go_json.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

const json::object& object_of(const json::value& value) {
  static const json::object none;
  const auto* object = value.if_object();
  return object == nullptr ? none : *object;
}

std::string text_of(const json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string{};
}

/// The fields that mean the same in chat and completion requests.
void read_sampling(Fields& fields, Generation& into) {
  into.model = fields.text("model");
  into.stream = fields.flag("stream", false);
  into.temperature = fields.number("temperature").value_or(1.0);
  if (const auto seed = fields.number("seed")) into.seed = static_cast<std::int64_t>(*seed);
  if (const auto limit = fields.number("max_tokens"))
    into.num_predict = static_cast<std::int64_t>(*limit);
  if (const auto* stop = fields.raw("stop"); stop != nullptr) {
    if (stop->is_string()) into.stop.emplace_back(stop->get_string());
    if (stop->is_array()) into.stop = fields.texts("stop");
  }
}

void read_effort(Fields& fields, std::string_view effort, Generation& into) {
  if (effort.empty()) return;
  for (const auto* known : {"minimal", "low", "medium", "high", "xhigh", "max", "ultra"}) {
    if (effort == known) into.think = Think::on;
  }
  if (effort == "none") into.think = Think::off;
  if (into.think == Think::unset) {
    fields.fail(400, fmt::format("invalid reasoning value: '{}' (must be \"high\", \"medium\", "
                                 "\"low\", \"max\", or \"none\")",
                                 effort));
  }
}

/// A data URI's base64 text. Anything else is refused.
void read_image(Fields& fields, std::string_view url, ChatMessage& into) {
  const auto comma = url.find(";base64,");
  if (!url.starts_with("data:") || comma == url.npos)
    return fields.fail(400, "invalid image input");
  into.images.emplace_back(url.substr(comma + 8));
}

void read_content(Fields& fields, const json::value& content, ChatMessage& into) {
  if (content.is_string()) {
    into.content = std::string(content.get_string());
    return;
  }
  if (content.is_null()) return;
  if (!content.is_array())
    return fields.fail(400, "invalid message content type: " + std::string(go_kind(content)));
  for (const auto& item : content.get_array()) {
    const auto& part = object_of(item);
    const auto type = text_of(part, "type");
    if (type == "text" || type == "input_text" || type == "output_text") {
      into.content += text_of(part, "text");
    } else if (type == "image_url" || type == "input_image") {
      const auto* url = part.if_contains("image_url");
      if (url != nullptr)
        read_image(
            fields,
            url->is_object() ? text_of(url->get_object(), "url") : text_of(part, "image_url"),
            into);
    } else {
      fields.fail(400, "invalid message format");
    }
  }
}

ToolCall tool_call(std::string id, std::string name, std::string_view arguments, Fields& fields) {
  auto parsed = arguments.empty() ? Result<json::value>(json::object{}) : parse_json(arguments);
  if (!parsed || !parsed->is_object()) fields.fail(400, "invalid tool call arguments");
  return {std::move(id), std::move(name),
          parsed && parsed->is_object() ? parsed->get_object() : json::object{}};
}

ChatMessage read_message(Fields& fields, const json::object& object) {
  ChatMessage out{.role = text_of(object, "role"),
                  .thinking = text_of(object, "reasoning"),
                  .tool_name = text_of(object, "name")};
  if (const auto* content = object.if_contains("content")) read_content(fields, *content, out);
  const auto* calls = object.if_contains("tool_calls");
  if (calls == nullptr || !calls->is_array()) return out;
  for (const auto& item : calls->get_array()) {
    const auto& call = object_of(item);
    const auto* function = call.if_contains("function");
    if (function == nullptr) continue;
    const auto& inner = object_of(*function);
    out.tool_calls.push_back(tool_call(text_of(call, "id"), text_of(inner, "name"),
                                       text_of(inner, "arguments"), fields));
  }
  return out;
}

/// `{"type":"json_schema","json_schema":{"schema":…}}`, or for responses
/// `{"type":"json_schema","schema":…}`.
json::value read_format(const json::value* format) {
  if (format == nullptr) return nullptr;
  const auto& object = object_of(*format);
  const auto type = text_of(object, "type");
  if (type == "json_object") return "json";
  if (type != "json_schema") return nullptr;
  const auto* wrapped = object.if_contains("json_schema");
  const auto* schema = (wrapped == nullptr ? object : object_of(*wrapped)).if_contains("schema");
  return schema == nullptr ? json::value("json") : *schema;
}

}  // namespace

bool wants_usage(const json::object& body) {
  const auto* options = body.if_contains("stream_options");
  const auto* usage =
      options == nullptr ? nullptr : object_of(*options).if_contains("include_usage");
  return usage != nullptr && usage->is_bool() && usage->get_bool();
}

ApiResult<Generation> read_openai_chat(const json::object& body) {
  Fields fields(body, "ChatCompletionRequest");
  Generation out{.call = Generation::Call::chat};
  read_sampling(fields, out);
  for (const auto& item : fields.array("messages"))
    out.messages.push_back(read_message(fields, object_of(item)));
  if (!fields.error() && out.messages.empty()) fields.fail(400, "[] is too short - 'messages'");
  out.tools = fields.array("tools");
  out.format = read_format(fields.raw("response_format"));
  const auto* reasoning = fields.raw("reasoning");
  read_effort(fields,
              reasoning == nullptr ? fields.text("reasoning_effort")
                                   : text_of(object_of(*reasoning), "effort"),
              out);
  out.logprobs = fields.flag("logprobs", false);
  out.top_logprobs = static_cast<int>(fields.number("top_logprobs").value_or(0));
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

ApiResult<Generation> read_openai_completion(const json::object& body) {
  Fields fields(body, "CompletionRequest");
  Generation out;
  read_sampling(fields, out);
  out.prompt = fields.text("prompt");
  out.suffix = fields.text("suffix");
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

ApiResult<Generation> read_responses(const json::object& body) {
  Fields fields(body, "ResponsesRequest");
  Generation out{.call = Generation::Call::chat};
  read_sampling(fields, out);
  if (const auto limit = fields.number("max_output_tokens"))
    out.num_predict = static_cast<std::int64_t>(*limit);
  if (auto instructions = fields.text("instructions"); !instructions.empty()) {
    out.messages.push_back({.role = "system", .content = std::move(instructions)});
  }
  const auto* input = fields.raw("input");
  if (input != nullptr && input->is_string()) {
    out.messages.push_back({.role = "user", .content = std::string(input->get_string())});
  } else if (input != nullptr) {
    for (const auto& item : fields.array("input")) {
      const auto& object = object_of(item);
      const auto type = text_of(object, "type");
      if (type == "function_call") {
        out.messages.push_back(
            {.role = "assistant",
             .tool_calls = {tool_call(text_of(object, "call_id"), text_of(object, "name"),
                                      text_of(object, "arguments"), fields)}});
      } else if (type == "function_call_output") {
        ChatMessage message{.role = "tool"};
        if (const auto* output = object.if_contains("output"))
          read_content(fields, *output, message);
        out.messages.push_back(std::move(message));
      } else if (type.empty() || type == "message") {
        out.messages.push_back(read_message(fields, object));
      }
    }
  }
  for (const auto& item : fields.array("tools")) {  // flat here, nested in Ollama's own API
    const auto& tool = object_of(item);
    if (text_of(tool, "type") == "function")
      out.tools.push_back({{"type", "function"}, {"function", tool}});
  }
  if (const auto* text = fields.raw("text"))
    out.format = read_format(object_of(*text).if_contains("format"));
  if (const auto* reasoning = fields.raw("reasoning"))
    read_effort(fields, text_of(object_of(*reasoning), "effort"), out);
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

}  // namespace sollol::sim

#include "sim/generation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/ascii.h"
#include "sim/fields.h"
#include "sim/go_json.h"
#include "sim/hash.h"
#include "sim/model_name.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

constexpr std::string_view integer_runner_options[] = {"num_batch", "num_gpu", "main_gpu",
                                                       "num_thread", "draft_num_predict"};

const json::object& object_of(const json::value& body) {
  static const json::object none;
  const auto* object = body.if_object();
  return object == nullptr ? none : *object;
}

ApiResult<std::optional<Duration>> read_keep_alive(const json::value* value) {
  if (value == nullptr) return std::nullopt;
  constexpr Duration forever{-1};
  if (value->is_number()) {
    const auto seconds = value->to_number<double>();
    return seconds < 0 ? forever : from_seconds(std::min(seconds, 1e9));
  }
  if (!value->is_string())
    return refuse(400, fmt::format("unsupported type: '{}'", go_kind(*value)));
  const auto parsed = parse_go_duration(value->get_string());
  if (!parsed) return refuse(400, parsed.error().detail);
  return *parsed < Duration::zero() ? forever : *parsed;
}

void read_think(Fields& fields, Generation& into) {
  const auto* think = fields.raw("think");
  if (think == nullptr) return;
  if (const auto* flag = think->if_bool()) {
    into.think = *flag ? Think::on : Think::off;
    return;
  }
  constexpr std::string_view levels[] = {"low", "medium", "high", "max"};
  if (think->is_string() &&
      std::ranges::find(levels, std::string_view(think->get_string())) != std::end(levels)) {
    into.think = Think::on;
    return;
  }
  fields.fail(400, fmt::format("invalid think value: {} (must be \"high\", \"medium\", \"low\", "
                               "\"max\", true, or false)",
                               to_json(*think)));
}

/// What `/api/generate` and `/api/chat` have in common.
void read_common(Fields& fields, const json::object& body, Generation& into) {
  into.model = fields.text("model");
  into.stream = fields.flag("stream", true);
  into.truncate = fields.flag("truncate", true);
  into.render_only = fields.flag("_debug_render_only", false);
  into.logprobs = fields.flag("logprobs", false);
  into.top_logprobs = static_cast<int>(fields.number("top_logprobs").value_or(0));
  if (const auto* shift = fields.raw("shift");
      shift != nullptr && shift->is_bool() && !shift->get_bool()) {
    into.runner.other += "shift=false;";
  }
  read_think(fields, into);
  if (const auto* format = fields.raw("format")) {
    const bool is_json = format->is_string() && format->get_string() == "json";
    const bool is_empty = format->is_string() && format->get_string().empty();
    if (!is_json && !is_empty && !format->is_object()) {
      fields.fail(400,
                  fmt::format("invalid format: {}; expected \"json\" or a valid JSON Schema object",
                              to_json(*format)));
    }
    if (!is_empty) into.format = *format;
  }
  if (into.top_logprobs < 0 || into.top_logprobs > 20)
    fields.fail(400, "top_logprobs must be between 0 and 20");
  if (fields.error()) return;
  if (auto options = read_options(body, into); !options)
    fields.fail(options.error().status, options.error().text);
}

std::vector<ToolCall> read_tool_calls(const json::object& message) {
  std::vector<ToolCall> out;
  Fields fields(message, "Message");
  for (const auto& item : fields.array("tool_calls")) {
    const auto& call = object_of(item);
    const auto* function = call.if_contains("function");
    if (function == nullptr) continue;
    Fields inner(object_of(*function), "ToolCallFunction");
    const auto* arguments = inner.raw("arguments");
    out.push_back({Fields(call, "ToolCall").text("id"), inner.text("name"),
                   arguments != nullptr && arguments->is_object() ? arguments->get_object()
                                                                  : json::object{}});
  }
  return out;
}

void append_message(std::string& out, const ChatMessage& message) {
  out += "<|" + message.role + "|>\n";
  for (const auto& image : message.images)
    out += fmt::format("[img-{:016x}]", mix(hash_text(image)));
  out += message.content;
  for (const auto& call : message.tool_calls)
    out += "<tool_call>" + call.name + to_json(call.arguments) + "</tool_call>";
}

}  // namespace

ApiResult<void> read_options(const json::object& body, Generation& into) {
  const auto* given = body.if_contains("keep_alive");
  auto keep_alive = read_keep_alive(given == nullptr || given->is_null() ? nullptr : given);
  if (!keep_alive) return std::unexpected(keep_alive.error());
  into.keep_alive = *keep_alive;
  Fields fields(body, "ChatRequest");
  const auto options = fields.object("options");
  if (fields.error()) return std::unexpected(*fields.error());
  const auto wrong = [](std::string_view key, std::string_view type) {
    return refuse(500, fmt::format("option \"{}\" must be of type {}", key, type));
  };
  for (const auto& [key, value] : options) {
    if (value.is_null()) continue;
    const bool runner_integer = std::ranges::find(integer_runner_options, std::string_view(key)) !=
                                std::end(integer_runner_options);
    if (key == "num_ctx" || key == "num_predict" || key == "seed" || key == "num_keep" ||
        key == "top_k" || runner_integer) {
      if (!value.is_number()) return wrong(key, "integer");
      const auto number =
          static_cast<std::int64_t>(std::clamp(value.to_number<double>(), -9e15, 9e15));
      if (key == "num_ctx")
        into.runner.num_ctx =
            static_cast<std::uint32_t>(std::clamp<std::int64_t>(number, 0, 1 << 30));
      if (key == "num_predict") into.num_predict = number;
      if (key == "seed") into.seed = number;
    } else if (key == "temperature" || key == "top_p" || key == "min_p" ||
               key == "repeat_penalty") {
      if (!value.is_number()) return wrong(key, "float32");
      if (key == "temperature") into.temperature = value.to_number<double>();
    } else if (key == "stop") {
      if (!value.is_array()) return wrong(key, "array");
      for (const auto& item : value.get_array()) {
        if (!item.is_string()) return wrong(key, "of strings");
        into.stop.emplace_back(item.get_string());
      }
    }
  }
  for (const auto key : integer_runner_options) {  // in a fixed order: the text is compared
    if (const auto* value = options.if_contains(key))
      into.runner.other += fmt::format("{}={};", key, to_json(*value));
  }
  if (const auto* mmap = options.if_contains("use_mmap"))
    into.runner.other += fmt::format("use_mmap={};", to_json(*mmap));
  return {};
}

ApiResult<Generation> read_generate(const json::value& body) {
  Fields fields(object_of(body), "GenerateRequest");
  Generation out;
  read_common(fields, object_of(body), out);
  out.prompt = fields.text("prompt");
  out.suffix = fields.text("suffix");
  out.system = fields.text("system");
  out.template_text = fields.text("template");
  out.raw = fields.flag("raw", false);
  out.images = fields.texts("images");
  out.context = fields.array("context");
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

ApiResult<Generation> read_chat(const json::value& body) {
  Fields fields(object_of(body), "ChatRequest");
  Generation out;
  out.call = Generation::Call::chat;
  read_common(fields, object_of(body), out);
  out.tools = fields.array("tools");
  for (const auto& item : fields.array("messages")) {
    if (!item.is_object()) {
      fields.fail(400, fmt::format("json: cannot unmarshal {} into Go struct field "
                                   "ChatRequest.messages of type api.Message",
                                   go_kind(item)));
      break;
    }
    Fields message(item.get_object(), "Message");
    out.messages.push_back({lower(message.text("role")), message.text("content"),
                            message.text("thinking"), message.text("tool_name"),
                            read_tool_calls(item.get_object()), message.texts("images")});
    if (message.error()) fields.fail(message.error()->status, message.error()->text);
  }
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

ApiResult<void> check_capabilities(const Generation& request, const Manifest& model) {
  const auto lacks = [&](std::string_view what) {
    return refuse(400, fmt::format("\"{}\" does not support {}", request.model, what));
  };
  if (!model.can("completion"))
    return lacks(request.call == Generation::Call::chat ? "chat" : "generate");
  if (!request.tools.empty() && !model.can("tools")) {
    const auto name = ModelName::parse(model.name).value_or(ModelName{});
    return refuse(400, fmt::format("{}/{}/{}:{} does not support tools", name.host, name.space,
                                   name.model, name.tag));
  }
  if (!request.suffix.empty() && !model.can("insert")) return lacks("insert");
  if (request.think == Think::on && !model.can("thinking")) return lacks("thinking");
  return {};
}

std::string render(const Generation& request, const Manifest& model) {
  if (request.call == Generation::Call::generate && request.raw) return request.prompt;
  std::string out;
  const auto& system = request.system.empty() ? model.spec.system : request.system;
  const bool has_system = !request.messages.empty() && request.messages.front().role == "system";
  if (!system.empty() && !has_system) out += "<|system|>\n" + system + "<|end|>\n";
  if (!request.tools.empty()) out += "<|tools|>\n" + to_json(request.tools) + "<|end|>\n";
  if (request.call == Generation::Call::generate) {
    if (!request.context.empty()) out += to_json(request.context);
    ChatMessage user{.role = "user", .content = request.prompt, .images = request.images};
    append_message(out, user);
    if (!request.suffix.empty()) out += "<|suffix|>" + request.suffix;
    return out + "<|end|>\n<|assistant|>\n";
  }
  for (std::size_t i = 0; i < request.messages.size(); ++i) {
    const bool open = i + 1 == request.messages.size() && request.messages[i].role == "assistant";
    append_message(out, request.messages[i]);
    if (open) return out;
    out += "<|end|>\n";
  }
  return out + "<|assistant|>\n";
}

}  // namespace sollol::sim

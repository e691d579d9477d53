#include "sim/answer.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/ascii.h"
#include "sim/go_json.h"
#include "sim/hash.h"
#include "sim/structured.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

constexpr std::size_t word_length_min = 4;  // of a part of a tool's name that calls for the tool

/// Whether the message asks for a tool: it has the tool's name, or a word of it ("weather" for
/// get_weather).
bool asks_for(std::string_view message, std::string_view tool) {
  if (message.contains(tool)) return true;
  while (!tool.empty()) {
    const auto end = std::min(tool.find_first_of("_-."), tool.size());
    const auto word = tool.substr(0, end);
    if (word.size() >= word_length_min && message.contains(word)) return true;
    tool.remove_prefix(std::min(end + 1, tool.size()));
  }
  return false;
}

std::vector<ToolCall> tool_calls_for(const Generation& request, std::uint64_t seed) {
  if (request.messages.empty() || request.messages.back().role != "user") return {};
  const auto message = lower(request.messages.back().content);
  for (const auto& item : request.tools) {
    const auto* tool = item.if_object();
    const auto* function = tool == nullptr ? nullptr : tool->if_contains("function");
    if (function == nullptr || !function->is_object()) continue;
    const auto* name = function->get_object().if_contains("name");
    if (name == nullptr || !name->is_string() || !asks_for(message, lower(name->get_string())))
      continue;
    const auto* parameters = function->get_object().if_contains("parameters");
    auto arguments =
        parameters == nullptr ? json::value(json::object{}) : answer_schema(*parameters, seed);
    return {{fmt::format("call_{:08x}", static_cast<std::uint32_t>(mix(seed))),
             std::string(name->get_string()),
             arguments.is_object() ? arguments.get_object() : json::object{}}};
  }
  return {};
}

/// The seed counts unless the answer is greedy.
std::uint64_t effective_seed(const Generation& request) {
  return request.temperature == 0
             ? 0
             : static_cast<std::uint64_t>(std::max<std::int64_t>(request.seed, 0));
}

/// The beginning of the answer that the caller gave: the content of a final assistant message.
const ChatMessage* prefix_of(const Generation& request) {
  const bool given = !request.messages.empty() && request.messages.back().role == "assistant" &&
                     request.messages.back().tool_calls.empty();
  return given ? &request.messages.back() : nullptr;
}

}  // namespace

Answer::Answer(const Generation& request, const Manifest& model, std::string_view rendered,
               std::uint32_t num_ctx)
    : stops_(request.stop) {
  const auto limit = std::uint64_t{num_ctx} * 10;
  tokens_max_ = request.num_predict < 0
                    ? limit
                    : std::min(limit, static_cast<std::uint64_t>(request.num_predict));
  const auto seed = effective_seed(request);
  const auto* prefix = prefix_of(request);
  const auto begun = prefix == nullptr ? std::string_view{} : std::string_view(prefix->content);
  const auto before = rendered.substr(0, rendered.size() - std::min(rendered.size(), begun.size()));
  const auto blob = std::string_view(model.spec.blob);
  // The content never depends on the thinking, so that both can be continued.
  if (model.can("thinking") && request.think != Think::off && begun.empty()) {
    thinking_.emplace(
        blob, seed, model.spec.answer_tokens / 2,
        std::string(before) + "<think>\n" + (prefix == nullptr ? "" : prefix->thinking));
  }
  const auto choice = mix(hash_text(before, hash_text(blob)) ^ mix(seed));
  tool_calls_ = tool_calls_for(request, choice);
  if (!tool_calls_.empty()) {
    for (const auto& call : tool_calls_)
      std::ranges::move(split_tokens(call.name + to_json(call.arguments)),
                        std::back_inserter(scripted_));
  } else if (!request.format.is_null()) {
    auto text = to_json(request.format.is_object() ? answer_schema(request.format, choice)
                                                   : json::value(any_object(choice)));
    if (text.starts_with(begun)) text.erase(0, begun.size());
    std::ranges::move(split_tokens(text), std::back_inserter(scripted_));
  } else {
    content_.emplace(blob, seed, model.spec.answer_tokens, rendered);
  }
}

std::optional<Piece> Answer::next() {
  const bool over = !thinking_ && !content_ && scripted_.empty();
  if (!over && tokens_ >= tokens_max_) {
    done_reason_ = "length";
    return std::nullopt;
  }
  if (thinking_) {
    if (auto token = thinking_->next()) {
      ++tokens_;
      return Piece{.thinking = std::move(*token)};
    }
    thinking_.reset();
  }
  if (!tool_calls_.empty() || !content_) return next_scripted();
  auto token = content_->next();
  if (!token) return std::nullopt;
  ++tokens_;
  text_ += *token;
  auto shown = stops_.push(*token);
  if (shown.stopped) content_.reset();  // and nothing is scripted: the answer is over
  return Piece{.content = std::move(shown.text)};
}

std::optional<Piece> Answer::next_scripted() {
  if (scripted_.empty()) return std::nullopt;
  auto token = std::move(scripted_.front());
  scripted_.pop_front();
  ++tokens_;
  text_ += token;
  if (tool_calls_.empty()) {
    auto shown = stops_.push(token);
    if (shown.stopped) scripted_.clear();
    return Piece{.content = std::move(shown.text)};
  }
  if (!scripted_.empty()) return Piece{};
  return Piece{.tool_calls = std::exchange(tool_calls_, {})};
}

}  // namespace sollol::sim

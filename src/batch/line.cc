#include "batch/line.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "api/intent.h"
#include "api/json_edit.h"
#include "api/json_scan.h"
#include "api/json_text.h"
#include "api/model_name.h"

namespace sollol::batch {

using api::Operation;

namespace {

constexpr double bytes_per_token = 4;

/// Fields of OpenAI's requests that Ollama's do not have at their top level.
constexpr std::array<std::string_view, 18> openai_fields = {"max_tokens",
                                                            "max_completion_tokens",
                                                            "temperature",
                                                            "top_p",
                                                            "n",
                                                            "stop",
                                                            "seed",
                                                            "presence_penalty",
                                                            "frequency_penalty",
                                                            "response_format",
                                                            "user",
                                                            "logit_bias",
                                                            "encoding_format",
                                                            "stream_options",
                                                            "tool_choice",
                                                            "reasoning_effort",
                                                            "metadata",
                                                            "store"};

struct Endpoint {
  std::string_view path;
  Operation operation;
};
constexpr std::array<Endpoint, 9> endpoints = {
    {{"/api/generate", Operation::generate},
     {"/api/chat", Operation::chat},
     {"/api/embed", Operation::embed},
     {"/api/embeddings", Operation::embeddings},
     {"/v1/chat/completions", Operation::chat_completions},
     {"/v1/completions", Operation::completions},
     {"/v1/embeddings", Operation::openai_embeddings},
     {"/v1/responses", Operation::responses},
     {"/v1/messages", Operation::messages}}};

Operation operation_of(std::string_view path) noexcept {
  const auto found = std::ranges::find(endpoints, path, &Endpoint::path);
  return found == endpoints.end() ? Operation::none : found->operation;
}

std::string known_endpoints() {
  std::string text;
  for (const Endpoint& one : endpoints) {
    if (!text.empty()) text += ", ";
    text += one.path;
  }
  return text;
}

bool has(std::string_view object, std::string_view key) {
  return !api::json_field(object, key).empty();
}

/// A chat whose content is a list of pieces is OpenAI's.
bool content_in_pieces(std::string_view messages) {
  for (api::JsonScan message(messages); message.next();) {
    if (api::json_field(message.value(), "content").starts_with('[')) return true;
  }
  return false;
}

Result<std::string_view> endpoint_by_fields(std::string_view body) {
  const bool openai =
      std::ranges::any_of(openai_fields, [&](std::string_view key) { return has(body, key); });
  if (has(body, "messages")) {
    const bool pieces = content_in_pieces(api::json_field(body, "messages"));
    return openai || pieces ? "/v1/chat/completions" : "/api/chat";
  }
  if (has(body, "input")) return openai ? "/v1/embeddings" : "/api/embed";
  if (has(body, "prompt")) return openai ? "/v1/completions" : "/api/generate";
  return std::unexpected(
      bad_input("messages, prompt or input: one of them says what is asked; write one, or "
                "custom_id, method, url and body"));
}

/// What asks an Operation not to stream; empty where it never does.
bool streams(Operation operation) noexcept {
  return operation != Operation::embed && operation != Operation::embeddings &&
         operation != Operation::openai_embeddings;
}

std::size_t listed_inputs(std::string_view body) {
  const std::string_view input = api::json_field(body, "input");
  if (!input.starts_with('[')) return 0;
  std::size_t count = 0;
  bool tokens = false;  // [1, 2, 3]: one text as numbers
  for (api::JsonScan item(input); item.next(); ++count) {
    tokens = tokens || (!item.value().starts_with('"') && !item.value().starts_with('['));
  }
  return tokens ? 0 : count;
}

Result<Line> complete(Line line, std::string_view body) {
  line.operation = operation_of(line.target);
  const bool chunked = streams(line.operation);
  line.body = chunked ? api::with_json_fields(body, {{"stream", "false"}}) : std::string(body);
  std::string padded = line.body;
  padded.append(api::json_padding, ' ');
  api::IntentScanner scanner;
  const auto intent =
      scanner.scan(std::string_view(padded).substr(0, line.body.size()), line.operation);
  if (!intent) return std::unexpected(bad_input("body: " + intent.error().detail));
  if (!intent->has_model)
    return std::unexpected(bad_input("model: write the model's name, such as \"llama3.2\""));
  const auto key = api::ModelKey::from(intent->model);
  if (!key)
    return std::unexpected(
        bad_input(fmt::format("model: '{}' is no name of a model", intent->model)));
  line.model = std::string(key->view());
  if (!chunked && line.operation != Operation::embeddings) line.inputs = listed_inputs(line.body);
  const double to_read = static_cast<double>(intent->prompt_bytes) / bytes_per_token;
  double to_write = chunked ? output_tokens_prior : 0;
  if (chunked && intent->num_predict && *intent->num_predict > 0)
    to_write = static_cast<double>(*intent->num_predict);
  if (const auto limit = api::json_unsigned(api::json_field(body, "max_completion_tokens")))
    to_write = static_cast<double>(*limit);
  line.work = to_write + to_read * prompt_token_cost;
  return line;
}

bool is_batch_file(std::string_view text) { return has(text, "custom_id"); }

}  // namespace

Result<Line> parse_line(std::string_view text, std::string_view endpoint) {
  if (text.find_first_not_of(" \t\r") == std::string_view::npos ||
      text[text.find_first_not_of(" \t\r")] != '{')
    return std::unexpected(bad_input("write a JSON object, {\"model\": ...}, in one line"));
  Line line;
  if (!is_batch_file(text)) {
    const Result<std::string_view> path =
        endpoint.empty() ? endpoint_by_fields(text) : Result<std::string_view>(endpoint);
    if (!path) return std::unexpected(path.error());
    line.target = std::string(*path);
    return complete(std::move(line), text);
  }
  line = unreadable_line(text);
  const auto method = api::json_string_value(api::json_field(text, "method"));
  if (method && *method != "POST")
    return std::unexpected(bad_input(fmt::format("method: write \"POST\", not \"{}\"", *method)));
  line.target = api::json_string_value(api::json_field(text, "url")).value_or("");
  if (operation_of(line.target) == Operation::none)
    return std::unexpected(bad_input(fmt::format("url: write one of {}", known_endpoints())));
  const std::string_view body = api::json_field(text, "body");
  if (!body.starts_with('{'))
    return std::unexpected(bad_input("body: write the request as a JSON object"));
  return complete(std::move(line), body);
}

Line unreadable_line(std::string_view text) {
  Line line;
  if (!is_batch_file(text)) return line;
  line.form = LineForm::batch_file;
  line.custom_id = api::json_string(api::json_decoded(api::json_field(text, "custom_id")));
  return line;
}

std::string part_body(const Line& line, std::size_t part) {
  if (line.parts() == 1) return line.body;
  std::string list = "[";
  std::size_t index = 0;
  for (api::JsonScan item(api::json_field(line.body, "input")); item.next(); ++index) {
    if (index / inputs_per_part != part) continue;
    if (list.size() > 1) list += ',';
    list += item.value();
  }
  list += ']';
  return api::with_json_fields(line.body, {{"input", list}});
}

bool is_batch_endpoint(std::string_view path) noexcept {
  return path.empty() || operation_of(path) != Operation::none;
}

std::uint64_t fingerprint(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash;
}

}  // namespace sollol::batch

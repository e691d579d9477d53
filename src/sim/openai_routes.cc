#include <fmt/format.h>

#include <bit>
#include <boost/json/array.hpp>

#include "sim/fields.h"
#include "sim/go_json.h"
#include "sim/inference.h"
#include "sim/model_name.h"
#include "sim/multipart.h"
#include "sim/openai_request.h"
#include "sim/openai_writer.h"
#include "sim/routes.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

using Reader = ApiResult<Generation> (*)(const json::object& body);

Handled complete(Call call, Reader read) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read(*body);
  if (!request) co_return std::unexpected(request.error());
  const auto usage = wants_usage(*body) ? OpenAiWriter::Usage::asked : OpenAiWriter::Usage::none;
  OpenAiWriter writer(*request, usage);
  co_return co_await generate(call, std::move(*request), writer);
}

Handled chat_route(Call call) { return complete(std::move(call), read_openai_chat); }

Handled completions_route(Call call) { return complete(std::move(call), read_openai_completion); }

std::string base64(std::string_view bytes) {
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto at = [&](std::size_t k) {
      return i + k < bytes.size() ? static_cast<unsigned char>(bytes[i + k]) : 0U;
    };
    const auto group = at(0) << 16 | at(1) << 8 | at(2);
    for (std::size_t k = 0; k < 4; ++k)
      out += i + k > bytes.size() ? '=' : digits[group >> (18 - 6 * k) & 63];
  }
  return out;
}

/// Little-endian float32s.
std::string packed(const std::vector<float>& vector) {
  std::string bytes;
  for (const float x : vector) {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    for (int shift = 0; shift < 32; shift += 8) bytes += static_cast<char>(bits >> shift & 255);
  }
  return base64(bytes);
}

void append_vector(std::string& out, const std::vector<float>& vector) {
  char separator = '[';
  for (const float x : vector) {
    out += std::exchange(separator, ',');
    append_json_number(out, x);
  }
  out += ']';
}

ApiResult<EmbedRequest> read_embeddings(const json::object& body) {
  Fields fields(body, "EmbedRequest");
  EmbedRequest out{.model = fields.text("model")};
  const auto* input = fields.raw("input");
  if (input != nullptr && input->is_string()) {
    out.inputs.emplace_back(input->get_string());
  } else if (input != nullptr) {
    out.inputs = fields.texts("input");
  }
  if (out.inputs.empty()) fields.fail(400, "invalid input");
  if (const auto dimensions = fields.number("dimensions"); dimensions && *dimensions > 0) {
    out.dimensions = static_cast<std::uint32_t>(*dimensions);
  }
  if (fields.error()) return std::unexpected(*fields.error());
  return out;
}

Handled embeddings_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read_embeddings(*body);
  if (!request) co_return std::unexpected(request.error());
  Fields fields(*body, "EmbedRequest");
  const auto format = fields.text("encoding_format");
  if (!format.empty() && format != "float" && format != "base64") {
    co_return refuse(
        400, fmt::format(
                 "Invalid value for 'encoding_format' = {}. Supported values: ['float', 'base64'].",
                 format));
  }
  const auto name = request->model;
  const auto done = co_await embed_all(call, std::move(*request));
  if (!done) co_return std::unexpected(done.error());
  std::string out = R"({"object":"list","data":[)";
  for (std::size_t i = 0; i < done->vectors.size(); ++i) {
    out += fmt::format(R"({}{{"object":"embedding","embedding":)", i == 0 ? "" : ",");
    if (format == "base64") {
      out += '"' + packed(done->vectors[i]) + '"';
    } else {
      append_vector(out, done->vectors[i]);
    }
    out += fmt::format(R"(,"index":{}}})", i);
  }
  out += R"(],"model":)";
  append_json_string(out, name);
  out +=
      fmt::format(R"(,"usage":{{"prompt_tokens":{0},"total_tokens":{0}}}}})", done->prompt_tokens);
  co_return co_await reply_text(call, std::move(out));
}

json::object model_entry(std::string_view id, const Manifest& model) {
  const auto name = ModelName::parse(model.name);
  return {{"id", id},
          {"object", "model"},
          {"created", std::chrono::system_clock::to_time_t(model.modified_at)},
          {"owned_by", name ? name->space : ""}};
}

/// A node without models says null, not [].
Handled models_route(Call call) {
  json::array models;
  for (const auto& model : call.node.store.list())
    models.push_back(model_entry(model->name, *model));
  json::object out = {{"object", "list"}, {"data", nullptr}};
  if (!models.empty()) out["data"] = std::move(models);
  co_return co_await reply_json(call, std::move(out));
}

Handled model_route(Call call) {
  const auto name = ModelName::parse(call.parameter);
  if (!name) co_return refuse(400, "invalid model name");
  const auto model = find_model(call, name->display());
  if (!model) co_return std::unexpected(model.error());
  auto out = model_entry(call.parameter, **model);
  co_return co_await reply_json(call, std::move(out));
}

/// A transcription is the text that the model makes of the recording's bytes.
class TranscriptionWriter final : public AnswerWriter {
 public:
  explicit TranscriptionWriter(bool plain) : plain_(plain) {}
  std::string_view stream_type() const override { return sse_type; }
  bool stream() const override { return false; }
  std::string begin(std::uint32_t) override { return {}; }
  std::string piece(const Piece&) override { return {}; }
  std::string last(const Piece&, const Final&) override { return {}; }
  std::string whole(const Piece& all, const Final&) override {
    return plain_ ? all.content : to_json({{"text", all.content}});
  }
  std::string broken(std::string_view) override { return {}; }
  std::string loaded(std::string_view, Duration) override { return {}; }
  std::string rendered(std::string_view) override { return {}; }

 private:
  bool plain_;
};

Handled transcriptions_route(Call call) {
  const auto form = parse_multipart(call.exchange.header("Content-Type"), call.exchange.body());
  if (!form) co_return refuse(400, form.error().detail);
  const auto field = [&](std::string_view name) {
    const auto found = form->find(name);
    return found == form->end() ? std::string{} : found->second;
  };
  if (!form->contains("file")) co_return refuse(400, "missing required field: file");
  Generation request{.call = Generation::Call::chat, .model = field("model"), .stream = false};
  if (request.model.empty()) co_return refuse(400, "model is required");
  const auto model = find_model(call, request.model);
  if (!model) co_return std::unexpected(model.error());
  if (!(*model)->can("audio"))
    co_return refuse(400, fmt::format("\"{}\" does not support audio", request.model));
  const bool plain = field("response_format") == "text";
  request.think = Think::off;
  request.messages.push_back(
      {.role = "user", .content = field("prompt") + field("language"), .images = {field("file")}});
  if (plain) call.exchange.set_type_override("text/plain; charset=utf-8");
  TranscriptionWriter writer(plain);
  co_return co_await generate(call, std::move(request), writer);
}

constexpr auto openai = ErrorForm::openai;
constexpr auto inference = Route::Kind::inference;
constexpr Route routes[] = {
    {"POST", "/v1/chat/completions", chat_route, openai, inference},
    {"POST", "/v1/completions", completions_route, openai, inference},
    {"POST", "/v1/embeddings", embeddings_route, openai, inference},
    {"GET", "/v1/models", models_route, openai},
    {"GET", "/v1/models/:", model_route, openai},
    {"POST", "/v1/audio/transcriptions", transcriptions_route, openai, inference},
};

}  // namespace

std::span<const Route> openai_routes() { return routes; }

}  // namespace sollol::sim

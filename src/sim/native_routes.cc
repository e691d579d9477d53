#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/value_from.hpp>

#include "sim/fields.h"
#include "sim/go_json.h"
#include "sim/inference.h"
#include "sim/model_name.h"
#include "sim/native_writer.h"
#include "sim/routes.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

Handled generate_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read_generate(*body);
  if (!request) co_return std::unexpected(request.error());
  NativeWriter writer(*request);
  co_return co_await generate(call, std::move(*request), writer);
}

Handled chat_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  auto request = read_chat(*body);
  if (!request) co_return std::unexpected(request.error());
  if (request->model.empty()) co_return refuse(400, "model is required");
  NativeWriter writer(*request);
  co_return co_await generate(call, std::move(*request), writer);
}

std::string vector_json(const std::vector<float>& vector) {
  std::string out = "[";
  for (const float x : vector) {
    if (out.size() > 1) out += ',';
    append_json_number(out, x);
  }
  return out + "]";
}

ApiResult<std::vector<std::string>> read_inputs(const json::object& body) {
  const auto* input = body.if_contains("input");
  std::vector<std::string> out;
  if (input == nullptr || input->is_null()) return out;
  if (input->is_string()) {
    if (!input->get_string().empty()) out.emplace_back(input->get_string());
    return out;
  }
  const auto wrong = refuse(400, "invalid input type");
  if (!input->is_array()) return wrong;
  for (const auto& item : input->get_array()) {
    if (!item.is_string()) return wrong;
    out.emplace_back(item.get_string());
  }
  return out;
}

Handled embed_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  Fields fields(*body, "EmbedRequest");
  EmbedRequest request{.model = fields.text("model")};
  request.truncate = fields.flag("truncate", true);
  if (const auto dimensions = fields.number("dimensions"); dimensions && *dimensions > 0) {
    request.dimensions = static_cast<std::uint32_t>(*dimensions);
  }
  if (fields.error()) co_return std::unexpected(*fields.error());
  auto inputs = read_inputs(*body);
  if (!inputs) co_return std::unexpected(inputs.error());
  request.inputs = std::move(*inputs);
  if (const auto options = read_options(*body, request.options); !options)
    co_return std::unexpected(options.error());
  const auto name = request.model;
  const auto done = co_await embed_all(call, std::move(request));
  if (!done) co_return std::unexpected(done.error());
  std::string out = "{\"model\":";
  append_json_string(out, name);
  out += ",\"embeddings\":[";
  for (const auto& vector : done->vectors)
    out += (out.back() == '[' ? "" : ",") + vector_json(vector);
  out += "]";
  const auto nanoseconds = [](Duration d) {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(d).count();
  };
  if (done->total.count() != 0)
    out += fmt::format(",\"total_duration\":{}", nanoseconds(done->total));
  if (done->load.count() != 0) out += fmt::format(",\"load_duration\":{}", nanoseconds(done->load));
  if (done->prompt_tokens != 0)
    out += fmt::format(",\"prompt_eval_count\":{}", done->prompt_tokens);
  out += "}";
  co_return co_await reply_text(call, std::move(out));
}

Handled embeddings_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  Fields fields(*body, "EmbeddingRequest");
  EmbedRequest request{.model = fields.text("model")};
  if (auto prompt = fields.text("prompt"); !prompt.empty())
    request.inputs.push_back(std::move(prompt));
  if (fields.error()) co_return std::unexpected(*fields.error());
  if (request.model.empty()) co_return refuse(400, "model is required");
  // The one route that minds the case of a name.
  const auto model = call.node.store.find(request.model);
  if (model && ModelName::parse(request.model)->display() != model->name) {
    co_return refuse(404,
                     fmt::format("model \"{}\" not found, try pulling it first", request.model));
  }
  if (const auto options = read_options(*body, request.options); !options)
    co_return std::unexpected(options.error());
  const auto done = co_await embed_all(call, std::move(request));
  if (!done) co_return std::unexpected(done.error());
  auto out = fmt::format("{{\"embedding\":{}}}",
                         done->vectors.empty() ? "[]" : vector_json(done->vectors[0]));
  co_return co_await reply_text(call, std::move(out));
}

json::object entry(const Node& node, const Manifest& model) {
  return {{"name", model.name},
          {"model", model.name},
          {"modified_at", go_timestamp(model.modified_at, node.spec.utc_offset_minutes)},
          {"size", model.spec.size_bytes},
          {"digest", model.spec.digest},
          {"details", model_details(model)},
          {"capabilities", json::value_from(model.spec.capabilities)}};
}

Handled tags_route(Call call) {
  json::array models;
  for (const auto& model : call.node.store.list()) models.push_back(entry(call.node, *model));
  json::object out = {{"models", std::move(models)}};
  co_return co_await reply_json(call, std::move(out));
}

/// Never: about 292 years ahead, what Go's longest duration gives.
std::string expiry_text(const Node& node, TimePoint expires_at) {
  const auto offset = node.spec.utc_offset_minutes;
  if (expires_at != TimePoint::max()) return go_timestamp(node.clock.wall(expires_at), offset);
  auto text = go_timestamp(std::chrono::system_clock::now(), offset);
  text.replace(0, 4, std::to_string(std::stoi(text.substr(0, 4)) + 292));
  if (text.substr(5, 5) == "02-29") text.replace(8, 2, "28");
  return text;
}

Handled ps_route(Call call) {
  const auto& clock = call.node.clock;
  json::array models;
  for (const auto& runner : call.live->model().runners(clock.now())) {
    models.push_back({{"name", runner.model->name},
                      {"model", runner.model->name},
                      {"size", runner.bytes},
                      {"digest", runner.model->spec.digest},
                      {"details", model_details(*runner.model)},
                      {"expires_at", expiry_text(call.node, runner.expires_at)},
                      {"size_vram", runner.device_bytes},
                      {"context_length", runner.num_ctx}});
  }
  json::object out = {{"models", std::move(models)}};
  co_return co_await reply_json(call, std::move(out));
}

Handled show_route(Call call) {
  const auto body = read_json(call);
  if (!body) co_return std::unexpected(body.error());
  Fields fields(*body, "ShowRequest");
  auto name = fields.text("model");
  if (name.empty()) name = fields.text("name");
  const auto verbosity = fields.flag("verbose", false) ? Verbosity::verbose : Verbosity::brief;
  const auto system = fields.text("system");
  if (fields.error()) co_return std::unexpected(*fields.error());
  if (name.empty()) co_return refuse(400, "model is required");
  const auto parsed = ModelName::parse(name);
  if (!parsed) co_return refuse(400, "invalid model name");
  const auto model = find_model(call, parsed->display());
  if (!model) co_return std::unexpected(model.error());
  const auto& m = **model;
  json::object out = {{"modelfile", modelfile(m)}};
  if (const auto text = parameters_text(m); !text.empty()) out["parameters"] = text;
  out["template"] = "{{ .Prompt }}";
  if (!system.empty() || !m.spec.system.empty())
    out["system"] = system.empty() ? m.spec.system : system;
  out["details"] = model_details(m);
  out["model_info"] = model_info(m, verbosity);
  out["tensors"] = model_tensors(m);
  out["capabilities"] = json::value_from(m.spec.capabilities);
  out["modified_at"] = go_timestamp(m.modified_at, call.node.spec.utc_offset_minutes);
  co_return co_await reply_json(call, std::move(out));
}

Handled root_route(Call call) {
  std::string text = "Ollama is running";
  co_await call.exchange.reply(200, "text/plain; charset=utf-8", std::move(text));
  co_return ApiResult<void>{};
}

Handled version_route(Call call) {
  json::object out = {{"version", call.node.spec.version}};
  co_return co_await reply_json(call, std::move(out));
}

Handled status_route(Call call) {
  std::string out = R"({"cloud":{"disabled":false,"source":"none"}})";
  co_return co_await reply_text(call, std::move(out));
}

/// What needs an account: a simulated node has none.
Handled unauthorized_route(Call call) {
  std::string out = R"({"error":"unauthorized","signin_url":"https://ollama.com/connect"})";
  co_await call.exchange.reply(401, json_type, std::move(out));
  co_return ApiResult<void>{};
}

Handled null_route(Call call) {
  std::string out = "null";
  co_return co_await reply_text(call, std::move(out));
}

Handled recommendations_route(Call call) {
  std::string out = R"({"recommendations":[]})";
  co_return co_await reply_text(call, std::move(out));
}

constexpr auto inference = Route::Kind::inference;
constexpr auto native = ErrorForm::native;
constexpr Route routes[] = {
    {"HEAD", "/", root_route},
    {"GET", "/", root_route},
    {"HEAD", "/api/version", version_route},
    {"GET", "/api/version", version_route},
    {"GET", "/api/status", status_route},
    {"HEAD", "/api/tags", tags_route},
    {"GET", "/api/tags", tags_route},
    {"GET", "/api/ps", ps_route},
    {"POST", "/api/show", show_route},
    {"POST", "/api/generate", generate_route, native, inference},
    {"POST", "/api/chat", chat_route, native, inference},
    {"POST", "/api/embed", embed_route, native, inference},
    {"POST", "/api/embeddings", embeddings_route, native, inference},
    {"POST", "/api/me", unauthorized_route},
    {"POST", "/api/signout", null_route},
    {"DELETE", "/api/user/keys/:", null_route},
    {"POST", "/api/experimental/web_search", unauthorized_route},
    {"POST", "/api/experimental/web_fetch", unauthorized_route},
    {"GET", "/api/experimental/model-recommendations", recommendations_route},
};

}  // namespace

std::span<const Route> native_routes() { return routes; }

}  // namespace sollol::sim

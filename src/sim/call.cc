#include "sim/call.h"

#include <fmt/format.h>

#include <boost/json/object.hpp>

#include "sim/go_json.h"
#include "sim/hash.h"
#include "sim/model_name.h"

namespace sollol::sim {
namespace json = boost::json;

namespace {

std::string_view openai_type(int status) {
  return status == 400 ? "invalid_request_error" : status == 404 ? "not_found_error" : "api_error";
}

std::string_view anthropic_type(int status) {
  switch (status) {
    case 400:
      return "invalid_request_error";
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    case 503:
    case 529:
      return "overloaded_error";
    default:
      return "api_error";
  }
}

}  // namespace

std::string error_body(ErrorForm form, int status, std::string_view text) {
  switch (form) {
    case ErrorForm::native:
      return to_json({{"error", text}});
    case ErrorForm::openai:
      return to_json({{"error",
                       {{"message", text},
                        {"type", openai_type(status)},
                        {"param", nullptr},
                        {"code", nullptr}}}});
    case ErrorForm::anthropic:
      break;
  }
  return to_json({{"type", "error"},
                  {"error", {{"type", anthropic_type(status)}, {"message", text}}},
                  {"request_id", fmt::format("req_{:016x}", mix(hash_text(text)))}});
}

Handled reply_text(Call call, std::string json) {
  co_await call.exchange.reply(200, json_type, std::move(json));
  co_return ApiResult<void>{};
}

Handled reply_json(Call call, json::value body) {
  auto text = to_json(body);
  co_return co_await reply_text(call, std::move(text));
}

Handled reply_empty(Call call, int status) {
  co_await call.exchange.reply(status, "", {});
  co_return ApiResult<void>{};
}

ApiResult<json::object> read_json(const Call& call) {
  const auto& body = call.exchange.body();
  if (body.find_first_not_of(" \t\r\n") == std::string::npos)
    return refuse(400, "missing request body");
  auto value = parse_json(body);
  if (!value) return refuse(400, value.error().detail);
  if (auto* object = value->if_object()) return std::move(*object);
  if (value->is_null()) return json::object{};
  return refuse(400, "json: cannot unmarshal " +
                         std::string(value->is_string()  ? "string"
                                     : value->is_array() ? "array"
                                     : value->is_bool()  ? "bool"
                                                         : "number") +
                         " into Go value of type api.Request");
}

ApiResult<ManifestPtr> find_model(const Call& call, std::string_view name) {
  const auto source = split_source(name);
  if (source.conflict) {
    return refuse(400, fmt::format("use either :local or :cloud, not both: \"{}\"", name));
  }
  if (!name.empty() && !ModelName::parse(source.name)) return refuse(400, "invalid model name");
  auto model = call.node.store.find(source.name);
  if (!model) return refuse(404, fmt::format("model '{}' not found", name));
  return model;
}

}  // namespace sollol::sim

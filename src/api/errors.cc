#include "api/errors.h"

#include <fmt/format.h>

#include "api/json_scan.h"
#include "api/json_text.h"
#include "api/model_name.h"

namespace sollol::api {
namespace {

std::string_view openai_type(int status) {
  switch (status) {
    case 400:
      return "invalid_request_error";
    case 404:
      return "not_found_error";
    default:
      return "api_error";
  }
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

std::string anthropic_body(int status, std::string_view message, std::string_view request_id) {
  std::string body =
      fmt::format(R"({{"type":"error","error":{{"type":"{}","message":)", anthropic_type(status));
  append_json_string(body, message, JsonEscape::html);
  body += '}';
  if (!request_id.empty()) {
    body += R"(,"request_id":)";
    append_json_string(body, request_id.starts_with("req_") ? std::string(request_id)
                                                            : fmt::format("req_{}", request_id));
  }
  return body += '}';
}

}  // namespace

Reply error_reply(Dialect dialect, int status, std::string_view message,
                  std::string_view request_id) {
  const auto text = json_string(message, JsonEscape::html);
  switch (dialect) {
    case Dialect::native:
      return {status, json_content_type, fmt::format(R"({{"error":{}}})", text)};
    case Dialect::openai:
      return {status, json_content_type,
              fmt::format(R"({{"error":{{"message":{},"type":"{}","param":null,"code":null}}}})",
                          text, openai_type(status))};
    case Dialect::anthropic:
      break;
  }
  return {status, json_content_type, anthropic_body(status, message, request_id)};
}

std::string error_message(std::string_view body) {
  const auto error = json_field(body, "error");
  const auto message = json_field(error, "message");
  std::string text = json_decoded(message.empty() ? error : message);
  return text.empty() ? std::string(body) : text;
}

Reply translated_error(Dialect dialect, int status, std::string_view native_body,
                       std::string_view request_id) {
  if (dialect == Dialect::native && native_body.starts_with('{'))
    return {status, json_content_type, std::string(native_body)};
  return error_reply(dialect, status, error_message(native_body), request_id);
}

Reply model_not_found(Operation operation, std::string_view model_as_written,
                      std::string_view request_id) {
  std::string message;
  switch (operation) {
    case Operation::embed:
    case Operation::embeddings:
    case Operation::openai_embeddings:
      message = fmt::format("model \"{}\" not found, try pulling it first", model_as_written);
      break;
    case Operation::copy:
      message = fmt::format("model \"{}\" not found", model_as_written);
      break;
    case Operation::show:
    case Operation::model:
      message = fmt::format("model '{}' not found", canonical_name(model_as_written));
      break;
    default:
      message = fmt::format("model '{}' not found", model_as_written);
      break;
  }
  return error_reply(dialect_of(operation), 404, message, request_id);
}

Reply missing_model(Operation operation, std::string_view request_id) {
  const auto dialect = dialect_of(operation);
  switch (operation) {
    case Operation::generate:
    case Operation::completions:
    case Operation::embed:
    case Operation::openai_embeddings:
      return error_reply(dialect, 404, "model '' not found", request_id);
    case Operation::pull:
    case Operation::create:
    case Operation::copy:
    case Operation::remove:
      return error_reply(dialect, 400, "invalid model name", request_id);
    default:
      return error_reply(dialect, 400, "model is required", request_id);
  }
}

Reply invalid_model(Operation operation, std::string_view model_as_written,
                    std::string_view request_id) {
  const auto message =
      has_conflicting_source(model_as_written)
          ? fmt::format("use either :local or :cloud, not both: \"{}\"", model_as_written)
          : std::string("invalid model name");
  return error_reply(dialect_of(operation), 400, message, request_id);
}

Reply plain_404() { return {404, text_content_type, "404 page not found"}; }
Reply plain_405() { return {405, text_content_type, "405 method not allowed"}; }

}  // namespace sollol::api

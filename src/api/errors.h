#pragma once

#include <string>
#include <string_view>

#include "api/routes.h"

namespace sollol::api {

inline constexpr std::string_view json_content_type = "application/json; charset=utf-8";
inline constexpr std::string_view text_content_type = "text/plain";
inline constexpr std::string_view ndjson_content_type = "application/x-ndjson";
inline constexpr std::string_view sse_content_type = "text/event-stream";

/// A whole answer, ready to be framed.
struct Reply {
  int status = 200;
  std::string_view content_type = json_content_type;
  std::string body;
};

/// An error in the caller's form. Only Anthropic's has a `request_id`; it gets the prefix "req_" if
/// it lacks it, and is left out when empty.
/// Source: reference/ollama-api.md §9, §10, §11.
Reply error_reply(Dialect dialect, int status, std::string_view message,
                  std::string_view request_id = {});

/// A node's native error body in the caller's form; native ones stay as they are.
Reply translated_error(Dialect dialect, int status, std::string_view native_body,
                       std::string_view request_id = {});

/// The text of an error body of any of the APIs; the body itself when it is none.
std::string error_message(std::string_view body);

/// The 404 for a model that no node has, in the words that Ollama has for this operation.
Reply model_not_found(Operation operation, std::string_view model_as_written,
                      std::string_view request_id = {});

/// The answer to a request that names no model.
Reply missing_model(Operation operation, std::string_view request_id = {});

/// The answer to a name that `ModelKey::from` refuses.
Reply invalid_model(Operation operation, std::string_view model_as_written,
                    std::string_view request_id = {});

Reply plain_404();
Reply plain_405();

}  // namespace sollol::api

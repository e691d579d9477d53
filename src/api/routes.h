#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace sollol::api {

/// Whose error form and stream form the caller speaks.
enum class Dialect : std::uint8_t { native, openai, anthropic };

/// What a gateway does with a request.
enum class RouteClass : std::uint8_t {
  inference,     // to one chosen node
  aggregate,     // asked of all nodes, answered from what is known of them
  node_state,    // changes a node: targeted or fanned out
  local,         // answered by the gateway itself
  cloud,         // needs a node that is signed in to Ollama's cloud
  unknown_path,  // 404
  wrong_method,  // 405
};

enum class Operation : std::uint8_t {
  root,
  version,
  status,
  tags,
  ps,
  show,
  generate,
  chat,
  embed,
  embeddings,
  pull,
  push,
  create,
  copy,
  remove,
  blob_check,
  blob_upload,
  chat_completions,
  completions,
  openai_embeddings,
  responses,
  transcriptions,
  models,
  model,
  messages,
  me,
  signout,
  delete_key,
  web_search,
  web_fetch,
  recommendations,
  none,
};

struct Route {
  Operation operation = Operation::none;
  RouteClass route_class = RouteClass::unknown_path;
  Dialect dialect = Dialect::native;
  std::string_view
      parameter;  // the digest, model or key segment, still percent-encoded; points into the path
};

/// The route of a request. `path` comes without its query. Allocates nothing; any thread.
/// Paths are exact, as in Ollama: no trailing slash, case matters. HEAD is a GET only where Ollama
/// registers it. Source: reference/ollama-api.md §2.
Route match_route(std::string_view method, std::string_view path) noexcept;

/// The value of `key` in a query ("a=1&b=2", without the '?'), still percent-encoded; empty when it
/// is not there.
std::string_view query_value(std::string_view query, std::string_view key) noexcept;

/// Percent-decoding of a path segment; a '%' that starts no escape stays. '+' is left alone.
std::string percent_decode(std::string_view encoded);

/// The name of an operation for logs and metrics: "chat", "openai_embeddings".
std::string_view operation_name(Operation operation) noexcept;

/// The dialect of an operation's requests.
Dialect dialect_of(Operation operation) noexcept;

}  // namespace sollol::api

#include "api/routes.h"

#include <array>
#include <utility>

#include "api/ascii.h"

namespace sollol::api {
namespace {

enum class Methods : std::uint8_t { get, get_head, post, del };

struct Entry {
  std::string_view path;
  Methods methods;
  Operation operation;
  RouteClass route_class;
};

using enum RouteClass;
using Op = Operation;

/// The routes asked most often come first.
constexpr std::array exact_routes = {
    Entry{"/api/chat", Methods::post, Op::chat, inference},
    Entry{"/api/generate", Methods::post, Op::generate, inference},
    Entry{"/v1/chat/completions", Methods::post, Op::chat_completions, inference},
    Entry{"/api/embed", Methods::post, Op::embed, inference},
    Entry{"/v1/messages", Methods::post, Op::messages, inference},
    Entry{"/v1/responses", Methods::post, Op::responses, inference},
    Entry{"/v1/completions", Methods::post, Op::completions, inference},
    Entry{"/v1/embeddings", Methods::post, Op::openai_embeddings, inference},
    Entry{"/api/embeddings", Methods::post, Op::embeddings, inference},
    Entry{"/v1/audio/transcriptions", Methods::post, Op::transcriptions, inference},
    Entry{"/api/tags", Methods::get_head, Op::tags, aggregate},
    Entry{"/api/ps", Methods::get, Op::ps, aggregate},
    Entry{"/api/show", Methods::post, Op::show, aggregate},
    Entry{"/v1/models", Methods::get, Op::models, aggregate},
    Entry{"/", Methods::get_head, Op::root, local},
    Entry{"/api/version", Methods::get_head, Op::version, local},
    Entry{"/api/pull", Methods::post, Op::pull, node_state},
    Entry{"/api/push", Methods::post, Op::push, node_state},
    Entry{"/api/create", Methods::post, Op::create, node_state},
    Entry{"/api/copy", Methods::post, Op::copy, node_state},
    Entry{"/api/delete", Methods::del, Op::remove, node_state},
    Entry{"/api/status", Methods::get, Op::status, cloud},
    Entry{"/api/me", Methods::post, Op::me, cloud},
    Entry{"/api/signout", Methods::post, Op::signout, cloud},
    Entry{"/api/experimental/web_search", Methods::post, Op::web_search, cloud},
    Entry{"/api/experimental/web_fetch", Methods::post, Op::web_fetch, cloud},
    Entry{"/api/experimental/model-recommendations", Methods::get, Op::recommendations, local},
};

bool allows(Methods methods, std::string_view method) noexcept {
  switch (methods) {
    case Methods::get:
      return method == "GET";
    case Methods::get_head:
      return method == "GET" || method == "HEAD";
    case Methods::post:
      return method == "POST";
    case Methods::del:
      return method == "DELETE";
  }
  return false;
}

Route wrong_method_route(Dialect dialect) noexcept { return {Op::none, wrong_method, dialect, {}}; }

/// The last segment of a path that starts with `prefix`; empty when there is none, or more than
/// one. An escaped slash counts as one, because Ollama matches the decoded path.
std::string_view segment_after(std::string_view path, std::string_view prefix) noexcept {
  if (!path.starts_with(prefix)) return {};
  path.remove_prefix(prefix.size());
  const bool more = path.contains('/') || path.contains("%2f") || path.contains("%2F");
  return more ? std::string_view{} : path;
}

Route match_parameter_route(std::string_view method, std::string_view path) noexcept {
  if (const auto digest = segment_after(path, "/api/blobs/"); !digest.empty()) {
    if (method == "HEAD") return {Op::blob_check, node_state, Dialect::native, digest};
    if (method == "POST") return {Op::blob_upload, node_state, Dialect::native, digest};
    return wrong_method_route(Dialect::native);
  }
  if (const auto name = segment_after(path, "/v1/models/"); !name.empty()) {
    if (method == "GET") return {Op::model, aggregate, Dialect::openai, name};
    return wrong_method_route(Dialect::openai);
  }
  if (const auto key = segment_after(path, "/api/user/keys/"); !key.empty()) {
    if (method == "DELETE") return {Op::delete_key, cloud, Dialect::native, key};
    return wrong_method_route(Dialect::native);
  }
  return {};
}

int hex_digit(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = ascii_lower(c);
  return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

}  // namespace

Route match_route(std::string_view method, std::string_view path) noexcept {
  for (const auto& entry : exact_routes) {
    if (entry.path != path) continue;
    const auto dialect = dialect_of(entry.operation);
    if (!allows(entry.methods, method)) return wrong_method_route(dialect);
    return {entry.operation, entry.route_class, dialect, {}};
  }
  return match_parameter_route(method, path);
}

Dialect dialect_of(Operation operation) noexcept {
  switch (operation) {
    case Op::chat_completions:
    case Op::completions:
    case Op::openai_embeddings:
    case Op::responses:
    case Op::transcriptions:
    case Op::models:
    case Op::model:
      return Dialect::openai;
    case Op::messages:
      return Dialect::anthropic;
    default:
      return Dialect::native;
  }
}

std::string_view query_value(std::string_view query, std::string_view key) noexcept {
  while (!query.empty()) {
    const auto end = query.find('&');
    const auto pair = query.substr(0, end);
    const auto equals = pair.find('=');
    if (pair.substr(0, equals) == key) {
      return equals == std::string_view::npos ? std::string_view{} : pair.substr(equals + 1);
    }
    query = end == std::string_view::npos ? std::string_view{} : query.substr(end + 1);
  }
  return {};
}

std::string percent_decode(std::string_view encoded) {
  std::string out;
  out.reserve(encoded.size());
  for (std::size_t i = 0; i < encoded.size(); ++i) {
    const bool escape = encoded[i] == '%' && i + 2 < encoded.size();
    const int high = escape ? hex_digit(encoded[i + 1]) : -1;
    const int low = escape ? hex_digit(encoded[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out += encoded[i];
      continue;
    }
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::string_view operation_name(Operation operation) noexcept {
  constexpr std::array<std::string_view, std::to_underlying(Op::none) + 1> names = {
      "root",
      "version",
      "status",
      "tags",
      "ps",
      "show",
      "generate",
      "chat",
      "embed",
      "embeddings",
      "pull",
      "push",
      "create",
      "copy",
      "remove",
      "blob_check",
      "blob_upload",
      "chat_completions",
      "completions",
      "openai_embeddings",
      "responses",
      "transcriptions",
      "models",
      "model",
      "messages",
      "me",
      "signout",
      "delete_key",
      "web_search",
      "web_fetch",
      "recommendations",
      "none"};
  return names[std::to_underlying(operation)];
}

}  // namespace sollol::api

#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "sim/manifest.h"
#include "sim/node_model.h"

namespace sollol::sim {

/// An answer other than 200: the text is put into the form of the caller's API.
struct ApiError {
  int status;
  std::string text{};
};
template <class T>
using ApiResult = std::expected<T, ApiError>;

inline std::unexpected<ApiError> refuse(int status, std::string text) {
  return std::unexpected(ApiError{status, std::move(text)});
}

struct ToolCall {
  std::string id{};
  std::string name{};
  boost::json::object arguments{};
};

struct ChatMessage {
  std::string role{};
  std::string content{};
  std::string thinking{};
  std::string tool_name{};
  std::vector<ToolCall> tool_calls{};
  std::vector<std::string> images{};  // base64
};

enum class Think : std::uint8_t { unset, off, on };

/// A request for text, in no API's form. Absent fields are the API's defaults.
struct Generation {
  enum class Call : std::uint8_t { generate, chat } call = Call::generate;
  std::string model{};  // as the caller spelt it
  std::string prompt{}, suffix{}, system{}, template_text{};
  std::vector<std::string> images{};
  boost::json::array context{};
  std::vector<ChatMessage> messages{};
  boost::json::array tools{};
  boost::json::value format{};  // null, "json" or a schema
  Think think = Think::unset;
  bool stream = true;
  bool raw = false;
  bool truncate = true;
  bool render_only = false;
  bool logprobs = false;
  int top_logprobs = 0;
  std::optional<Duration> keep_alive{};
  RunnerOptions runner{};
  std::int64_t num_predict = -1;
  std::int64_t seed = -1;
  double temperature = 0.8;
  std::vector<std::string> stop{};

  bool empty() const { return call == Call::chat ? messages.empty() : prompt.empty(); }
};

/// The body of `/api/generate` and of `/api/chat`; errors as Ollama words them.
ApiResult<Generation> read_generate(const boost::json::value& body);
ApiResult<Generation> read_chat(const boost::json::value& body);

/// The fields that every native inference route takes: `options` and `keep_alive`.
ApiResult<void> read_options(const boost::json::object& body, Generation& into);

/// Whether the model can do what is asked; the text names what it lacks.
ApiResult<void> check_capabilities(const Generation& request, const Manifest& model);

/// What the model reads: system, messages and tools between role marks, the last assistant message
/// left open.
std::string render(const Generation& request, const Manifest& model);

}  // namespace sollol::sim

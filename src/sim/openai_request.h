#pragma once

#include <boost/json/object.hpp>

#include "sim/generation.h"

namespace sollol::sim {

/// Requests of OpenAI's and Anthropic's APIs as Ollama's own handlers get them. Errors have the
/// status and text that go into the caller's error form.
ApiResult<Generation> read_openai_chat(const boost::json::object& body);
ApiResult<Generation> read_openai_completion(const boost::json::object& body);
ApiResult<Generation> read_responses(const boost::json::object& body);
ApiResult<Generation> read_anthropic(const boost::json::object& body);

/// Whether `stream_options.include_usage` is set.
bool wants_usage(const boost::json::object& body);

}  // namespace sollol::sim

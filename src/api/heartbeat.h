#pragma once

#include <string>
#include <string_view>

#include "api/stream_watch.h"
#include "base/time.h"

namespace sollol::api {

/// A whole record that says nothing, for a stream whose first token takes long: clients and what
/// lies between them and us give up on silence. Empty where the operation has no such record.
///
/// Ollama's streams get an empty piece of answer, since a blank line breaks their clients; OpenAI's
/// get a comment and Anthropic's a ping, which their SDKs drop before they look at the order of
/// events. Source: reference/ollama-api.md §12, §18.
std::string heartbeat_record(Operation operation, std::string_view model_as_written, WallTime now);

/// The content type of a stream of this form. Empty for `opaque`.
std::string_view stream_content_type(StreamForm form) noexcept;

/// An error answer (a node's, or ours) as the record that ends a stream whose head is out already.
/// What the body says beyond its message is kept where it is an error of the same API.
std::string refusal_record(StreamForm form, int status, std::string_view body);

}  // namespace sollol::api

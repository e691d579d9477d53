#pragma once

#include <string>
#include <string_view>

#include "api/routes.h"

namespace sollol::api {

/// A request that loads a model and does nothing else.
struct Preload {
  std::string_view target;  // a path
  std::string body;
};

/// The preload after which `body`, a request of `operation`, finds its model as it wants it: with
/// the same runner options, and with its `keep_alive` unless that one unloads. Routes that carry no
/// options get a preload without any. Reads the body's top level only.
/// Source: reference/ollama-api.md §4, §6, §14.3.
Preload preload_for(Operation operation, std::string_view model_as_written, std::string_view body);

}  // namespace sollol::api

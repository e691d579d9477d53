#include "api/preload.h"

#include <algorithm>

#include "api/ascii.h"
#include "api/intent.h"
#include "api/json_scan.h"
#include "api/json_text.h"

namespace sollol::api {
namespace {

bool is_null(std::string_view value) { return value.empty() || value == "null"; }

/// The runner options among `options`, as an object; empty when there are none.
std::string runner_options_of(std::string_view options) {
  std::string out;
  for (JsonScan scan(options); scan.next();) {
    if (std::ranges::find(runner_options, scan.key()) == runner_options.end()) continue;
    if (is_null(scan.value())) continue;
    out += out.empty() ? "{\"" : ",\"";
    out.append(scan.key()).append("\":").append(scan.value());
  }
  if (!out.empty()) out += '}';
  return out;
}

/// "0", "0s", 0, 0.0: the request that comes after the load unloads; a preload must not.
bool unloads(std::string_view keep_alive) {
  return keep_alive.find_first_of("123456789") == std::string_view::npos;
}

}  // namespace

Preload preload_for(Operation operation, std::string_view model_as_written, std::string_view body) {
  const bool embeds = operation == Operation::embed || operation == Operation::embeddings ||
                      operation == Operation::openai_embeddings;
  const bool native = dialect_of(operation) == Dialect::native;
  Preload preload{embeds ? "/api/embed" : "/api/generate", "{\"model\":"};
  append_json_string(preload.body, model_as_written);
  if (embeds) preload.body += ",\"input\":\"\"";
  std::string_view options, keep_alive, shift;
  for (JsonScan scan(native ? body : std::string_view{}); scan.next();) {
    if (equals_any_case(scan.key(), "options")) options = scan.value();
    if (equals_any_case(scan.key(), "keep_alive")) keep_alive = scan.value();
    if (equals_any_case(scan.key(), "shift")) shift = scan.value();
  }
  const auto add = [&preload](std::string_view key, std::string_view value) {
    preload.body.append(",\"").append(key).append("\":").append(value);
  };
  if (const std::string runner = runner_options_of(options); !runner.empty())
    add("options", runner);
  if (!is_null(keep_alive) && !unloads(keep_alive)) add("keep_alive", keep_alive);
  if (!is_null(shift) && !embeds) add("shift", shift);
  if (!embeds) add("stream", "false");
  preload.body += '}';
  return preload;
}

}  // namespace sollol::api

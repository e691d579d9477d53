#include "api/context_pin.h"

#include <fmt/format.h>

#include "api/ascii.h"
#include "api/intent.h"
#include "api/json_edit.h"
#include "api/json_scan.h"

namespace sollol::api {
namespace {

/// Sets every `num_ctx` of an options object; false when it has none.
bool replace_num_ctx(TextEdits& edits, std::string_view options, const std::string& value) {
  bool found = false;
  for (JsonScan scan(options); scan.next();) {
    if (scan.key() != "num_ctx") continue;
    edits.replace(scan.value(), value);
    found = true;
  }
  return found;
}

}  // namespace

std::optional<std::string> with_num_ctx(std::string_view body, std::uint32_t num_ctx) {
  const std::string value = fmt::format("{}", num_ctx);
  const std::string field = fmt::format("\"num_ctx\":{}", value);
  const std::size_t open = body.find('{');
  if (open == std::string_view::npos) return std::nullopt;
  TextEdits edits(body);
  std::string_view last;  // of the options
  bool last_has = false;
  for (JsonScan scan(body); scan.next();) {
    if (!equals_any_case(scan.key(), "options")) continue;
    const bool is_object = scan.value().starts_with('{');
    if (!is_object && scan.value() != "null") return std::nullopt;
    last = scan.value();
    last_has = is_object && replace_num_ctx(edits, last, value);
  }
  if (last.empty()) {
    edits.insert(body.data() + open + 1, fmt::format("\"options\":{{{}}},", field));
  } else if (last == "null") {
    edits.replace(last, fmt::format("{{{}}}", field));
  } else if (!last_has) {
    const bool is_empty = !JsonScan(last).next();
    edits.insert(last.data() + 1, field + (is_empty ? "" : ","));
  }
  std::string out = edits.apply();
  out.reserve(out.size() + json_padding);
  return out;
}

}  // namespace sollol::api

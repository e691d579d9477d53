#include "sim/fields.h"

#include <fmt/format.h>

namespace sollol::sim {
namespace json = boost::json;

std::string_view go_kind(const json::value& value) {
  switch (value.kind()) {
    case json::kind::string:
      return "string";
    case json::kind::bool_:
      return "bool";
    case json::kind::array:
      return "array";
    case json::kind::object:
      return "object";
    case json::kind::null:
      return "null";
    default:
      return "number";
  }
}

const json::value* Fields::raw(std::string_view key) const {
  const auto* found = object_.if_contains(key);
  return found == nullptr || found->is_null() ? nullptr : found;
}

std::string Fields::text(std::string_view key) {
  const auto* value = raw(key);
  if (value == nullptr) return {};
  if (const auto* string = value->if_string()) return std::string(*string);
  mismatch(key, *value, "string");
  return {};
}

bool Fields::flag(std::string_view key, bool fallback) {
  const auto* value = raw(key);
  if (value == nullptr) return fallback;
  if (const auto* flag = value->if_bool()) return *flag;
  mismatch(key, *value, "bool");
  return fallback;
}

std::optional<double> Fields::number(std::string_view key) {
  const auto* value = raw(key);
  if (value == nullptr) return std::nullopt;
  if (value->is_number()) return value->to_number<double>();
  mismatch(key, *value, "float64");
  return std::nullopt;
}

json::array Fields::array(std::string_view key) {
  const auto* value = raw(key);
  if (value == nullptr) return {};
  if (const auto* array = value->if_array()) return *array;
  mismatch(key, *value, fmt::format("[]{}", key));
  return {};
}

json::object Fields::object(std::string_view key) {
  const auto* value = raw(key);
  if (value == nullptr) return {};
  if (const auto* object = value->if_object()) return *object;
  mismatch(key, *value, "map[string]interface {}");
  return {};
}

std::vector<std::string> Fields::texts(std::string_view key) {
  std::vector<std::string> out;
  for (const auto& item : array(key)) {
    if (const auto* string = item.if_string()) {
      out.emplace_back(*string);
    } else {
      mismatch(key, item, "string");
    }
  }
  return out;
}

void Fields::fail(int status, std::string text) {
  if (!error_) error_ = ApiError{status, std::move(text)};
}

void Fields::mismatch(std::string_view key, const json::value& value, std::string_view want) {
  fail(400, fmt::format("json: cannot unmarshal {} into Go struct field {}.{} of type {}",
                        go_kind(value), go_struct_, key, want));
}

}  // namespace sollol::sim

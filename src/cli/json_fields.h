#pragma once

#include <boost/json.hpp>
#include <string>
#include <string_view>

namespace sollol::cli {

/// A field's text; empty where there is none.
inline std::string text_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->as_string()) : std::string();
}

/// A field's number; 0 where there is none.
inline double number_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value == nullptr || !value->is_number() ? 0 : value->to_number<double>();
}

/// A field that is true; false where there is none.
inline bool flag_of(const boost::json::object& object, std::string_view key) {
  const auto* value = object.if_contains(key);
  return value != nullptr && value->is_bool() && value->as_bool();
}

/// The text of an answer's `{"error":…}`, else all of it.
inline std::string error_of(const std::string& body) {
  boost::system::error_code bad;
  const boost::json::value parsed = boost::json::parse(body, bad);
  if (!bad && parsed.is_object()) {
    if (auto text = text_of(parsed.as_object(), "error"); !text.empty()) return text;
  }
  return body;
}

}  // namespace sollol::cli

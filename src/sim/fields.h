#pragma once

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "sim/generation.h"

namespace sollol::sim {

/// Reads the fields of one JSON object as Go's decoder would; remembers the first that has a wrong
/// type. Absent and null fields leave the default.
class Fields {
 public:
  Fields(const boost::json::object& object, std::string_view go_struct)
      : object_(object), go_struct_(go_struct) {}

  std::string text(std::string_view key);
  bool flag(std::string_view key, bool fallback);
  std::optional<double> number(std::string_view key);
  boost::json::array array(std::string_view key);
  boost::json::object object(std::string_view key);
  std::vector<std::string> texts(std::string_view key);
  const boost::json::value* raw(std::string_view key) const;  // null when absent or null

  void fail(int status, std::string text);
  const std::optional<ApiError>& error() const { return error_; }

 private:
  void mismatch(std::string_view key, const boost::json::value& value, std::string_view want);

  const boost::json::object& object_;
  std::string_view go_struct_;
  std::optional<ApiError> error_;
};

/// What Go calls the kind of a JSON value: "string", "number", "bool", "array", "object".
std::string_view go_kind(const boost::json::value& value);

}  // namespace sollol::sim

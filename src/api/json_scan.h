#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::api {

/// Walks the fields of a JSON object, or the elements of an array, without parsing what is inside
/// them.
///
/// For text that a node wrote and we pass on anyway: it finds where values begin and end and checks
/// nothing else. Text that breaks off ends the walk; a value that breaks off is not reported.
/// Allocates nothing, does not recurse.
class JsonScan {
 public:
  /// `text` may have white space before its '{' or '['; anything else yields nothing.
  explicit JsonScan(std::string_view text) noexcept;

  /// Goes to the next field or element; false at the end.
  bool next() noexcept;

  std::string_view key() const noexcept { return key_; }  // between its quotes, escapes as written
  std::string_view value() const noexcept { return value_; }  // its text: "\"a\"", "12", "{...}"

 private:
  bool skip_space() noexcept;
  bool skip_string() noexcept;
  bool skip_value() noexcept;

  std::string_view text_;
  std::size_t at_ = 0;
  bool is_object_ = false;
  bool done_ = false;
  std::string_view key_, value_;
};

/// The value of `key` at the top level of an object; empty when it is not there. The last of equal
/// keys.
std::string_view json_field(std::string_view object, std::string_view key) noexcept;

/// The same, but the first of equal keys, as a DOM lookup finds it.
std::string_view first_json_field(std::string_view object, std::string_view key) noexcept;

/// A number without sign; nullopt for anything else. A fraction is cut.
std::optional<std::uint64_t> json_unsigned(std::string_view value) noexcept;

/// A string value without its quotes and escapes; nullopt when the value is no valid string.
std::optional<std::string> json_string_value(std::string_view value);

/// The same for messages to people: a value that is no valid string comes back as its text.
std::string json_decoded(std::string_view value);

}  // namespace sollol::api

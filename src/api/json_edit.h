#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sollol::api {

/// Changes to a text at places that are views into it; every other byte stays.
class TextEdits {
 public:
  explicit TextEdits(std::string_view text) noexcept : text_(text) {}
  /// `part` is a view into the text; parts do not overlap.
  void replace(std::string_view part, std::string with);
  /// Puts `what` before the character that `place` begins with.
  void insert(const char* place, std::string what);
  std::string apply() const;

 private:
  struct Edit {
    std::size_t at, length;
    std::string with;
  };
  std::string_view text_;
  std::vector<Edit> edits_;
};

/// The object with the values of these keys set at its top level: where they are, else at its end.
/// An empty value leaves its key as it is. The object unchanged when it is none.
using JsonFields = std::initializer_list<std::pair<std::string_view, std::string_view>>;
std::string with_json_fields(std::string_view object, JsonFields fields);

}  // namespace sollol::api

#include <fmt/format.h>

#include "api/ascii.h"
#include "api/intent.h"

namespace sollol::api {
namespace {

std::string_view trimmed(std::string_view text) {
  const auto first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

/// A parameter of a field value such as `multipart/form-data; boundary="x"`, without its quotes.
std::string_view parameter(std::string_view value, std::string_view name) {
  for (auto semicolon = value.find(';'); semicolon != std::string_view::npos;
       semicolon = value.find(';')) {
    value.remove_prefix(semicolon + 1);
    const auto equals = value.find('=');
    if (equals == std::string_view::npos ||
        !equals_any_case(trimmed(value.substr(0, equals)), name))
      continue;
    auto given = trimmed(value.substr(equals + 1));
    if (given.starts_with('"')) return given.substr(1, given.find('"', 1) - 1);
    return trimmed(given.substr(0, given.find(';')));
  }
  return {};
}

/// Whether a part's head says that it is the form field `name`.
bool is_form_field(std::string_view head, std::string_view name) {
  constexpr std::string_view disposition = "content-disposition:";
  while (!head.empty()) {
    const auto end = head.find("\r\n");
    const auto line = head.substr(0, end);
    if (equals_any_case(line.substr(0, disposition.size()), disposition))
      return parameter(line, "name") == name;
    head = end == std::string_view::npos ? std::string_view{} : head.substr(end + 2);
  }
  return false;
}

}  // namespace

Result<std::string> multipart_model(std::string_view content_type, std::string_view body) {
  const auto boundary = parameter(content_type, "boundary");
  if (boundary.empty() || boundary.size() > 70) {
    return std::unexpected(
        bad_input("the content type names no multipart boundary of 1 to 70 characters"));
  }
  const auto delimiter = fmt::format("\r\n--{}", boundary);
  // The first delimiter has no line before it.
  auto at = body.starts_with(std::string_view(delimiter).substr(2)) ? 0 : body.find(delimiter);
  while (at != std::string_view::npos) {
    body.remove_prefix(at);
    const auto head_start = body.find("\r\n", body.starts_with("\r\n") ? 2 : 0);
    const auto head_end = body.find("\r\n\r\n", head_start);
    if (head_start == std::string_view::npos || head_end == std::string_view::npos) break;
    const auto head = body.substr(head_start + 2, head_end - std::min(head_end, head_start + 2));
    body.remove_prefix(head_end + 4);
    at = body.find(delimiter);
    if (is_form_field(head, "model")) return std::string(body.substr(0, at));
  }
  return std::unexpected(bad_input("the form has no field 'model'"));
}

}  // namespace sollol::api

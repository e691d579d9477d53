#include "api/json_edit.h"

#include <fmt/format.h>

#include <algorithm>

#include "api/json_scan.h"

namespace sollol::api {

void TextEdits::replace(std::string_view part, std::string with) {
  edits_.push_back(
      {static_cast<std::size_t>(part.data() - text_.data()), part.size(), std::move(with)});
}

void TextEdits::insert(const char* place, std::string what) {
  edits_.push_back({static_cast<std::size_t>(place - text_.data()), 0, std::move(what)});
}

std::string TextEdits::apply() const {
  auto edits = edits_;
  std::ranges::sort(edits, {}, &Edit::at);
  std::string out;
  std::size_t size = text_.size(), at = 0;
  for (const Edit& edit : edits) size += edit.with.size();
  out.reserve(size);
  for (const Edit& edit : edits) {
    out.append(text_.substr(at, edit.at - at)).append(edit.with);
    at = edit.at + edit.length;
  }
  return out.append(text_.substr(at));
}

std::string with_json_fields(std::string_view object, JsonFields fields) {
  const auto end = object.find_last_of('}');
  if (end == std::string_view::npos) return std::string(object);
  TextEdits edits(object);
  bool empty = true;
  for (JsonScan scan(object); scan.next();) {
    empty = false;
    for (const auto& [key, value] : fields) {
      if (scan.key() == key && !value.empty()) edits.replace(scan.value(), std::string(value));
    }
  }
  std::string added;
  for (const auto& [key, value] : fields) {
    if (value.empty() || !json_field(object, key).empty()) continue;
    added += fmt::format("{}\"{}\":{}", empty && added.empty() ? "" : ",", key, value);
  }
  if (!added.empty()) edits.insert(object.data() + end, std::move(added));
  return edits.apply();
}

}  // namespace sollol::api

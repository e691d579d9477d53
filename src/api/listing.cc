#include "api/listing.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <charconv>

#include "api/ascii.h"
#include "api/json_scan.h"
#include "api/model_name.h"

namespace sollol::api {
namespace {

namespace dom = simdjson::dom;

Error bad_reply(std::string detail) {
  return {ErrorKind::bad_reply, Origin::node, Retry::other_node, std::move(detail)};
}

std::string text_field(dom::element object, std::string_view key) {
  std::string_view text;
  return object[key].get(text) ? std::string{} : std::string(text);
}

std::uint64_t number_field(dom::element object, std::string_view key) {
  std::uint64_t number = 0;
  if (!object[key].get(number)) return number;
  double real = 0;
  return !object[key].get(real) && real > 0 && real < 1e18 ? static_cast<std::uint64_t>(real) : 0;
}

std::uint32_t small_number_field(dom::element object, std::string_view key) {
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(number_field(object, key), UINT32_MAX));
}

std::string name_of(dom::element entry) {
  auto name = text_field(entry, "name");
  return name.empty() ? text_field(entry, "model") : name;
}

std::string key_of(std::string_view name) {
  if (const auto key = ModelKey::from(name)) return std::string(key->view());
  std::string lower(name);
  std::ranges::transform(lower, lower.begin(), ascii_lower);
  return lower;
}

std::vector<std::string> text_list(dom::element object, std::string_view key) {
  std::vector<std::string> texts;
  dom::array array;
  if (object[key].get(array)) return texts;
  for (const auto element : array) {
    std::string_view text;
    if (!element.get(text)) texts.emplace_back(text);
  }
  return texts;
}

/// Servers before v0.30 tell no capabilities; the encoder families never complete.
bool is_embedding_only(const ModelEntry& entry, std::string_view family) {
  const auto can = [&entry](std::string_view what) {
    return std::ranges::find(entry.capabilities, what) != entry.capabilities.end();
  };
  if (entry.capabilities.empty()) return family.contains("bert");
  return can("embedding") && !can("completion");
}

ModelEntry model_entry(dom::element object) {
  ModelEntry entry;
  entry.digest = text_field(object, "digest");
  entry.size_bytes = number_field(object, "size");
  entry.modified_at = text_field(object, "modified_at");
  entry.remote =
      !text_field(object, "remote_host").empty() || !text_field(object, "remote_model").empty();
  entry.capabilities = text_list(object, "capabilities");
  dom::element details;
  std::string family;
  if (!object["details"].get(details) && details.is_object()) {
    entry.parameter_size = text_field(details, "parameter_size");
    entry.quantization = text_field(details, "quantization_level");
    entry.context_length = small_number_field(details, "context_length");
    family = text_field(details, "family");
  }
  entry.embedding_only = is_embedding_only(entry, family);
  return entry;
}

LoadedModel loaded_model(dom::element object) {
  LoadedModel model;
  model.digest = text_field(object, "digest");
  model.size_bytes = number_field(object, "size");
  model.vram_bytes = number_field(object, "size_vram");
  model.context_length = small_number_field(object, "context_length");
  model.expires_at = text_field(object, "expires_at");
  return model;
}

/// Reads `{"models":[...]}`, one `read(element)` an entry. The values come from a full parse; each
/// entry's own text is found by a walk beside it, which that parse has shown to be well formed.
template <class Entry, class Read>
Result<std::vector<Entry>> parse_models(std::string_view json, std::size_t models_max, Read read) {
  dom::parser parser;
  dom::element document;
  const simdjson::padded_string padded(json);
  if (const auto error = parser.parse(padded).get(document)) {
    return std::unexpected(
        bad_reply(fmt::format("the model list is not JSON: {}", simdjson::error_message(error))));
  }
  dom::element models;
  if (!document.is_object() || document["models"].get(models)) {
    return std::unexpected(bad_reply("the model list has no field 'models'"));
  }
  std::vector<Entry> entries;
  if (models.is_null()) return entries;
  dom::array array;
  if (models.get(array)) return std::unexpected(bad_reply("'models' is not a list"));
  JsonScan texts(first_json_field(json, "models"));
  for (const auto element : array) {
    if (!texts.next()) break;
    if (!element.is_object()) continue;
    auto name = name_of(element);
    if (name.empty()) continue;
    if (entries.size() == models_max) {
      return std::unexpected(bad_reply(fmt::format("more than {} models", models_max)));
    }
    Entry entry = read(element);
    entry.key = key_of(name);
    entry.name = std::move(name);
    entry.raw = texts.value();
    entries.push_back(std::move(entry));
  }
  return entries;
}

}  // namespace

double parameter_count(std::string_view parameter_size) {
  double count = 0;
  const char* const end = parameter_size.data() + parameter_size.size();
  const auto [rest, error] = std::from_chars(parameter_size.data(), end, count);
  if (error != std::errc{} || rest + 1 != end || !(count > 0)) return 0;
  switch (*rest) {
    case 'K':
      return count * 1e3;
    case 'M':
      return count * 1e6;
    case 'B':
      return count * 1e9;
    case 'T':
      return count * 1e12;
    default:
      return 0;
  }
}

Result<std::vector<ModelEntry>> parse_tags(std::string_view json, std::size_t models_max) {
  return parse_models<ModelEntry>(json, models_max, model_entry);
}

Result<std::vector<LoadedModel>> parse_ps(std::string_view json, std::size_t models_max) {
  return parse_models<LoadedModel>(json, models_max, loaded_model);
}

Result<std::string> parse_version(std::string_view json) {
  dom::parser parser;
  dom::element document;
  const simdjson::padded_string padded(json);
  if (parser.parse(padded).get(document) || !document.is_object()) {
    return std::unexpected(bad_reply("the version is not a JSON object"));
  }
  auto version = text_field(document, "version");
  if (version.empty()) return std::unexpected(bad_reply("the answer has no field 'version'"));
  return version;
}

}  // namespace sollol::api

#include "api/model_name.h"

#include <array>

#include "api/ascii.h"

namespace sollol::api {
namespace {

constexpr std::string_view default_host = "registry.ollama.ai";
constexpr std::string_view default_namespace = "library";
constexpr std::string_view default_tag = "latest";
constexpr std::string_view cloud_tag = "cloud";
constexpr std::size_t part_max = 80;
constexpr std::size_t host_max = 350;

/// The parts of a name as written, defaults filled in; all views point into the name or to a
/// default.
struct Parts {
  std::string_view host = default_host;
  std::string_view name_space = default_namespace;
  std::string_view model;
  std::string_view tag = default_tag;
  std::string_view tag_suffix;  // "-cloud", when the name gave a tag and `:cloud` apart
  ModelSource source = ModelSource::unspecified;
};

/// What a character may be in a name, as bits.
enum CharacterKind : std::uint8_t { word = 1, dash = 2, dot = 4, colon = 8 };

constexpr auto character_kinds = [] {
  std::array<std::uint8_t, 256> kinds{};
  for (int c = '0'; c <= '9'; ++c) kinds[static_cast<std::size_t>(c)] = word;
  for (int c = 'a'; c <= 'z'; ++c) kinds[static_cast<std::size_t>(c)] = word;
  for (int c = 'A'; c <= 'Z'; ++c) kinds[static_cast<std::size_t>(c)] = word;
  kinds['_'] = word;
  kinds['-'] = dash;
  kinds['.'] = dot;
  kinds[':'] = colon;
  return kinds;
}();

/// `kinds`: the characters allowed after the first one, which is always a word character.
bool is_part(std::string_view part, unsigned kinds, std::size_t length_max) {
  const auto has_kind = [](char c, unsigned any_of) {
    return (character_kinds[static_cast<unsigned char>(c)] & any_of) != 0;
  };
  if (part.empty() || part.size() > length_max || !has_kind(part.front(), word)) return false;
  return std::ranges::all_of(part, [&](char c) { return has_kind(c, kinds); });
}

bool ends_with_any_case(std::string_view text, std::string_view end) {
  return text.size() >= end.size() && equals_any_case(text.substr(text.size() - end.size()), end);
}

/// Where the tag's colon is: the last one, if it comes after the last slash.
std::size_t tag_colon(std::string_view name) {
  const auto at = name.find_last_of(":/");
  return at != std::string_view::npos && name[at] == ':' ? at : std::string_view::npos;
}

/// Takes a `:cloud` or `:local` off the end of the name.
ModelSource take_source(std::string_view& name) {
  for (const auto& [suffix, source] : {std::pair{std::string_view(":cloud"), ModelSource::cloud},
                                       std::pair{std::string_view(":local"), ModelSource::local}}) {
    if (!ends_with_any_case(name, suffix)) continue;
    name.remove_suffix(suffix.size());
    return source;
  }
  return ModelSource::unspecified;
}

bool tag_says_cloud(std::string_view name) {
  const auto at = tag_colon(name);
  return at != std::string_view::npos && ends_with_any_case(name.substr(at), "-cloud");
}

/// Splits what is left of the name without tag: model, namespace, host. False when a separator has
/// nothing on a side.
bool split_path(std::string_view path, Parts& parts) {
  const auto cut = [&path](std::string_view& last) {
    const auto slash = path.rfind('/');
    last = slash == std::string_view::npos ? path : path.substr(slash + 1);
    path = slash == std::string_view::npos ? std::string_view{} : path.substr(0, slash);
    return slash != std::string_view::npos;
  };
  if (!cut(parts.model)) return true;
  if (!cut(parts.name_space)) return true;
  if (const auto scheme = path.find("://"); scheme != std::string_view::npos)
    path.remove_prefix(scheme + 3);
  parts.host = path;
  return !path.empty();
}

std::optional<Parts> parse(std::string_view name) {
  Parts parts;
  parts.source = take_source(name);
  const bool dash_cloud = tag_says_cloud(name);
  auto rest = name;
  if (parts.source != ModelSource::unspecified && take_source(rest) != ModelSource::unspecified)
    return std::nullopt;
  if (parts.source == ModelSource::local && dash_cloud) return std::nullopt;

  const auto tag_at = tag_colon(name);
  const bool has_tag = tag_at != std::string_view::npos;
  if (has_tag) parts.tag = name.substr(tag_at + 1);
  if (!split_path(name.substr(0, tag_at), parts)) return std::nullopt;
  if (!is_part(parts.host, word | dash | dot | colon, host_max) ||
      !is_part(parts.name_space, word | dash, part_max) ||
      !is_part(parts.model, word | dash | dot, part_max) ||
      !is_part(parts.tag, word | dash | dot, part_max)) {
    return std::nullopt;
  }
  if (parts.source == ModelSource::cloud && !has_tag) parts.tag = cloud_tag;
  if (parts.source == ModelSource::cloud && has_tag && !dash_cloud) parts.tag_suffix = "-cloud";
  if (dash_cloud) parts.source = ModelSource::cloud;
  if (parts.tag.size() + parts.tag_suffix.size() > part_max) return std::nullopt;
  return parts;
}

}  // namespace

std::optional<ModelKey> ModelKey::from(std::string_view written) noexcept {
  const auto parts = parse(written);
  if (!parts) return std::nullopt;
  ModelKey key;
  key.source_ = parts->source;
  for (const auto part :
       {parts->host, std::string_view("/"), parts->name_space, std::string_view("/"), parts->model,
        std::string_view(":"), parts->tag, parts->tag_suffix}) {
    key.append(part);
  }
  return key;
}

void ModelKey::append(std::string_view part) noexcept {
  char* out = text_ + size_;
  for (const char c : part) *out++ = ascii_lower(c);
  size_ = static_cast<std::uint16_t>(out - text_);
}

std::string canonical_name(std::string_view written) {
  const auto parts = parse(written);
  if (!parts) return std::string(written);
  std::string name;
  const bool other_host = !equals_any_case(parts->host, default_host);
  if (other_host) name.append(parts->host).append("/");
  if (other_host || !equals_any_case(parts->name_space, default_namespace)) {
    name.append(parts->name_space).append("/");
  }
  return name.append(parts->model).append(":").append(parts->tag).append(parts->tag_suffix);
}

bool has_conflicting_source(std::string_view written) noexcept {
  const auto last = take_source(written);
  if (last == ModelSource::unspecified) return false;
  if (last == ModelSource::local && tag_says_cloud(written)) return true;
  const auto before = take_source(written);
  return before != ModelSource::unspecified && before != last;
}

std::string model_namespace(std::string_view written) {
  const auto parts = parse(written);
  return std::string(parts ? parts->name_space : default_namespace);
}

}  // namespace sollol::api

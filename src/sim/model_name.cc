#include "sim/model_name.h"

#include <algorithm>

#include "sim/ascii.h"

namespace sollol::sim {
namespace {

bool alnum(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool valid_part(std::string_view part, std::string_view extra, std::size_t length_max) {
  if (part.empty() || part.size() > length_max || !alnum(part.front())) return false;
  return std::ranges::all_of(part, [&](char c) { return alnum(c) || extra.contains(c); });
}

}  // namespace

std::optional<ModelName> ModelName::parse(std::string_view written) {
  ModelName name;
  const auto slash = written.rfind('/');
  const auto colon = written.rfind(':');
  if (colon != written.npos && (slash == written.npos || colon > slash)) {
    name.tag = written.substr(colon + 1);
    written = written.substr(0, colon);
  }
  const auto take_last = [&](std::string& part) {
    const auto at = written.rfind('/');
    part = at == written.npos ? written : written.substr(at + 1);
    written = at == written.npos ? std::string_view{} : written.substr(0, at);
    return at != written.npos;
  };
  const bool more = written.contains('/');
  take_last(name.model);
  if (more) {
    const bool with_host = written.contains('/');
    take_last(name.space);
    if (with_host) {
      const auto scheme = written.find("://");
      name.host = scheme == written.npos ? written : written.substr(scheme + 3);
    }
  }
  if (!valid_part(name.host, "-.:", 350) || !valid_part(name.space, "-", 80) ||
      !valid_part(name.model, "-.", 80) || !valid_part(name.tag, "-.", 80)) {
    return std::nullopt;
  }
  return name;
}

SourcedName split_source(std::string_view written) {
  const auto lowered = lower(written);
  constexpr std::string_view local = ":local";
  if (!lowered.ends_with(local)) return {written, lowered.contains(":local:cloud")};
  const auto rest = std::string_view(lowered).substr(0, lowered.size() - local.size());
  const bool conflict = rest.ends_with(":cloud") || rest.ends_with("-cloud");
  return {written.substr(0, rest.size()), conflict};
}

std::string ModelName::display() const {
  const ModelName defaults;
  std::string out;
  if (host != defaults.host) {
    out = host + "/" + space + "/";
  } else if (space != defaults.space) {
    out = space + "/";
  }
  return out + model + ":" + tag;
}

std::string ModelName::key() const { return lower(host + "/" + space + "/" + model + ":" + tag); }

}  // namespace sollol::sim

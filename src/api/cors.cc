#include "api/cors.h"

#include <array>

#include "api/ascii.h"
#include "api/glob.h"

namespace sollol::api {
namespace {

constexpr std::array<std::string_view, 3> local_hosts = {"localhost", "127.0.0.1", "0.0.0.0"};
constexpr std::array<std::string_view, 5> application_schemes = {"app", "file", "tauri",
                                                                 "vscode-webview", "vscode-file"};

/// "localhost" or "localhost:8080", for any host of this machine.
bool is_local(std::string_view authority) {
  const auto colon = authority.rfind(':');
  const auto host = authority.substr(0, colon);
  if (!std::ranges::any_of(local_hosts, [host](auto name) { return equals_any_case(name, host); }))
    return false;
  if (colon == std::string_view::npos) return true;
  const auto port = authority.substr(colon + 1);
  return !port.empty() && port.find_first_not_of("0123456789") == std::string_view::npos;
}

}  // namespace

bool glob_matches(std::string_view pattern, std::string_view text) {
  std::size_t p = 0, t = 0;
  std::size_t star = std::string_view::npos, star_text = 0;
  while (t < text.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_text = t;
      if (p == pattern.size()) return true;
    } else if (p < pattern.size() && ascii_lower(pattern[p]) == ascii_lower(text[t])) {
      ++p;
      ++t;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      t = ++star_text;
    } else {
      return false;
    }
  }
  return pattern.substr(p).find_first_not_of('*') == std::string_view::npos;
}

const std::string_view cors_allowed_headers =
    "Authorization, X-API-Key, Content-Type, User-Agent, Accept, X-Requested-With, OpenAI-Beta, "
    "x-stainless-arch, "
    "x-stainless-async, x-stainless-custom-poll-interval, x-stainless-helper-method, "
    "x-stainless-lang, "
    "x-stainless-os, x-stainless-package-version, x-stainless-poll-helper, "
    "x-stainless-retry-count, "
    "x-stainless-runtime, x-stainless-runtime-version, x-stainless-timeout, X-Sollol-Node, "
    "X-Sollol-Priority, "
    "X-Sollol-Explain";

bool origin_allowed(std::string_view origin, std::span<const std::string> extra) {
  if (const auto end = origin.find("://"); end != std::string_view::npos) {
    const auto scheme = origin.substr(0, end);
    const auto is_scheme = [scheme](auto name) { return equals_any_case(name, scheme); };
    if (std::ranges::any_of(application_schemes, is_scheme)) return true;
    if ((is_scheme("http") || is_scheme("https")) && is_local(origin.substr(end + 3))) return true;
  }
  return std::ranges::any_of(
      extra, [origin](const std::string& entry) { return glob_matches(entry, origin); });
}

bool is_same_origin(std::string_view origin, std::string_view host) {
  const auto end = origin.find("://");
  if (end == std::string_view::npos || host.empty()) return false;
  const auto scheme = origin.substr(0, end);
  return (equals_any_case(scheme, "http") || equals_any_case(scheme, "https")) &&
         equals_any_case(origin.substr(end + 3), host);
}

}  // namespace sollol::api

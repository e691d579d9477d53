#include "sim/multipart.h"

namespace sollol::sim {
namespace {

/// The value of `key="…"` or `key=…` in a header.
std::string parameter(std::string_view header, std::string_view key) {
  auto at = header.find(std::string(key) + "=");
  while (at != header.npos && at > 0 && header[at - 1] != ' ' && header[at - 1] != ';')
    at = header.find(std::string(key) + "=", at + 1);
  if (at == header.npos) return {};
  header.remove_prefix(at + key.size() + 1);
  if (header.starts_with('"')) return std::string(header.substr(1, header.find('"', 1) - 1));
  return std::string(header.substr(0, header.find_first_of("; \r\n")));
}

}  // namespace

Result<std::map<std::string, std::string, std::less<>>> parse_multipart(
    std::string_view content_type, std::string_view body) {
  const auto boundary = parameter(content_type, "boundary");
  if (!content_type.starts_with("multipart/form-data"))
    return std::unexpected(bad_input("request Content-Type isn't multipart/form-data"));
  if (boundary.empty())
    return std::unexpected(bad_input("no multipart boundary param in Content-Type"));
  const auto cut = "\r\n--" + boundary;
  std::map<std::string, std::string, std::less<>> out;
  auto at = body.find("--" + boundary);
  if (at != 0) at = body.find(cut) == body.npos ? body.npos : body.find(cut) + 2;
  while (at != body.npos) {
    auto part = body.substr(at + boundary.size() + 2);
    if (part.starts_with("--")) return out;
    const auto head_end = part.find("\r\n\r\n");
    const auto end = part.find(cut);
    if (head_end == part.npos || end == part.npos || end < head_end) break;
    const auto head = part.substr(0, head_end);
    const auto name = parameter(head, "name");
    const auto start = std::min(head_end + 4, end);
    if (!name.empty()) out[name] = std::string(part.substr(start, end - start));
    at += boundary.size() + 2 + end + 2;
  }
  return std::unexpected(bad_input("multipart: NextPart: EOF"));
}

}  // namespace sollol::sim

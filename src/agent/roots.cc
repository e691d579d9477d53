#include "agent/roots.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

namespace sollol::agent {

std::optional<std::string> read_text(const std::string& path, std::size_t bytes_max) {
  std::error_code no;
  if (std::filesystem::is_directory(path, no)) return std::nullopt;
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  std::string text;
  char block[4096];
  while (text.size() < bytes_max) {
    file.read(block, static_cast<std::streamsize>(std::min(sizeof block, bytes_max - text.size())));
    text.append(block, static_cast<std::size_t>(file.gcount()));
    if (!file) break;
  }
  // A file of /proc whose process went away, or that is another user's, fails at the read.
  if (file.bad()) return std::nullopt;
  return text;
}

std::vector<std::string> names_in(const std::string& folder, std::size_t count_max) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed)) {
    if (names.size() == count_max) break;
    names.push_back(at->path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

std::string link_of(const std::string& path) {
  std::error_code failed;
  const auto to = std::filesystem::read_symlink(path, failed);
  return failed ? std::string() : to.string();
}

}  // namespace sollol::agent

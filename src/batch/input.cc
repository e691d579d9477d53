#include "batch/input.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>
#include <unordered_map>

namespace sollol::batch {

Result<Input> Input::open(const std::string& path, std::string endpoint) {
  Input input;
  input.path_ = path;
  input.endpoint_ = std::move(endpoint);
  errno = 0;
  input.file_.open(path, std::ios::binary);
  if (!input.file_) {
    return std::unexpected(Error{ErrorKind::not_found, Origin::client, Retry::never,
                                 fmt::format("{}: {}", path, std::strerror(errno))});
  }
  std::unordered_map<std::string, std::uint32_t> known;
  std::string text;
  std::uint64_t offset = 0;
  for (std::uint64_t number = 1; std::getline(input.file_, text); ++number) {
    InputLine line{.number = number, .offset = offset};
    offset += text.size() + 1;
    if (text.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (text.size() > line_bytes_max || number > lines_max) {
      return std::unexpected(
          bad_input(fmt::format("{}: line {}: at most {} lines of {} bytes; cut the file", path,
                                number, lines_max, line_bytes_max)));
    }
    line.length = static_cast<std::uint32_t>(text.size());
    line.print = fingerprint(text);
    const Result<Line> parsed = parse_line(text, input.endpoint_);
    line.readable = parsed.has_value();
    if (parsed) {
      line.parts = static_cast<std::uint32_t>(parsed->parts());
      line.work = parsed->work / line.parts;
      const auto next = static_cast<std::uint32_t>(known.size());
      const auto [model, fresh] = known.try_emplace(parsed->model, next);
      line.model = model->second;
      if (fresh) input.models_.push_back(parsed->model);
    }
    input.lines_.push_back(line);
  }
  input.file_.clear();
  return input;
}

std::string Input::text_of(const InputLine& line) {
  std::string text(line.length, '\0');
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(line.offset));
  file_.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file_.gcount()));
  return text;
}

Result<Line> Input::read(const InputLine& line) {
  const std::string text = text_of(line);
  if (fingerprint(text) != line.print) {
    return std::unexpected(
        bad_input(fmt::format("{}: line {} has changed while the batch ran", path_, line.number)));
  }
  return parse_line(text, endpoint_);
}

Line Input::form_of(const InputLine& line) {
  const std::string text = text_of(line);
  auto parsed = parse_line(text, endpoint_);
  return parsed ? *std::move(parsed) : unreadable_line(text);
}

}  // namespace sollol::batch

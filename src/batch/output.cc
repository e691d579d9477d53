#include "batch/output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace sollol::batch {

Error Output::problem() const {
  return {ErrorKind::forbidden, Origin::client, Retry::never,
          fmt::format("{}: cannot be written: {}", path_, std::strerror(errno))};
}

Result<Output> Output::open(const std::string& path, Order order, std::size_t lines) {
  Output output;
  output.path_ = path;
  output.order_ = order;
  output.ready_.resize(lines);
  output.file_.open(path, std::ios::binary | std::ios::trunc);
  if (!output.file_) return std::unexpected(output.problem());
  return output;
}

Result<void> Output::write(const InputLine& line, Input& input, Journal& journal) {
  const auto parts = journal.of_line(line.number);
  if (!parts) return std::unexpected(parts.error());
  file_ << output_line(input.form_of(line), line.number, *parts);
  if (!file_) return std::unexpected(problem());
  return {};
}

Result<void> Output::finished(std::size_t index, Input& input, Journal& journal) {
  if (order_ == Order::finished) return write(input.lines()[index], input, journal);
  ready_[index] = true;
  for (; next_ < ready_.size() && ready_[next_]; ++next_) {
    if (const auto done = write(input.lines()[next_], input, journal); !done) return done;
  }
  return {};
}

Result<void> Output::flush() {
  if (!file_.flush()) return std::unexpected(problem());
  return {};
}

}  // namespace sollol::batch

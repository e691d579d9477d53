#include "http_reader.h"

#include <strings.h>

#include <algorithm>
#include <charconv>
#include <optional>

namespace sollol::bench {
namespace {

constexpr std::size_t kHeadMax = 16 * 1024;
constexpr std::size_t kLineMax = 256;

std::optional<std::size_t> number(std::string_view text, int base) {
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

/// The value of a header field, or nothing. `head` ends with a blank line.
std::optional<std::string_view> field(std::string_view head, std::string_view name) {
  for (auto at = head.find("\r\n"); at + 2 < head.size(); at = head.find("\r\n", at + 2)) {
    const auto line = head.substr(at + 2, head.find("\r\n", at + 2) - at - 2);
    if (line.size() <= name.size() || line[name.size()] != ':') continue;
    if (strncasecmp(line.data(), name.data(), name.size()) != 0) continue;
    const auto start = line.find_first_not_of(" \t", name.size() + 1);
    return start == std::string_view::npos ? std::string_view{} : line.substr(start);
  }
  return std::nullopt;
}

}  // namespace

std::size_t HttpReader::feed(std::string_view bytes, std::string& body) {
  std::size_t taken = 0;
  while (taken < bytes.size() && !complete() && !broken()) {
    const auto rest = bytes.substr(taken);
    switch (state_) {
      case State::head:
        taken += feed_head(rest);
        break;
      case State::sized:
      case State::chunk_data:
        taken += feed_data(rest, body);
        break;
      default:
        taken += feed_line(rest);
        break;
    }
  }
  return taken;
}

std::size_t HttpReader::feed_head(std::string_view bytes) {
  const auto before = head_.size();
  head_.append(bytes.substr(0, std::min(bytes.size(), kHeadMax)));
  const auto end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
  if (end == std::string::npos) {
    if (head_.size() >= kHeadMax) state_ = State::broken;
    return head_.size() - before;
  }
  head_.resize(end + 4);
  parse_head();
  return head_.size() - before;
}

void HttpReader::parse_head() {
  line_end_ = head_.find("\r\n");
  const auto coding = field(head_, "transfer-encoding");
  const auto length = field(head_, "content-length");
  const bool answer = head_.starts_with("HTTP/");
  if (coding) {
    state_ = *coding == "chunked" && !length ? State::chunk_size : State::broken;
  } else if (length) {
    const auto size = number(*length, 10);
    remaining_ = size.value_or(0);
    state_ = !size ? State::broken : remaining_ == 0 ? State::complete : State::sized;
  } else {
    state_ = answer ? State::broken : State::complete;
  }
}

std::size_t HttpReader::feed_data(std::string_view bytes, std::string& body) {
  const auto part = bytes.substr(0, remaining_);
  body.append(part);
  remaining_ -= part.size();
  if (remaining_ == 0) state_ = state_ == State::sized ? State::complete : State::chunk_end;
  return part.size();
}

std::size_t HttpReader::feed_line(std::string_view bytes) {
  const auto end = bytes.find('\n');
  const auto taken = end == std::string_view::npos ? bytes.size() : end + 1;
  line_.append(bytes.substr(0, taken));
  if (line_.size() > kLineMax) {
    state_ = State::broken;
  } else if (end != std::string_view::npos) {
    parse_line();
    line_.clear();
  }
  return taken;
}

void HttpReader::parse_line() {
  const bool blank = line_ == "\r\n";
  if (state_ == State::chunk_end) {
    state_ = blank ? State::chunk_size : State::broken;
  } else if (state_ == State::trailer) {
    if (blank) state_ = State::complete;
  } else {
    const auto size = number(line_, 16);
    remaining_ = size.value_or(0);
    state_ = !size ? State::broken : remaining_ == 0 ? State::trailer : State::chunk_data;
  }
}

void HttpReader::next() {
  state_ = State::head;
  head_.clear();
  line_.clear();
  remaining_ = 0;
}

}  // namespace sollol::bench

#include "gateway/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "api/json_text.h"
#include "base/decimal.h"
#include "gateway/request.h"

namespace sollol::gateway {

Result<std::unique_ptr<AccessLogFile>> AccessLogFile::open(const Options& options) {
  switch (options.access_log) {
    case AccessLog::off:
      return std::make_unique<AccessLogFile>(-1, false);
    case AccessLog::to_stderr:
      return std::make_unique<AccessLogFile>(STDERR_FILENO, false);
    case AccessLog::to_file:
      break;
  }
  const int descriptor =
      ::open(options.access_log_file.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  if (descriptor < 0) {
    return std::unexpected(
        bad_input(fmt::format("log.access: cannot open '{}': {}; name a writable file, on or off",
                              options.access_log_file, std::strerror(errno))));
  }
  return std::make_unique<AccessLogFile>(descriptor, true);
}

Result<void> AccessLogFile::reopen(const Options& options) {
  auto fresh = open(options);
  if (!fresh) return std::unexpected(fresh.error());
  const std::scoped_lock lock(mutex_);
  // The old descriptor goes with `fresh`.
  (*fresh)->descriptor_ = descriptor_.exchange((*fresh)->descriptor_);
  std::swap(owned_, (*fresh)->owned_);
  failed_ = false;
  return {};
}

AccessLogFile::~AccessLogFile() {
  if (owned_) ::close(descriptor_);
}

void AccessLogFile::append(std::string_view lines) {
  const std::scoped_lock lock(mutex_);
  if (descriptor_ < 0) return;  // turned off meanwhile
  while (!lines.empty()) {
    const ssize_t written = ::write(descriptor_, lines.data(), lines.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      if (!std::exchange(failed_, true))
        spdlog::error("access log: {}; lines are being lost", std::strerror(errno));
      return;
    }
    lines.remove_prefix(static_cast<std::size_t>(written));
  }
  failed_ = false;
}

namespace {

/// Writes where there is room for all that comes: with a look at it for each part, and with format
/// strings, a line costs a relayed request a quarter of its instructions.
class LineWriter {
 public:
  explicit LineWriter(char* at) : at_(at) {}
  char* end() const { return at_; }

  template <std::size_t size>
  void literal(const char (&text)[size]) {
    at_ = std::copy_n(text, size - 1, at_);
  }
  void bytes(std::string_view text) {
    std::memcpy(at_, text.data(), text.size());
    at_ += text.size();
  }
  template <std::size_t size>
  void key(const char (&name)[size]) {
    literal(",\"");
    literal(name);
    literal("\":");
  }
  template <std::size_t size>
  void text(const char (&name)[size], std::string_view value) {
    if (value.empty() || api::is_plain_json(value)) return word(name, value);
    key(name);
    bytes(api::json_string(value));
  }
  /// A text that needs no escaping.
  template <std::size_t size>
  void word(const char (&name)[size], std::string_view value) {
    if (value.empty()) return;
    key(name);
    literal("\"");
    bytes(value);
    literal("\"");
  }
  template <std::size_t size>
  void number(const char (&name)[size], std::uint64_t value) {
    key(name);
    at_ = std::to_chars(at_, at_ + 20, value).ptr;
  }
  template <std::size_t size>
  void number_if_any(const char (&name)[size], std::uint64_t value) {
    if (value != 0) number(name, value);
  }
  template <unsigned digits, std::size_t size>
  void fixed(const char (&name)[size], std::uint64_t units) {
    key(name);
    at_ = put_fixed<digits>(at_, units);
  }
  template <std::size_t size>
  void seconds(const char (&name)[size], Duration value) {
    const auto rounded = std::chrono::round<std::chrono::microseconds>(value).count();
    fixed<6>(name, static_cast<std::uint64_t>(std::max<std::int64_t>(rounded, 0)));
  }
  template <std::size_t size>
  void seconds_if_any(const char (&name)[size], Duration value) {
    if (value.count() > 0) seconds(name, value);
  }

 private:
  char* at_;
};

void write_line(LineWriter& line, const Request& request, std::string_view time, TimePoint now) {
  const Outcome& outcome = request.outcome;
  line.literal("{\"time\":\"");
  line.bytes(time);
  line.literal("\"");
  line.text("id", request.id);
  line.word("client", request.client);  // an address
  line.text("key", outcome.key);
  line.word("method", request.method);  // a token of HTTP
  line.text("path", request.path());
  line.text("model", outcome.model);
  line.text("node", outcome.node);
  line.word("reason", outcome.reason);  // of our own
  line.number("status", static_cast<std::uint64_t>(outcome.status));
  line.seconds("duration_s", now - request.arrived);
  line.seconds("queued_s", outcome.queued);
  line.seconds_if_any("ttft_s", outcome.first_byte);
  line.number_if_any("prompt_tokens", outcome.prompt_tokens);
  line.number_if_any("output_tokens", outcome.output_tokens);
  line.seconds_if_any("load_s", outcome.load);
  line.seconds_if_any("prefill_s", outcome.prefill);
  line.number_if_any("num_ctx", outcome.num_ctx);
  line.number_if_any("num_predict", outcome.num_predict);
  if (outcome.stream) {
    line.key("stream");
    line.bytes(*outcome.stream ? "true" : "false");
  }
  if (request.urgency != cluster::Urgency::normal)
    line.word("urgency", cluster::urgency_names[static_cast<std::size_t>(request.urgency)]);
  if (outcome.session != 0) line.word("session", fmt::format("{:016x}", outcome.session));
  if (outcome.output_tokens > 0 && outcome.decode.count() > 0) {
    const double rate = static_cast<double>(outcome.output_tokens) / to_seconds(outcome.decode);
    line.fixed<2>("tokens_per_s", static_cast<std::uint64_t>(std::llround(rate * 100)));
  }
  line.number_if_any("resumed", outcome.resumed);
  if (outcome.attempts > 1) line.number("attempts", outcome.attempts);
  line.word("hedge", outcome.hedge);
  line.number("bytes_out", outcome.bytes_out);
  line.text("problem", outcome.problem);
  line.literal("}\n");
}

/// Of all but the texts that vary in length; some 750 bytes of names, times and numbers at most.
constexpr std::size_t fixed_part_max = 1024;
constexpr std::size_t json_growth_max = 6;  // a byte as \u0000

/// Counts every text that `write_line` takes from the request.
std::size_t line_max(const Request& request) {
  const Outcome& outcome = request.outcome;
  const std::size_t texts = request.id.size() + request.client.size() + outcome.key.size() +
                            request.method.size() + request.target.size() + outcome.model.size() +
                            outcome.node.size() + outcome.reason.size() + outcome.hedge.size() +
                            outcome.problem.size();
  return fixed_part_max + json_growth_max * texts;
}

}  // namespace

void AccessLogBuffer::add(const Request& request, TimePoint now) {
  const std::string_view time = timestamps_(request.arrived_wall);
  const std::size_t before = lines_.size();
  lines_.resize_and_overwrite(before + line_max(request), [&](char* data, std::size_t) noexcept {
    LineWriter line(data + before);
    write_line(line, request, time, now);
    return static_cast<std::size_t>(line.end() - data);
  });
  if (lines_.size() >= flush_at) flush();
}

void AccessLogBuffer::flush() {
  if (lines_.empty()) return;
  file_.append(lines_);
  lines_.clear();
}

}  // namespace sollol::gateway

#include "gateway/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "api/json_text.h"
#include "api/timestamp.h"
#include "gateway/metrics.h"
#include "gateway/request.h"
#include "http/append.h"

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

void AccessLogBuffer::add(const Request& request, TimePoint now) {
  append_access_line(lines_, request, now);
  if (lines_.size() >= flush_at) flush();
}

void AccessLogBuffer::flush() {
  if (lines_.empty()) return;
  file_.append(lines_);
  lines_.clear();
}

namespace {

/// So many units of the last of `digits` digits after the point.
template <unsigned digits>
void append_fixed(std::string& out, std::uint64_t units) {
  char part[digits];
  for (unsigned i = digits; i-- > 0; units /= 10) part[i] = static_cast<char>('0' + units % 10);
  http::append(out, units, ".", std::string_view(part, digits));
}

}  // namespace

// Without format strings: they cost a relayed request a quarter of its instructions.
void append_access_line(std::string& out, const Request& request, TimePoint now) {
  const Outcome& outcome = request.outcome;
  const auto field = [&out](std::string_view key) { http::append(out, ",\"", key, "\":"); };
  const auto text = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    field(key);
    api::append_json_string(out, value);
  };
  const auto number = [&](std::string_view key, std::uint64_t value) {
    if (value == 0) return;
    field(key);
    http::append(out, value);
  };
  const auto seconds = [&](std::string_view key, Duration value) {
    field(key);
    const auto rounded = std::chrono::round<std::chrono::microseconds>(value).count();
    append_fixed<6>(out, static_cast<std::uint64_t>(std::max<std::int64_t>(rounded, 0)));
  };
  const auto seconds_if_any = [&](std::string_view key, Duration value) {
    if (value.count() > 0) seconds(key, value);
  };
  http::append(out, "{\"time\":\"", api::format_timestamp(request.arrived_wall), "\"");
  text("id", request.id);
  text("client", request.client);
  text("key", outcome.key);
  text("method", request.method);
  text("path", request.path());
  text("model", outcome.model);
  text("node", outcome.node);
  text("reason", outcome.reason);
  field("status");
  http::append(out, outcome.status);
  seconds("duration_s", now - request.arrived);
  seconds("queued_s", outcome.queued);
  seconds_if_any("ttft_s", outcome.first_byte);
  number("prompt_tokens", outcome.prompt_tokens);
  number("output_tokens", outcome.output_tokens);
  seconds_if_any("load_s", outcome.load);
  seconds_if_any("prefill_s", outcome.prefill);
  number("num_ctx", outcome.num_ctx);
  number("num_predict", outcome.num_predict);
  if (outcome.stream) http::append(out, ",\"stream\":", *outcome.stream ? "true" : "false");
  if (request.urgency != cluster::Urgency::normal)
    text("urgency", cluster::urgency_names[static_cast<std::size_t>(request.urgency)]);
  if (outcome.session != 0) text("session", fmt::format("{:016x}", outcome.session));
  if (outcome.output_tokens > 0 && outcome.decode.count() > 0) {
    field("tokens_per_s");
    const double rate = static_cast<double>(outcome.output_tokens) / to_seconds(outcome.decode);
    append_fixed<2>(out, static_cast<std::uint64_t>(std::llround(rate * 100)));
  }
  number("resumed", outcome.resumed);
  if (outcome.attempts > 1) number("attempts", outcome.attempts);
  text("hedge", outcome.hedge);
  field("bytes_out");
  http::append(out, outcome.bytes_out);
  text("problem", outcome.problem);
  out += "}\n";
}

}  // namespace sollol::gateway

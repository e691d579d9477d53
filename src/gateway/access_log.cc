#include "gateway/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstring>

#include "api/json_text.h"
#include "api/timestamp.h"
#include "gateway/metrics.h"
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

void AccessLogBuffer::add(const Request& request, TimePoint now) {
  append_access_line(lines_, request, now);
  if (lines_.size() >= flush_at) flush();
}

void AccessLogBuffer::flush() {
  if (lines_.empty()) return;
  file_.append(lines_);
  lines_.clear();
}

void append_access_line(std::string& out, const Request& request, TimePoint now) {
  const Outcome& outcome = request.outcome;
  const auto to = std::back_inserter(out);
  const auto text = [&](std::string_view key, std::string_view value) {
    if (value.empty()) return;
    fmt::format_to(to, ",\"{}\":", key);
    api::append_json_string(out, value);
  };
  fmt::format_to(to, "{{\"time\":\"{}\"", api::format_timestamp(request.arrived_wall));
  text("id", request.id);
  text("client", request.client);
  text("key", outcome.key);
  text("method", request.method);
  text("path", request.path());
  text("model", outcome.model);
  text("node", outcome.node);
  text("reason", outcome.reason);
  fmt::format_to(to, ",\"status\":{},\"duration_s\":{:.6f},\"queued_s\":{:.6f}", outcome.status,
                 to_seconds(now - request.arrived), to_seconds(outcome.queued));
  if (outcome.first_byte.count() > 0)
    fmt::format_to(to, ",\"ttft_s\":{:.6f}", to_seconds(outcome.first_byte));
  if (outcome.prompt_tokens > 0) fmt::format_to(to, ",\"prompt_tokens\":{}", outcome.prompt_tokens);
  if (outcome.output_tokens > 0) fmt::format_to(to, ",\"output_tokens\":{}", outcome.output_tokens);
  if (outcome.load.count() > 0) fmt::format_to(to, ",\"load_s\":{:.6f}", to_seconds(outcome.load));
  if (outcome.prefill.count() > 0)
    fmt::format_to(to, ",\"prefill_s\":{:.6f}", to_seconds(outcome.prefill));
  if (outcome.num_ctx > 0) fmt::format_to(to, ",\"num_ctx\":{}", outcome.num_ctx);
  if (outcome.num_predict > 0) fmt::format_to(to, ",\"num_predict\":{}", outcome.num_predict);
  if (outcome.stream) fmt::format_to(to, ",\"stream\":{}", *outcome.stream);
  if (request.urgency != cluster::Urgency::normal)
    text("urgency", cluster::urgency_names[static_cast<std::size_t>(request.urgency)]);
  if (outcome.session != 0) fmt::format_to(to, ",\"session\":\"{:016x}\"", outcome.session);
  if (outcome.output_tokens > 0 && outcome.decode.count() > 0) {
    fmt::format_to(to, ",\"tokens_per_s\":{:.2f}",
                   static_cast<double>(outcome.output_tokens) / to_seconds(outcome.decode));
  }
  if (outcome.resumed > 0) fmt::format_to(to, ",\"resumed\":{}", outcome.resumed);
  if (outcome.attempts > 1) fmt::format_to(to, ",\"attempts\":{}", outcome.attempts);
  text("hedge", outcome.hedge);
  fmt::format_to(to, ",\"bytes_out\":{}", outcome.bytes_out);
  text("problem", outcome.problem);
  out += "}\n";
}

}  // namespace sollol::gateway

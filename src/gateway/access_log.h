#pragma once

#include <atomic>
#include <mutex>
#include <string>
#include <string_view>

#include "api/timestamp.h"
#include "base/result.h"
#include "gateway/options.h"

namespace sollol::gateway {

struct Request;

/// Where access lines go: a file opened for appending (reopened by `reopen` after rotation),
/// standard error or nowhere.
class AccessLogFile {
 public:
  static Result<std::unique_ptr<AccessLogFile>> open(const Options& options);
  /// Opens what the options name now, under the same path a new file after a rotation. Lines being
  /// written go whole to either. Error: bad_input; everything stays.
  Result<void> reopen(const Options& options);
  AccessLogFile(int descriptor, bool owned) : descriptor_(descriptor), owned_(owned) {}
  ~AccessLogFile();
  AccessLogFile(const AccessLogFile&) = delete;
  AccessLogFile& operator=(const AccessLogFile&) = delete;

  bool enabled() const noexcept { return descriptor_.load(std::memory_order_relaxed) >= 0; }
  /// One write(2) for all lines; a full disk loses them and is reported once.
  void append(std::string_view lines);

 private:
  std::mutex mutex_;
  std::atomic<int> descriptor_;
  bool owned_;
  bool failed_ = false;
};

/// One worker's lines until the next flush: one request costs formatting and no system call.
class AccessLogBuffer {
 public:
  static constexpr std::size_t flush_at = 64 * 1024;  // what a core's nearest cache has room for
  static constexpr Duration flush_every = 200ms;

  explicit AccessLogBuffer(AccessLogFile& file) : file_(file) {}
  bool enabled() const noexcept { return file_.enabled(); }
  /// One request as a JSON line: id, client, method, path, model, node, reason, status, times in
  /// seconds, tokens, rate.
  void add(const Request& request, TimePoint now);
  void flush();

 private:
  AccessLogFile& file_;
  std::string lines_;
  api::TimestampFormatter timestamps_;
};

}  // namespace sollol::gateway

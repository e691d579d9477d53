// The library's log, handed to the program that it is part of.
#include <spdlog/details/null_mutex.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/spdlog.h>

#include "sollol/log.h"

namespace sollol {

namespace {

LogLevel level_of(spdlog::level::level_enum level) {
  if (level >= spdlog::level::err) return LogLevel::error;
  if (level == spdlog::level::warn) return LogLevel::warning;
  return level == spdlog::level::info ? LogLevel::info : LogLevel::debug;
}

spdlog::level::level_enum level_of(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warning:
      return spdlog::level::warn;
    case LogLevel::error:
      break;
  }
  return spdlog::level::err;
}

/// Without a lock of its own: the receiver must be able to guard itself against a fork.
class Handing final : public spdlog::sinks::base_sink<spdlog::details::null_mutex> {
 public:
  explicit Handing(LogSink sink) : sink_(std::move(sink)) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    sink_(level_of(message.level), {message.payload.data(), message.payload.size()});
  }
  void flush_() override {}

  LogSink sink_;
};

}  // namespace

void log_to(LogSink sink, LogLevel least) {
  auto logger =
      std::make_shared<spdlog::logger>("sollol", std::make_shared<Handing>(std::move(sink)));
  logger->set_level(level_of(least));
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace sollol

#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

namespace sollol {

enum class LogLevel : std::uint8_t { debug, info, warning, error };

/// Told, on whatever thread, what the library has to say. Must not call the library.
using LogSink = std::function<void(LogLevel, std::string_view)>;

/// Where the log of this process goes from now on; by itself it goes to standard output. Not while
/// pools or registries are alive.
void log_to(LogSink sink, LogLevel least);

}  // namespace sollol

#pragma once

#include <chrono>

namespace sollol {

/// The clock of deadlines and measurements. Only src/net, the simulator and main() read one;
/// everyone else is told the time.
using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;

/// Calendar time, for what people and protocols read (`created_at`, logs).
using WallTime = std::chrono::system_clock::time_point;

constexpr double to_seconds(Duration d) noexcept {
  return std::chrono::duration<double>(d).count();
}
constexpr Duration from_seconds(double s) noexcept {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

}  // namespace sollol

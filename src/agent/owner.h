#pragma once

#include <cstdint>
#include <optional>

#include "agent/report.h"
#include "agent/roots.h"
#include "base/time.h"

namespace sollol::agent {

/// Tells whether somebody sits at the machine, from what any user may read: the login manager's
/// sessions (/run/systemd/sessions), when the terminals of these last had input, and the count of
/// interrupts of a built-in keyboard (i8042).
///
/// A graphical session whose input comes by USB shows none of it: then `in_use` stays unknown.
/// Nobody logged in at the machine means that it is not in use. One thread.
class OwnerWatch {
 public:
  explicit OwnerWatch(Roots roots) : roots_(std::move(roots)) {}
  Owner read(TimePoint now, WallTime wall_now);

 private:
  void watch_keyboard(TimePoint now);

  Roots roots_;
  std::optional<std::uint64_t> interrupts_;
  std::optional<TimePoint> input_;  // when the count was seen to have grown
};

/// Whoever gave no input for so long is away.
inline constexpr Duration away_after = std::chrono::minutes(5);

}  // namespace sollol::agent

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "base/time.h"

namespace sollol::net {

/// Many coarse deadlines for the price of one timer: arming and disarming are two pointer writes.
/// Deadlines fire at the first `advance` of a later tick than their own: never early, less than two
/// ticks late when the owner calls it once a tick. No clock in here. One thread.
///
/// Source: Varghese & Lauck, "Hashed and hierarchical timing wheels", SOSP 1987, scheme 6.
class TimerWheel {
 public:
  static constexpr Duration tick = std::chrono::milliseconds(20);

  /// Embed one in whatever has a deadline. Destroying it disarms it.
  class Entry {
   public:
    Entry() = default;
    Entry(const Entry&) = delete;
    Entry& operator=(const Entry&) = delete;
    virtual ~Entry() { disarm(); }
    void disarm() noexcept;
    bool armed() const noexcept { return wheel_ != nullptr; }
    virtual void expired() = 0;

   private:
    friend class TimerWheel;
    Entry* next_ = nullptr;
    Entry* previous_ = nullptr;
    TimerWheel* wheel_ = nullptr;
    std::size_t slot_ = 0;
    TimePoint deadline_{};
  };

  explicit TimerWheel(TimePoint start) noexcept : now_tick_(to_tick(start)) {}
  ~TimerWheel();
  TimerWheel(const TimerWheel&) = delete;
  TimerWheel& operator=(const TimerWheel&) = delete;

  /// Arms `entry`, moving its deadline if it was armed.
  void arm(Entry& entry, TimePoint deadline) noexcept;
  /// Fires everything whose tick has passed. Entries may arm and disarm any entry while being
  /// called.
  void advance(TimePoint now);
  bool empty() const noexcept { return armed_ == 0; }

 private:
  static constexpr std::size_t slot_count = 512;
  static std::int64_t to_tick(TimePoint t) noexcept { return t.time_since_epoch() / tick; }
  void fire_slot(std::size_t slot, TimePoint now);

  std::array<Entry*, slot_count> slots_{};
  std::int64_t now_tick_;
  std::size_t armed_ = 0;
};

}  // namespace sollol::net

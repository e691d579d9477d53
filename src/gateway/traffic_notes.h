#pragma once

#include <cstddef>
#include <mutex>
#include <utility>
#include <vector>

#include "locality/traffic.h"

namespace sollol::gateway {

/// What workers note of finished requests until the control thread takes it up. Any thread; the
/// lock is held for one record.
class TrafficNotes {
 public:
  static constexpr std::size_t records_max = 4096;  // between two looks

  void note(const locality::TrafficRecord& record) {
    const std::scoped_lock lock(mutex_);
    if (records_.size() < records_max) {
      records_.push_back(record);
    } else {
      lost_ = true;
    }
  }

  struct Taken {
    std::vector<locality::TrafficRecord> records{};
    bool lost = false;  // there were more
  };
  Taken take() {
    const std::scoped_lock lock(mutex_);
    return {std::exchange(records_, {}), std::exchange(lost_, false)};
  }

 private:
  std::mutex mutex_;
  std::vector<locality::TrafficRecord> records_;
  bool lost_ = false;
};

}  // namespace sollol::gateway

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

namespace sollol::gateway {

/// The bytes of requests that all clients together make the gateway hold. Any thread.
class RequestMemory {
 public:
  std::uint64_t held() const noexcept { return held_.load(std::memory_order_relaxed); }

 private:
  friend class RequestMemoryShare;
  std::atomic<std::uint64_t> held_{0};
};

/// What one connection holds of it; given back at the latest when it ends. One thread.
class RequestMemoryShare {
 public:
  explicit RequestMemoryShare(RequestMemory& memory) noexcept : memory_(memory) {}
  ~RequestMemoryShare() { resize(0, UINT64_MAX); }
  RequestMemoryShare(const RequestMemoryShare&) = delete;
  RequestMemoryShare& operator=(const RequestMemoryShare&) = delete;

  /// Holds `bytes` from now on; false, changing nothing, when all together would hold more than
  /// `total_max`. Costs nothing while the number stays the same.
  bool resize(std::size_t bytes, std::uint64_t total_max) noexcept {
    if (bytes == bytes_) return true;
    if (bytes < bytes_) {
      memory_.held_.fetch_sub(bytes_ - bytes, std::memory_order_relaxed);
    } else {
      const std::uint64_t more = bytes - bytes_;
      if (memory_.held_.fetch_add(more, std::memory_order_relaxed) + more > total_max) {
        memory_.held_.fetch_sub(more, std::memory_order_relaxed);
        return false;
      }
    }
    bytes_ = bytes;
    return true;
  }

 private:
  RequestMemory& memory_;
  std::size_t bytes_ = 0;
};

}  // namespace sollol::gateway

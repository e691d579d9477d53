#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace sollol::cluster {

/// Bounds retries to a share of the requests, so that a failing fleet is not asked twice for
/// everything. A reserve lets a lone user's first failures be retried. Any thread; no lock.
///
/// Source: token buckets of Finagle's RetryBudget (20 % by default, a reserve of some retries).
class RetryBudget {
 public:
  static constexpr std::int64_t reserve_default = 10;

  explicit RetryBudget(std::uint32_t percent, std::int64_t reserve = reserve_default)
      : deposit_(percent), most_(reserve * retry_cost * 10), balance_(reserve * retry_cost) {}

  void on_request() noexcept {
    if (balance_.load(std::memory_order_relaxed) < most_)
      balance_.fetch_add(deposit_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  }
  /// The share from now on; what was saved up stays.
  void set_percent(std::uint32_t percent) noexcept {
    deposit_.store(percent, std::memory_order_relaxed);
  }
  bool try_retry() noexcept {
    std::int64_t balance = balance_.load(std::memory_order_relaxed);
    while (balance >= retry_cost) {
      if (balance_.compare_exchange_weak(balance, balance - retry_cost, std::memory_order_relaxed))
        return true;
    }
    return false;
  }

 private:
  static constexpr std::int64_t retry_cost = 100;  // one request deposits `percent` of it
  std::atomic<std::int64_t> deposit_;
  std::int64_t most_;
  std::atomic<std::int64_t> balance_;
};

}  // namespace sollol::cluster

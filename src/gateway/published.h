#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>

namespace sollol::gateway {

/// Hands the newest version of an immutable value from one thread to many. Reading costs one atomic
/// load while nothing changed.
template <class T>
class Published {
 public:
  explicit Published(std::shared_ptr<const T> first) : value_(std::move(first)) {}

  void publish(std::shared_ptr<const T> value) {
    const std::scoped_lock lock(mutex_);
    value_ = std::move(value);
    version_.fetch_add(1, std::memory_order_release);
  }
  std::uint64_t version() const noexcept { return version_.load(std::memory_order_acquire); }
  std::shared_ptr<const T> get() const {
    const std::scoped_lock lock(mutex_);
    return value_;
  }

 private:
  mutable std::mutex mutex_;
  std::shared_ptr<const T> value_;
  std::atomic<std::uint64_t> version_{1};
};

/// One thread's cached copy of the newest version.
template <class T>
class PublishedReader {
 public:
  explicit PublishedReader(const Published<T>& source) : source_(source), value_(source.get()) {}

  /// Valid until the next call; who needs it for longer copies the pointer.
  const std::shared_ptr<const T>& current() {
    if (const std::uint64_t newest = source_.version(); newest != version_) {
      value_ = source_.get();
      version_ = newest;
    }
    return value_;
  }

 private:
  const Published<T>& source_;
  std::shared_ptr<const T> value_;
  std::uint64_t version_ = 0;
};

}  // namespace sollol::gateway

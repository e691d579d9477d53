#pragma once

#include <sys/mman.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <type_traits>

namespace sollol {

/// What is remembered of the keys that were met last: a fixed number of entries in sets of
/// `ways`, of which the one written longest ago makes room. Keys are well-mixed hashes; two that
/// are equal are one.
///
/// Any thread: each set's few entries are looked at under one of many locks, held for nanoseconds
/// and rarely wanted by two.
template <class Value>
class RecentTable {
 public:
  static constexpr std::size_t ways = 4;

  /// `entries`: rounded up to a power of two.
  explicit RecentTable(std::size_t entries) {
    while (count_ * ways < entries) count_ *= 2;
    // Of what comes straight from the system, pages that nobody has touched cost nothing; and zeros
    // are empty sets.
    void* const memory = ::mmap(nullptr, count_ * sizeof(Set), PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    sets_ = {static_cast<Set*>(memory), Unmap{count_ * sizeof(Set)}};
  }

  std::optional<Value> find(std::uint64_t key) const {
    const Set& set = set_of(key);
    const std::scoped_lock lock(lock_of(key));
    for (const Entry& entry : set.entries) {
      if (entry.turn != 0 && entry.key == key) return entry.value;
    }
    return std::nullopt;
  }

  /// Runs `visit(key, value)` on all that is remembered, under the lock of each.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::size_t i = 0; i < count_; ++i) {
      const std::scoped_lock lock(lock_of(i));
      for (const Entry& entry : sets_.get()[i].entries) {
        if (entry.turn != 0) visit(entry.key, entry.value);
      }
    }
  }

  /// Runs `change(value)` on what is remembered, or on a new value.
  template <class Change>
  void update(std::uint64_t key, Change&& change) {
    Set& set = set_of(key);
    const std::scoped_lock lock(lock_of(key));
    Entry* oldest = &set.entries.front();
    for (Entry& entry : set.entries) {
      if (entry.turn != 0 && entry.key == key) {
        entry.turn = ++set.turn;
        change(entry.value);
        return;
      }
      if (entry.turn < oldest->turn) oldest = &entry;
    }
    *oldest = {key, ++set.turn, Value{}};
    change(oldest->value);
  }

 private:
  struct Entry {
    std::uint64_t key = 0;
    std::uint64_t turn = 0;  // of the set, when it was last written; 0: empty
    Value value{};
  };
  struct Set {
    std::array<Entry, ways> entries{};
    std::uint64_t turn = 0;
  };
  static_assert(std::is_trivially_copyable_v<Set>);
  struct Unmap {
    std::size_t bytes = 0;
    void operator()(Set* sets) const { ::munmap(sets, bytes); }
  };

  Set& set_of(std::uint64_t key) const { return sets_.get()[key & (count_ - 1)]; }
  std::mutex& lock_of(std::uint64_t key) const {
    return locks_[(key & (count_ - 1)) % locks_.size()];
  }

  std::size_t count_ = 1;
  std::unique_ptr<Set, Unmap> sets_;
  mutable std::array<std::mutex, 64> locks_;
};

}  // namespace sollol

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace sollol::net {

/// Bytes received and not yet used, contiguous. Holds no memory while empty and released, so that
/// an idle connection costs nothing. What `view` shows is followed by `padding` readable bytes
/// (simdjson reads past the end).
class InputBuffer {
 public:
  static constexpr std::size_t padding = 64;

  std::string_view view() const noexcept { return {data_.get() + begin_, end_ - begin_}; }
  std::size_t size() const noexcept { return end_ - begin_; }
  bool empty() const noexcept { return begin_ == end_; }
  std::size_t capacity() const noexcept { return capacity_; }

  /// Room for at least `wanted` more bytes; moves what is held, so earlier views end here.
  std::span<char> prepare(std::size_t wanted) {
    if (capacity_ - end_ < wanted) make_room(wanted);
    return {data_.get() + end_, capacity_ - end_};
  }
  void commit(std::size_t bytes) noexcept { end_ += bytes; }
  void consume(std::size_t bytes) noexcept {
    begin_ += bytes;
    if (begin_ == end_) begin_ = end_ = 0;
  }
  /// Gives the memory back when nothing is held.
  void release() noexcept {
    if (!empty()) return;
    Spares& spares = spares_of_thread();
    if (capacity_ == spare_size && spares.count < spares.blocks.size())
      spares.blocks[spares.count++] = std::move(data_);
    data_.reset();
    capacity_ = 0;
  }

 private:
  void make_room(std::size_t wanted) {
    const std::size_t held = size();
    if (capacity_ - held >= wanted) {
      std::memmove(data_.get(), data_.get() + begin_, held);
    } else {
      const std::size_t grown = std::max(held + wanted, capacity_ * 2);
      auto fresh = block_of(grown);
      if (held > 0) std::memcpy(fresh.get(), data_.get() + begin_, held);
      data_ = std::move(fresh);
      capacity_ = grown;
    }
    begin_ = 0;
    end_ = held;
  }

  /// Blocks of the size that nearly every request takes, given back by the last ones on this thread:
  /// the allocator's own path for such a size costs more than reading the request.
  struct Spares {
    std::array<std::unique_ptr<char[]>, 64> blocks;
    std::size_t count = 0;
  };
  static constexpr std::size_t spare_size = 4096;
  static Spares& spares_of_thread() noexcept {
    thread_local Spares spares;
    return spares;
  }
  static std::unique_ptr<char[]> block_of(std::size_t size) {
    Spares& spares = spares_of_thread();
    if (size == spare_size && spares.count > 0) return std::move(spares.blocks[--spares.count]);
    return std::make_unique_for_overwrite<char[]>(size + padding);
  }

  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace sollol::net

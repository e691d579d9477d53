#pragma once

#include <algorithm>
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
      auto fresh = std::make_unique_for_overwrite<char[]>(grown + padding);
      if (held > 0) std::memcpy(fresh.get(), data_.get() + begin_, held);
      data_ = std::move(fresh);
      capacity_ = grown;
    }
    begin_ = 0;
    end_ = held;
  }

  std::unique_ptr<char[]> data_;
  std::size_t capacity_ = 0;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
};

}  // namespace sollol::net

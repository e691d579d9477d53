#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace sollol {

/// An integer that cannot be mistaken for another id; `Tag` only tells the types apart.
template <class Tag, class Rep = std::uint32_t>
class StrongId {
 public:
  constexpr explicit StrongId(Rep value) noexcept : value_(value) {}
  constexpr Rep value() const noexcept { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) noexcept = default;

 private:
  Rep value_;
};

using NodeId =
    StrongId<struct NodeTag>;  // index given at registration; never reused while the process lives
using ModelId = StrongId<struct ModelTag>;  // index of a canonical model name; never reused either

}  // namespace sollol

template <class Tag, class Rep>
struct std::hash<sollol::StrongId<Tag, Rep>> {
  std::size_t operator()(sollol::StrongId<Tag, Rep> id) const noexcept {
    return std::hash<Rep>{}(id.value());
  }
};

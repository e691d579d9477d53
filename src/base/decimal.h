#pragma once

#include <charconv>
#include <cstdint>

namespace sollol {

namespace detail {
constexpr std::uint64_t power_of_ten(unsigned digits) {
  return digits == 0 ? 1 : 10 * power_of_ten(digits - 1);
}
}  // namespace detail

/// Writes a point and so many units of the last of `digits` digits after it (fewer than 10^digits)
/// at `to`, which has room for digits + 1. Returns the end.
template <unsigned digits>
char* put_fraction(char* to, std::uint64_t units) noexcept {
  constexpr std::uint64_t one = detail::power_of_ten(digits);
  // One digit more, so that none is left out at the front; the point takes its place.
  char* const end = std::to_chars(to, to + digits + 1, one + units).ptr;
  *to = '.';
  return end;
}

/// Writes so many units of the last of `digits` digits after the point at `to`, which has room for
/// 20 + digits.
template <unsigned digits>
char* put_fixed(char* to, std::uint64_t units) noexcept {
  constexpr std::uint64_t one = detail::power_of_ten(digits);
  to = std::to_chars(to, to + 20, units / one).ptr;
  return put_fraction<digits>(to, units % one);
}

}  // namespace sollol

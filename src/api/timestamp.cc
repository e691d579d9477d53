#include "api/timestamp.h"

#include <fmt/compile.h>

#include <limits>

#include "base/decimal.h"

namespace sollol::api {
namespace {

using namespace std::chrono;
__extension__ using Wide = __int128;

/// Takes `digits` digits off the front; nullopt when they are not there.
std::optional<int> take_number(std::string_view& text, std::size_t digits) noexcept {
  if (text.size() < digits) return std::nullopt;
  int number = 0;
  for (const char c : text.substr(0, digits)) {
    if (c < '0' || c > '9') return std::nullopt;
    number = number * 10 + (c - '0');
  }
  text.remove_prefix(digits);
  return number;
}

bool take(std::string_view& text, std::string_view any_of) noexcept {
  if (text.empty() || !any_of.contains(text.front())) return false;
  text.remove_prefix(1);
  return true;
}

std::optional<sys_days> take_date(std::string_view& text) noexcept {
  const auto y = take_number(text, 4);
  if (!y || !take(text, "-")) return std::nullopt;
  const auto m = take_number(text, 2);
  if (!m || !take(text, "-")) return std::nullopt;
  const auto d = take_number(text, 2);
  if (!d) return std::nullopt;
  const year_month_day date{year{*y}, month{static_cast<unsigned>(*m)},
                            day{static_cast<unsigned>(*d)}};
  if (!date.ok()) return std::nullopt;
  return sys_days{date};
}

std::optional<seconds> take_clock(std::string_view& text) noexcept {
  const auto h = take_number(text, 2);
  if (!h || *h > 23 || !take(text, ":")) return std::nullopt;
  const auto m = take_number(text, 2);
  if (!m || *m > 59 || !take(text, ":")) return std::nullopt;
  const auto s = take_number(text, 2);
  if (!s || *s > 60) return std::nullopt;
  return hours{*h} + minutes{*m} + seconds{*s};
}

/// The fraction in nanoseconds; nullopt for a dot without digits.
std::optional<std::int64_t> take_fraction(std::string_view& text) noexcept {
  if (!take(text, ".,")) return 0;
  std::int64_t fraction = 0;
  std::size_t digits = 0;
  for (; !text.empty() && text.front() >= '0' && text.front() <= '9';
       ++digits, text.remove_prefix(1)) {
    if (digits < 9) fraction = fraction * 10 + (text.front() - '0');
  }
  if (digits == 0) return std::nullopt;
  for (; digits < 9; ++digits) fraction *= 10;
  return fraction;
}

std::optional<seconds> take_offset(std::string_view& text) noexcept {
  if (take(text, "Zz")) return seconds{0};
  const bool east = text.starts_with('+');
  if (!take(text, "+-")) return std::nullopt;
  const auto h = take_number(text, 2);
  if (!h || *h > 23 || !take(text, ":")) return std::nullopt;
  const auto m = take_number(text, 2);
  if (!m || *m > 59) return std::nullopt;
  const seconds offset = hours{*h} + minutes{*m};
  return east ? offset : -offset;
}

}  // namespace

std::string format_timestamp(WallTime time) { return std::string(TimestampFormatter()(time)); }

std::string_view TimestampFormatter::operator()(WallTime time) {
  const auto whole = floor<seconds>(time);
  if (second_ != whole) {
    second_ = whole;
    const auto date = floor<days>(whole);
    const year_month_day ymd{date};
    const hh_mm_ss clock{whole - date};
    // What 64 bits of nanoseconds hold are years of four digits.
    fmt::format_to(text_.data(), FMT_COMPILE("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}"),
                   static_cast<int>(ymd.year()), static_cast<unsigned>(ymd.month()),
                   static_cast<unsigned>(ymd.day()), clock.hours().count(), clock.minutes().count(),
                   clock.seconds().count());
  }
  *put_fraction<9>(&text_[19], static_cast<std::uint64_t>(nanoseconds(time - whole).count())) = 'Z';
  return {text_.data(), text_.size()};
}

std::optional<std::int64_t> parse_timestamp(std::string_view text) noexcept {
  const auto date = take_date(text);
  if (!date || !take(text, "Tt ")) return std::nullopt;
  const auto clock = take_clock(text);
  if (!clock) return std::nullopt;
  const auto fraction = take_fraction(text);
  if (!fraction) return std::nullopt;
  const auto offset = take_offset(text);
  if (!offset || !text.empty()) return std::nullopt;
  const seconds since_epoch = date->time_since_epoch() + *clock - *offset;
  const Wide total = Wide{since_epoch.count()} * 1'000'000'000 + *fraction;
  using Limits = std::numeric_limits<std::int64_t>;
  if (total > Limits::max()) return Limits::max();
  if (total < Limits::min()) return Limits::min();
  return static_cast<std::int64_t>(total);
}

}  // namespace sollol::api

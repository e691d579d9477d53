#include "api/timestamp.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>

namespace sollol::api {
namespace {

TEST(Timestamp, WritesNanosecondsInUtc) {
  const WallTime time{std::chrono::nanoseconds{1'787'306'400'123'456'789}};
  EXPECT_EQ(format_timestamp(time), "2026-08-21T10:00:00.123456789Z");
  EXPECT_EQ(format_timestamp(WallTime{}), "1970-01-01T00:00:00.000000000Z");
  EXPECT_EQ(format_timestamp(WallTime{std::chrono::nanoseconds{-1}}),
            "1969-12-31T23:59:59.999999999Z");
}

TEST(Timestamp, FormatsManyAsEachAlone) {
  TimestampFormatter format;
  const std::int64_t noon = 1'787'306'400'000'000'000;
  for (const std::int64_t after :
       {0L, 1L, 999'999'999L, 1'000'000'000L, 60'000'000'000L, -1L, 5L}) {
    const WallTime time{std::chrono::nanoseconds{noon + after}};
    EXPECT_EQ(format(time), format_timestamp(time));
    EXPECT_EQ(parse_timestamp(format(time)), noon + after);
  }
}

TEST(Timestamp, ReadsAnyOffsetAndFraction) {
  const auto utc = parse_timestamp("2026-08-21T10:00:00Z");
  ASSERT_TRUE(utc);
  EXPECT_EQ(*utc, 1'787'306'400'000'000'000);
  EXPECT_EQ(parse_timestamp("2026-08-21T12:00:00+02:00"), utc);
  EXPECT_EQ(parse_timestamp("2026-08-21T04:30:00.000-05:30"), utc);
  EXPECT_EQ(parse_timestamp("2026-08-21t10:00:00z"), utc);
  EXPECT_EQ(parse_timestamp("2026-08-21T10:00:00.1Z"), *utc + 100'000'000);
  EXPECT_EQ(parse_timestamp("2026-08-21T10:00:00.1234567899Z"), *utc + 123'456'789);
}

TEST(Timestamp, HoldsForeverAtItsEnd) {
  EXPECT_EQ(parse_timestamp("2318-11-30T10:00:00.5+01:00"),
            std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_timestamp("9999-12-31T23:59:59Z"), std::numeric_limits<std::int64_t>::max());
  EXPECT_EQ(parse_timestamp("0001-01-01T00:00:00Z"), std::numeric_limits<std::int64_t>::min());
}

TEST(Timestamp, RefusesWhatIsNone) {
  for (const auto* text :
       {"", "2026", "2026-08-21", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z",
        "2026-08-21T24:00:00Z", "2026-08-21T10:60:00Z", "2026-08-21T10:00:00",
        "2026-08-21T10:00:00.Z", "2026-08-21T10:00:00+0200", "2026-08-21T10:00:00Zx",
        "2026-08-21T10:00:00+99:00", "x026-08-21T10:00:00Z"}) {
    EXPECT_FALSE(parse_timestamp(text)) << text;
  }
}

RC_GTEST_PROP(TimestampProperty, ReadsWhatItWrote, (std::int64_t nanoseconds)) {
  const WallTime time{std::chrono::nanoseconds{nanoseconds}};
  RC_ASSERT(parse_timestamp(format_timestamp(time)) == nanoseconds);
}

}  // namespace
}  // namespace sollol::api

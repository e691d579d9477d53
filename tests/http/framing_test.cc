#include "http/framing.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

namespace sollol::http {
namespace {

using namespace std::string_literals;
using State = BodyWatcher::State;
using Kind = Framing::Kind;

struct Followed {
  State state;
  std::string payload;
  std::size_t used;
  std::uint64_t unsettled;
  friend bool operator==(const Followed&, const Followed&) = default;
};

/// Feeds the pieces until the body ends.
Followed follow(Framing framing, const std::vector<std::string_view>& pieces) {
  BodyWatcher watcher(framing);
  Followed result{watcher.state(), {}, 0, 0};
  for (const std::string_view piece : pieces) {
    const auto append = [&](std::string_view payload) { result.payload.append(payload); };
    result.used += watcher.feed(piece, append);
    EXPECT_EQ(watcher.payload_bytes(), result.payload.size());
  }
  result.state = watcher.state();
  result.unsettled = watcher.unsettled();
  return result;
}

Followed follow_chunked(std::string_view bytes) { return follow({Kind::chunked}, {bytes}); }

TEST(BodyWatcher, NothingFollowsAHeadWithoutBody) {
  const Followed got = follow({}, {"GET"});
  EXPECT_EQ(got.state, State::done);
  EXPECT_EQ(got.used, 0u);
}

TEST(BodyWatcher, ASizedBodyLeavesWhatFollowsIt) {
  const Followed got = follow({Kind::sized, 5}, {"he", "lloGET /"});
  EXPECT_EQ(got.state, State::done);
  EXPECT_EQ(got.payload, "hello");
  EXPECT_EQ(got.used, 5u);
}

TEST(BodyWatcher, ASizedBodyOfNothingIsDoneAtOnce) {
  EXPECT_TRUE(BodyWatcher(Framing{Kind::sized, 0}).done());
}

TEST(BodyWatcher, ABodyUntilCloseEndsWithTheConnection) {
  BodyWatcher watcher(Framing{Kind::until_close});
  EXPECT_EQ(watcher.feed("abc", [](std::string_view) {}), 3u);
  EXPECT_EQ(watcher.state(), State::reading);
  watcher.end_of_stream();
  EXPECT_EQ(watcher.state(), State::done);
}

TEST(BodyWatcher, ACutBodyIsBad) {
  for (const Framing framing : {Framing{Kind::sized, 5}, Framing{Kind::chunked}}) {
    BodyWatcher watcher(framing);
    watcher.feed("3\r\n", [](std::string_view) {});
    watcher.end_of_stream();
    EXPECT_EQ(watcher.state(), State::bad);
  }
}

TEST(BodyWatcher, ACloseAfterTheEndChangesNothing) {
  BodyWatcher watcher(Framing{Kind::sized, 1});
  watcher.feed("x", [](std::string_view) {});
  watcher.end_of_stream();
  EXPECT_TRUE(watcher.done());
}

struct ChunkedCase {
  const char* name;
  std::string bytes;
  State state = State::done;
  std::string payload = "";
};

std::vector<ChunkedCase> chunked_table() {
  return {
      {"empty", "0\r\n\r\n"},
      {"one", "5\r\nhello\r\n0\r\n\r\n", State::done, "hello"},
      {"upper_and_lower_hex", "A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", State::done,
       "01234567890123456789"},
      {"leading_zeros", "005\r\nhello\r\n000\r\n\r\n", State::done, "hello"},
      {"line_ends_in_payload", "4\r\n\r\n\r\n\r\n0\r\n\r\n", State::done, "\r\n\r\n"},
      {"extension", "5;a=b\r\nhello\r\n0;last\r\n\r\n", State::done, "hello"},
      {"quoted_extension", "5;a=\"x;y\"\r\nhello\r\n0\r\n\r\n", State::done, "hello"},
      {"trailers", "5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n", State::done, "hello"},
      {"no_end_yet", "5\r\nhello\r\n", State::reading, "hello"},
      {"no_blank_line_yet", "0\r\n", State::reading},
      {"no_digits", "\r\nhello", State::bad},
      {"not_hex", "g\r\n", State::bad},
      {"signed", "+5\r\nhello\r\n", State::bad},
      {"negative", "-5\r\nhello\r\n", State::bad},
      {"hex_prefix", "0x5\r\nhello\r\n", State::bad},
      {"space_first", " 5\r\nhello\r\n", State::bad},
      {"space_after", "5 \r\nhello\r\n", State::bad},
      {"sixteen_digits", "8000000000000000\r\n", State::bad},
      {"wraps_around", "ffffffffffffffffff5\r\nhello", State::bad},
      {"line_feed_ends_size", "5\nhello\r\n", State::bad},
      {"line_feed_ends_extension", "5;a\nhello\r\n", State::bad},
      {"nul_in_extension", "5;\0\r\nhello"s, State::bad},
      {"carriage_return_alone", "5\rhello\r\n", State::bad},
      {"payload_longer_than_its_size", "5\r\nhello!\r\n", State::bad, "hello"},
      {"line_feed_ends_payload", "5\r\nhello\n0\r\n\r\n", State::bad, "hello"},
      {"line_feed_ends_trailer", "0\r\nA: b\n\r\n", State::bad},
      {"line_feed_ends_body", "0\r\n\n", State::bad},
      {"trailer_without_colon", "0\r\nGET / HTTP/1.1\r\n\r\n", State::bad},
      {"trailer_without_name", "0\r\n: b\r\n\r\n", State::bad},
      {"space_before_trailer_colon", "0\r\nA : b\r\n\r\n", State::bad},
      {"control_in_trailer", "0\r\nA: \x01\r\n\r\n", State::bad},
      {"control_in_extension", "1;a=\x7f\r\nx\r\n0\r\n\r\n", State::bad},
      {"folded_trailer", "0\r\n A: b\r\n\r\n", State::bad},
  };
}

class Chunked : public testing::TestWithParam<ChunkedCase> {};

TEST_P(Chunked, IsFollowedToItsEnd) {
  const Followed got = follow_chunked(GetParam().bytes);
  EXPECT_EQ(got.state, GetParam().state);
  EXPECT_EQ(got.payload, GetParam().payload);
  if (got.state != State::bad) {
    EXPECT_EQ(got.used, GetParam().bytes.size());
  }
}

TEST_P(Chunked, IsTheSameByteByByte) {
  const std::string& bytes = GetParam().bytes;
  std::vector<std::string_view> pieces;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    pieces.push_back(std::string_view(bytes).substr(i, 1));
  }
  EXPECT_EQ(follow({Kind::chunked}, pieces), follow_chunked(bytes));
}

INSTANTIATE_TEST_SUITE_P(Table, Chunked, testing::ValuesIn(chunked_table()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(ChunkOverhead, EndlessExtensionsAndTrailersAreBad) {
  const std::string much(chunk_overhead_max + 1, 'x');
  EXPECT_EQ(follow_chunked("5;" + much).state, State::bad);
  EXPECT_EQ(follow_chunked("0\r\nA" + much).state, State::bad);
  std::string many;
  for (std::uint32_t i = 0; i <= chunk_overhead_max / 2; ++i) many += "1;x\r\ny\r\n";
  EXPECT_EQ(follow_chunked(many).state, State::bad);
}

TEST(ChunkOf, IsReadBackAsItsPayload) {
  EXPECT_EQ(chunk_of("hello"), "5\r\nhello\r\n");
  const std::string body = chunk_of(std::string(300, 'x')) + std::string(last_chunk);
  EXPECT_EQ(follow_chunked(body).payload, std::string(300, 'x'));
}

/// A chunked body, and where each of its chunks ends.
struct Body {
  std::string bytes;
  std::string payload;
  std::vector<std::size_t> settled{0};  // positions at which no chunk is open
};

Body any_body() {
  Body body;
  const auto payloads = *rc::gen::container<std::vector<std::string>>(
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf("ab\r\n0;"s))));
  for (const std::string& payload : payloads) {
    body.bytes += chunk_of(payload);
    body.payload += payload;
    body.settled.push_back(body.bytes.size());
  }
  body.bytes += *rc::gen::element("0\r\n\r\n"s, "0;x\r\n\r\n"s, "00\r\nA: b\r\n\r\n"s);
  return body;
}

std::vector<std::string_view> any_split(std::string_view bytes) {
  std::vector<std::string_view> pieces;
  while (!bytes.empty()) {
    const auto cut = *rc::gen::inRange<std::size_t>(1, std::min<std::size_t>(bytes.size(), 9) + 1);
    pieces.push_back(bytes.substr(0, cut));
    bytes.remove_prefix(cut);
  }
  return pieces;
}

RC_GTEST_PROP(AnyChunkedBody, IsTheSameHoweverItIsCut, ()) {
  const Body body = any_body();
  const std::string followed_by = body.bytes + "HTTP/1.1 200 OK\r\n";
  const Followed got = follow({Kind::chunked}, any_split(followed_by));
  RC_ASSERT(got.state == State::done);
  RC_ASSERT(got.payload == body.payload);
  RC_ASSERT(got.used == body.bytes.size());
}

RC_GTEST_PROP(AnyChunkedBody, ToldHowMuchOfItIsUnsettledAfterEachPiece, ()) {
  const Body body = any_body();
  BodyWatcher watcher(Framing{Kind::chunked});
  std::size_t fed = 0;
  for (const std::string_view piece : any_split(body.bytes)) {
    fed += watcher.feed(piece, [](std::string_view) {});
    const auto last = std::ranges::upper_bound(body.settled, fed) - 1;
    RC_ASSERT(watcher.unsettled() == fed - *last);
  }
  RC_ASSERT(watcher.done());
}

RC_GTEST_PROP(AnyChunkedBody, IsBadWhenItIsCutShort, ()) {
  const Body body = any_body();
  const auto cut = *rc::gen::inRange<std::size_t>(0, body.bytes.size());
  BodyWatcher watcher(Framing{Kind::chunked});
  watcher.feed(std::string_view(body.bytes).substr(0, cut), [](std::string_view) {});
  RC_ASSERT(watcher.state() == State::reading);
  watcher.end_of_stream();
  RC_ASSERT(watcher.state() == State::bad);
}

}  // namespace
}  // namespace sollol::http

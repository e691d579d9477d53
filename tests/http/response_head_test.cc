#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "http/head.h"

namespace sollol::http {
namespace {

using namespace std::string_literals;
using State = HeadParse::State;
using Kind = Framing::Kind;

HeadParse parse(std::string_view bytes, ResponseHead& head, HeadLimits limits = {}) {
  return parse_response_head(bytes, limits, head);
}

struct GoodCase {
  const char* name;
  std::string bytes;
  int status = 200;
  std::string reason = "OK";
  Kind framing = Kind::until_close;
  std::uint64_t length = 0;
  bool keep_alive = true;
};

std::vector<GoodCase> good_heads() {
  return {
      {.name = "until_close", .bytes = "HTTP/1.1 200 OK\r\n\r\n"},
      {.name = "sized",
       .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
       .framing = Kind::sized,
       .length = 5},
      {.name = "empty",
       .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
       .framing = Kind::sized},
      {.name = "chunked",
       .bytes = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
       .framing = Kind::chunked},
      {.name = "closing",
       .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
       .framing = Kind::sized,
       .length = 5,
       .keep_alive = false},
      {.name = "old",
       .bytes = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
       .framing = Kind::sized,
       .length = 5,
       .keep_alive = false},
      {.name = "old_keeping_alive",
       .bytes = "HTTP/1.0 200 OK\r\nContent-Length: 5\r\nConnection: Keep-Alive\r\n\r\n",
       .framing = Kind::sized,
       .length = 5},
      {.name = "no_reason", .bytes = "HTTP/1.1 404\r\n\r\n", .status = 404, .reason = ""},
      {.name = "empty_reason", .bytes = "HTTP/1.1 404 \r\n\r\n", .status = 404, .reason = ""},
      {.name = "long_reason",
       .bytes = "HTTP/1.1 503 Service Unavailable\r\n\r\n",
       .status = 503,
       .reason = "Service Unavailable"},
  };
}

class GoodResponse : public testing::TestWithParam<GoodCase> {};

TEST_P(GoodResponse, SaysWhatFollows) {
  const GoodCase& row = GetParam();
  ResponseHead head;
  const std::string and_more = row.bytes + "body";
  const HeadParse got = parse(and_more, head);
  ASSERT_EQ(got.state, State::complete) << got.problem;
  EXPECT_EQ(got.length, row.bytes.size());
  EXPECT_EQ(head.status, row.status);
  EXPECT_EQ(head.reason, row.reason);
  EXPECT_EQ(head.framing.kind, row.framing);
  EXPECT_EQ(head.framing.length, row.length);
  EXPECT_EQ(head.keep_alive, row.keep_alive);
}

TEST_P(GoodResponse, IsIncompleteUntilItsLastByte) {
  const std::string& bytes = GetParam().bytes;
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    ResponseHead head;
    EXPECT_EQ(parse(std::string_view(bytes).substr(0, cut), head).state, State::incomplete) << cut;
  }
}

struct BadCase {
  const char* name;
  std::string bytes;
};

std::vector<BadCase> bad_heads() {
  const auto with = [](std::string_view fields) {
    return "HTTP/1.1 200 OK\r\n" + std::string(fields) + "\r\n";
  };
  return {
      {"not_http", "SSH-2.0-OpenSSH_9.2p1\r\n"},
      {"http2", "HTTP/2.0 200 OK\r\n\r\n"},
      {"no_status", "HTTP/1.1 OK fine\r\n\r\n"},
      {"status_of_two_digits", "HTTP/1.1 20 OK\r\n\r\n"},
      {"status_of_four_digits", "HTTP/1.1 2000 OK\r\n\r\n"},
      {"status_below_100", "HTTP/1.1 099 OK\r\n\r\n"},
      {"control_in_reason", "HTTP/1.1 200 O\x01K\r\n\r\n"},
      {"line_feed_only", "HTTP/1.1 200 OK\nContent-Length: 5\n\n"},
      {"length_and_coding", with("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")},
      {"two_lengths", with("Content-Length: 3\r\nContent-Length: 4\r\n")},
      {"listed_length", with("Content-Length: 3,3\r\n")},
      {"signed_length", with("Content-Length: +3\r\n")},
      {"other_coding", with("Transfer-Encoding: gzip\r\n")},
      {"folded", with("X: a\r\n b\r\n")},
      {"space_before_colon", with("Content-Length : 3\r\n")},
      {"nul_in_value", with("X: a\0b\r\n"s)},
  };
}

class BadResponse : public testing::TestWithParam<BadCase> {};

TEST_P(BadResponse, IsABadGateway) {
  ResponseHead head;
  const HeadParse got = parse(GetParam().bytes, head);
  ASSERT_EQ(got.state, State::bad);
  EXPECT_EQ(got.status, 502);
  EXPECT_FALSE(got.problem.empty());
}

TEST_P(BadResponse, IsNeverTakenForComplete) {
  const std::string& bytes = GetParam().bytes;
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    ResponseHead head;
    EXPECT_NE(parse(std::string_view(bytes).substr(0, cut), head).state, State::complete) << cut;
  }
}

const auto case_name = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Table, GoodResponse, testing::ValuesIn(good_heads()), case_name);
INSTANTIATE_TEST_SUITE_P(Table, BadResponse, testing::ValuesIn(bad_heads()), case_name);

TEST(ResponseLimits, ALargeHeadIsABadGateway) {
  const HeadLimits limits{.bytes_max = 100};
  ResponseHead head;
  EXPECT_EQ(parse("HTTP/1.1 200 " + std::string(200, 'x'), head, limits).status, 502);
  const std::string fields = "HTTP/1.1 200 OK\r\nX: " + std::string(200, 'x');
  EXPECT_EQ(parse(fields, head, limits).status, 502);
  EXPECT_EQ(parse(fields + "\r\n\r\n", head, limits).status, 502);
}

TEST(ResponseFraming, DependsOnMethodAndStatus) {
  const auto kind = [](int status, std::string_view method) {
    ResponseHead head;
    const std::string bytes =
        "HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: 5\r\n\r\n";
    EXPECT_EQ(parse(bytes, head).state, State::complete);
    return response_framing(head, method).kind;
  };
  EXPECT_EQ(kind(200, "GET"), Kind::sized);
  EXPECT_EQ(kind(404, "POST"), Kind::sized);
  EXPECT_EQ(kind(200, "HEAD"), Kind::none);
  EXPECT_EQ(kind(100, "GET"), Kind::none);
  EXPECT_EQ(kind(204, "GET"), Kind::none);
  EXPECT_EQ(kind(304, "GET"), Kind::none);
}

TEST(ReasonPhrase, IsNeverEmpty) {
  EXPECT_EQ(reason_phrase(404), "Not Found");
  EXPECT_EQ(reason_phrase(799), "Status");
}

TEST(EqualsIgnoringCase, FoldsLettersOnly) {
  EXPECT_TRUE(equals_ignoring_case("Content-LENGTH", "content-length"));
  EXPECT_FALSE(equals_ignoring_case("a", "ab"));
  EXPECT_FALSE(equals_ignoring_case("[", "{"));
}

}  // namespace
}  // namespace sollol::http

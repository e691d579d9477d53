#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <cctype>
#include <cstring>
#include <string>
#include <vector>

#include "http/head.h"

namespace sollol::http {
namespace {

using namespace std::string_literals;
using State = HeadParse::State;
using Kind = Framing::Kind;

HeadParse parse(std::string_view bytes, RequestHead& head, HeadLimits limits = {}) {
  return parse_request_head(bytes, limits, head);
}

std::string with_fields(std::string_view fields) {
  return "POST /api/chat HTTP/1.1\r\nHost: a\r\n" + std::string(fields) + "\r\n";
}

struct GoodCase {
  const char* name;
  std::string bytes;
  std::string target = "/";
  std::string authority = "a";
  Kind framing = Kind::none;
  std::uint64_t length = 0;
  bool keep_alive = true;
  bool expects_continue = false;
};

std::vector<GoodCase> good_heads() {
  return {
      {.name = "minimal", .bytes = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {.name = "query", .bytes = "GET /x?y=/z HTTP/1.1\r\nHost: a\r\n\r\n", .target = "/x?y=/z"},
      {.name = "empty_line_before", .bytes = "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {.name = "no_space_after_colon", .bytes = "GET / HTTP/1.1\r\nHost:a\r\n\r\n"},
      {.name = "white_space_around_value", .bytes = "GET / HTTP/1.1\r\nHost: \t a \t\r\n\r\n"},
      {.name = "empty_value", .bytes = "GET / HTTP/1.1\r\nHost: a\r\nX:\r\n\r\n"},
      {.name = "obs_text_in_value", .bytes = "GET / HTTP/1.1\r\nHost: a\r\nX: \xc3\xa9\r\n\r\n"},
      {.name = "sized",
       .bytes = "POST / HTTP/1.1\r\nHost: a\r\ncontent-LENGTH: 0012\r\n\r\n",
       .framing = Kind::sized,
       .length = 12},
      {.name = "ten_gigabytes",
       .bytes = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10737418240\r\n\r\n",
       .framing = Kind::sized,
       .length = 10737418240},
      {.name = "length_zero", .bytes = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n"},
      {.name = "chunked",
       .bytes = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
       .framing = Kind::chunked},
      {.name = "close",
       .bytes = "GET / HTTP/1.1\r\nHost: a\r\nConnection: x, Close\r\n\r\n",
       .keep_alive = false},
      {.name = "old_closes", .bytes = "GET / HTTP/1.0\r\nHost: a\r\n\r\n", .keep_alive = false},
      {.name = "old_needs_no_host",
       .bytes = "GET / HTTP/1.0\r\n\r\n",
       .authority = "",
       .keep_alive = false},
      {.name = "old_keeps_alive_when_asked",
       .bytes = "GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"},
      {.name = "expects_continue",
       .bytes = "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 3\r\n\r\n",
       .framing = Kind::sized,
       .length = 3,
       .expects_continue = true},
      {.name = "old_cannot_expect_continue",
       .bytes = "POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
       .keep_alive = false},
      {.name = "absolute_form_wins_over_host",
       .bytes = "GET http://b:1/x?y HTTP/1.1\r\nHost: B:1\r\n\r\n",
       .target = "/x?y",
       .authority = "b:1"},
      {.name = "absolute_form_without_path",
       .bytes = "GET HTTP://b HTTP/1.1\r\nHost: b\r\n\r\n",
       .authority = "b"},
      {.name = "options_of_the_server",
       .bytes = "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
       .target = "*"},
      {.name = "colon_in_path",
       .bytes = "HEAD /api/blobs/sha256:ab HTTP/1.1\r\nHost: a\r\n\r\n",
       .target = "/api/blobs/sha256:ab"},
  };
}

class GoodRequest : public testing::TestWithParam<GoodCase> {};

TEST_P(GoodRequest, SaysWhatFollows) {
  const GoodCase& row = GetParam();
  RequestHead head;
  const std::string and_more = row.bytes + "body";
  const HeadParse got = parse(and_more, head);
  ASSERT_EQ(got.state, State::complete) << got.problem;
  EXPECT_EQ(got.length, row.bytes.size());
  EXPECT_EQ(head.target, row.target);
  EXPECT_EQ(head.authority, row.authority);
  EXPECT_EQ(head.framing.kind, row.framing);
  EXPECT_EQ(head.framing.length, row.length);
  EXPECT_EQ(head.keep_alive, row.keep_alive);
  EXPECT_EQ(head.expects_continue, row.expects_continue);
}

TEST_P(GoodRequest, IsIncompleteUntilItsLastByte) {
  const std::string& bytes = GetParam().bytes;
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    RequestHead head;
    EXPECT_EQ(parse(std::string_view(bytes).substr(0, cut), head).state, State::incomplete) << cut;
  }
}

struct BadCase {
  const char* name;
  std::string bytes;
  int status = 400;
};

std::vector<BadCase> bad_heads() {
  std::vector<BadCase> rows{
      // Request smuggling: where two parsers could disagree about the end of the body.
      {"length_and_coding", with_fields("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n")},
      {"coding_and_length", with_fields("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n")},
      {"two_lengths", with_fields("Content-Length: 3\r\nContent-Length: 4\r\n")},
      {"two_equal_lengths", with_fields("Content-Length: 3\r\nContent-Length: 3\r\n")},
      {"listed_length", with_fields("Content-Length: 3, 3\r\n")},
      {"signed_length", with_fields("Content-Length: +3\r\n")},
      {"negative_length", with_fields("Content-Length: -3\r\n")},
      {"hex_length", with_fields("Content-Length: 0x3\r\n")},
      {"spaced_length", with_fields("Content-Length: 1 2\r\n")},
      {"empty_length", with_fields("Content-Length:\r\n")},
      {"huge_length", with_fields("Content-Length: 99999999999999999999\r\n")},
      {"two_codings", with_fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n")},
      {"coding_list", with_fields("Transfer-Encoding: gzip, chunked\r\n"), 501},
      {"coding_twice_in_list", with_fields("Transfer-Encoding: chunked, chunked\r\n"), 501},
      {"coding_identity", with_fields("Transfer-Encoding: identity\r\n"), 501},
      {"coding_lookalike", with_fields("Transfer-Encoding: xchunked\r\n"), 501},
      {"coding_quoted", with_fields("Transfer-Encoding: \"chunked\"\r\n"), 501},
      {"coding_empty", with_fields("Transfer-Encoding:\r\n"), 501},
      {"coding_vertical_tab", with_fields("Transfer-Encoding: \vchunked\r\n")},
      {"coding_in_http_1_0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"},
      {"space_before_colon", with_fields("Content-Length : 3\r\n")},
      {"tab_before_colon", with_fields("Transfer-Encoding\t: chunked\r\n")},
      {"folded", with_fields("X: a\r\n b\r\n")},
      {"folded_with_tab", with_fields("X: a\r\n\tb\r\n")},
      {"folded_first_line", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"},
      {"bare_line_feed", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"},
      {"bare_line_feeds_only", "GET / HTTP/1.1\nHost: a\n\n"},
      {"bare_carriage_return", with_fields("X: a\rb\r\n")},
      {"carriage_return_for_the_blank_line", "GET / HTTP/1.1\r\nHost: a\r\n\rX"},
      {"nul_in_value", with_fields("X: a\0b\r\n"s)},
      {"nul_in_name", with_fields("X\0Y: a\r\n"s)},
      {"delete_in_value", with_fields("X: a\x7f\r\n")},
      {"no_colon", with_fields("nonsense\r\n")},
      {"no_name", with_fields(": a\r\n")},
      {"utf8_name", with_fields("\xc3\xa9: a\r\n")},
      // The request line.
      {"two_spaces", "GET  / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"space_in_target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"space_after_version", "GET / HTTP/1.1 \r\nHost: a\r\n\r\n"},
      {"tab_between", "GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"space_first", " GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"two_empty_lines_before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"nul_in_target", "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n"s},
      {"utf8_target", "GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"no_version", "GET /\r\nHost: a\r\n\r\n"},
      {"lower_case_version", "GET / http/1.1\r\nHost: a\r\n\r\n"},
      {"version_of_three_parts", "GET / HTTP/1.10\r\nHost: a\r\n\r\n"},
      {"version_1_2", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 505},
      {"underscored_length", "POST / HTTP/1.1\r\nHost: a\r\nContent_Length: 3\r\n\r\n"},
      {"underscored_coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer_Encoding: chunked\r\n\r\n"},
      {"host_with_path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"},
      {"host_with_user", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n"},
      {"hosts_in_one_field", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n"},
      {"host_with_a_long_port", "GET / HTTP/1.1\r\nHost: a:123456\r\n\r\n"},
      {"host_with_open_bracket", "GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"},
      {"target_of_another_host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"fragment_in_target", "GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"second_expectation",
       "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n\r\n", 417},
      {"version_2", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
      {"http2_preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
      {"tls_client_hello", "\x16\x03\x01\x02\x01\x01"},
      {"endless_method", std::string(40, 'M') + " / HTTP/1.1\r\nHost: a\r\n\r\n", 501},
      {"connect", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n", 405},
      {"star_for_get", "GET * HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"relative_target", "GET x HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"other_scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"user_in_authority", "GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"query_in_authority", "GET http://a?x=/y HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"empty_authority", "GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n"},
      // Host and Expect.
      {"no_host", "GET / HTTP/1.1\r\n\r\n"},
      {"two_hosts", "GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n"},
      {"no_host_beside_absolute_form", "GET http://a/ HTTP/1.1\r\n\r\n"},
      {"other_expectation", with_fields("Expect: 200-ok\r\n"), 417},
  };
  return rows;
}

class BadRequest : public testing::TestWithParam<BadCase> {};

TEST_P(BadRequest, IsRefusedWithItsStatus) {
  RequestHead head;
  const HeadParse got = parse(GetParam().bytes, head);
  ASSERT_EQ(got.state, State::bad);
  EXPECT_EQ(got.status, GetParam().status) << got.problem;
  EXPECT_FALSE(got.problem.empty());
}

TEST_P(BadRequest, IsNeverTakenForCompleteAndNeverChangesItsAnswer) {
  const std::string& bytes = GetParam().bytes;
  for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
    RequestHead head;
    const HeadParse got = parse(std::string_view(bytes).substr(0, cut), head);
    EXPECT_NE(got.state, State::complete) << cut;
    if (got.state == State::bad) {
      EXPECT_EQ(got.status, GetParam().status) << cut;
    }
  }
}

const auto case_name = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Table, GoodRequest, testing::ValuesIn(good_heads()), case_name);
INSTANTIATE_TEST_SUITE_P(Table, BadRequest, testing::ValuesIn(bad_heads()), case_name);

TEST(RequestLimits, TooManyFieldsAreRefused) {
  std::string fields;
  for (int i = 0; i < 5; ++i) fields += "X: y\r\n";
  RequestHead head;
  EXPECT_EQ(parse(with_fields(fields), head, {.fields_max = 6}).state, State::complete);
  EXPECT_EQ(parse(with_fields(fields), head, {.fields_max = 5}).status, 431);
}

TEST(RequestLimits, MoreFieldsThanTheArrayHoldsAreRefusedWhateverTheLimit) {
  std::string fields;
  for (std::size_t i = 0; i < field_capacity; ++i) fields += "X: y\r\n";
  RequestHead head;
  EXPECT_EQ(parse(with_fields(fields), head, {.fields_max = 1000}).status, 431);
}

TEST(RequestLimits, ALargeHeadIsRefusedWhetherCompleteOrNot) {
  const std::string bytes = with_fields("X: " + std::string(200, 'y') + "\r\n");
  const HeadLimits limits{.bytes_max = 150};
  RequestHead head;
  EXPECT_EQ(parse(bytes, head, limits).status, 431);
  EXPECT_EQ(parse(std::string_view(bytes).substr(0, 160), head, limits).status, 431);
  EXPECT_EQ(parse(std::string_view(bytes).substr(0, 140), head, limits).state, State::incomplete);
}

TEST(RequestLimits, AnEndlessTargetIsRefused) {
  RequestHead head;
  const std::string bytes = "GET /" + std::string(300, 'x');
  EXPECT_EQ(parse(bytes, head, {.bytes_max = 200}).status, 414);
}

TEST(RequestFields, KeepTheirOrderAndTellWhatTheyAre) {
  RequestHead head;
  const std::string bytes = with_fields(
      "X-Sollol-Node: n\r\nACCESS-CONTROL-REQUEST-METHOD: PUT\r\nKeep-Alive: 5\r\nX: 1\r\nX: "
      "2\r\n");
  ASSERT_EQ(parse(bytes, head).state, State::complete);
  const auto all = head.fields.all();
  ASSERT_EQ(all.size(), 6u);
  EXPECT_EQ(all[0].id, FieldId::host);
  EXPECT_EQ(all[1].id, FieldId::sollol);
  EXPECT_EQ(all[2].id, FieldId::access_control);
  EXPECT_EQ(all[3].id, FieldId::keep_alive);
  EXPECT_EQ(all[4].id, FieldId::other);
  EXPECT_EQ(head.fields.find("x"), "1");
  EXPECT_EQ(head.fields.find("absent"), "");
  EXPECT_TRUE(is_hop_by_hop(FieldId::connection));
  EXPECT_TRUE(is_hop_by_hop(FieldId::upgrade));
  EXPECT_FALSE(is_hop_by_hop(FieldId::content_length));
  EXPECT_FALSE(is_hop_by_hop(FieldId::other));
}

/// A name or value with one byte in it that is not like the others, at every place in runs of every
/// length.
template <class Each>
void for_odd_bytes(std::string_view like, Each each) {
  for (std::size_t length = 1; length <= 20; ++length) {
    for (std::size_t at = 0; at < length; ++at) {
      for (int byte = 0; byte < 256; ++byte) {
        std::string run;
        while (run.size() < length) run += like[run.size() % like.size()];
        run[at] = static_cast<char>(byte);
        each(run, static_cast<unsigned char>(byte), at);
      }
    }
  }
}

TEST(RequestFields, EveryByteOfANameIsAToken) {
  for_odd_bytes("Name-of", [](const std::string& name, unsigned char byte, std::size_t at) {
    if (byte == ':' && at > 0) return;  // where the name ends
    RequestHead head;
    const std::string bytes = with_fields("X" + name + ": v\r\n");
    const bool token =
        std::isalnum(byte) != 0 || (byte != 0 && std::strchr("!#$%&'*+-.^_`|~", byte) != nullptr);
    const bool ends = byte == ':';
    ASSERT_EQ(parse(bytes, head).state == State::complete, token || ends) << name;
    if (token) EXPECT_EQ(head.fields.all()[1].name, "X" + name);
  });
}

TEST(RequestFields, NoByteOfAValueIsAControlCharacter) {
  for_odd_bytes("some value", [](const std::string& value, unsigned char byte, std::size_t) {
    RequestHead head;
    const std::string bytes = with_fields("X-Y: <" + value + ">\r\n");
    const bool allowed = byte == '\t' || (byte >= 0x20 && byte != 0x7f);
    ASSERT_EQ(parse(bytes, head).state == State::complete, allowed) << value;
    if (allowed) EXPECT_EQ(head.fields.all()[1].value, "<" + value + ">");
  });
}

TEST(RequestTarget, FallsIntoPathAndQuery) {
  RequestHead head;
  ASSERT_EQ(parse("GET /a/b?c=d?e HTTP/1.1\r\nHost: a\r\n\r\n", head).state, State::complete);
  EXPECT_EQ(head.path(), "/a/b");
  EXPECT_EQ(head.query(), "c=d?e");
}

/// A valid head of random methods, targets and fields.
rc::Gen<std::string> any_head() {
  const auto token =
      rc::gen::nonEmpty(rc::gen::container<std::string>(rc::gen::elementOf("abcXYZ019-_."s)));
  const auto value = rc::gen::container<std::string>(rc::gen::elementOf("ab ,;=\t\"\xc3\xa9"s));
  const auto field = rc::gen::map(rc::gen::pair(token, value), [](const auto& pair) {
    return "X-" + pair.first + ":" + pair.second + "\r\n";
  });
  const auto fields = rc::gen::resize(8, rc::gen::container<std::vector<std::string>>(field));
  return rc::gen::map(rc::gen::pair(rc::gen::resize(30, token), fields), [](const auto& pair) {
    std::string head = "GET /" + pair.first + " HTTP/1.1\r\n";
    for (const std::string& line : pair.second) head += line;
    return head + "Host: a\r\n\r\n";
  });
}

RC_GTEST_PROP(AnyRequest, IsCompleteAtItsLastByteAndNotBefore, ()) {
  const std::string bytes = *any_head();
  RequestHead head;
  const HeadParse whole = parse(bytes, head);
  RC_ASSERT(whole.state == State::complete);
  RC_ASSERT(whole.length == bytes.size());
  const auto cut = *rc::gen::inRange<std::size_t>(0, bytes.size());
  RC_ASSERT(parse(std::string_view(bytes).substr(0, cut), head).state == State::incomplete);
}

RC_GTEST_PROP(AnyRequest, IsReadAlikeWhateverFollows, (const std::string& rest)) {
  const std::string bytes = *any_head();
  RequestHead alone, followed;
  const std::string longer = bytes + rest;
  const HeadParse a = parse(bytes, alone), b = parse(longer, followed);
  RC_ASSERT(a.state == b.state && a.length == b.length);
  RC_ASSERT(alone.target == followed.target);
  RC_ASSERT(alone.fields.count == followed.fields.count);
}

RC_GTEST_PROP(AnyBytes, NeverMakeTheParserReadPastThem, (const std::vector<char>& noise)) {
  // An exact heap block, so that the address sanitizer sees a read past the end.
  RequestHead head;
  const HeadParse got = parse({noise.data(), noise.size()}, head);
  RC_ASSERT(got.state != State::complete || got.length <= noise.size());
}

}  // namespace
}  // namespace sollol::http

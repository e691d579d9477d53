#include "net/http_call.h"

#include <vector>

#include "net/harness.h"

namespace sollol::net {
namespace {

/// What one call brought, copied out while it was valid.
struct Answer {
  Result<int> status = 0;  // or what went wrong
  std::string server;
  std::string body;
  bool reusable = false;
  bool received_anything = false;
};

struct Ask {
  std::string method = "GET";
  std::size_t body_max = 1 << 20;
  Duration timeout = patience;
};

Task<Answer> call(Loop& loop, Stream& stream, HttpScratch& scratch, Ask ask) {
  Answer answer;
  HttpCall one(stream, scratch);
  const TimePoint deadline = loop.scheduler.now() + ask.timeout;
  const std::string head = ask.method + " / HTTP/1.1\r\nHost: a\r\n\r\n";
  auto sending = one.send(head, "", deadline);
  const Result<void> sent = co_await std::move(sending);
  if (!sent) {
    answer.status = std::unexpected(sent.error());
    co_return answer;
  }
  auto receiving = one.receive_head(ask.method, deadline);
  const auto got = co_await std::move(receiving);
  answer.received_anything = one.received_anything();
  if (!got) {
    answer.status = std::unexpected(got.error());
    co_return answer;
  }
  answer.status = (*got)->status;
  answer.server = (*got)->fields.find("server");
  auto reading = one.receive_body(ask.body_max, deadline);
  auto body = co_await std::move(reading);
  if (body) {
    answer.body = std::move(*body);
  } else {
    answer.status = std::unexpected(body.error());
  }
  answer.reusable = one.reusable();
  co_return answer;
}

enum class Then : std::uint8_t { stay, close, reset };

/// Plays a node: reads the request, sends the pieces one by one, each when the one before has
/// arrived apart.
Task<bool> serve(Loop& loop, Stream& stream, std::vector<std::string> pieces, Then then) {
  std::string request;
  while (!request.contains("\r\n\r\n")) {
    auto reading = read_text(stream, 1, loop.soon());
    request += co_await std::move(reading);
  }
  for (const std::string& piece : pieces) {
    write_text(stream, piece);
    // Loopback delivers at once; a turn of the loop lets the reader take this piece alone.
    for (int turn = 0; turn < 3; ++turn) {
      auto yielding = asio::post(loop.context, use_task);
      co_await std::move(yielding);
    }
  }
  if (then == Then::close) stream.close();
  if (then == Then::reset) stream.reset();
  co_return true;
}

struct HttpCallOverTcp : testing::Test {
  Loop loop;
  Pair pair = make_pair(loop);
  HttpScratch scratch;

  Answer ask(std::vector<std::string> pieces, Then then = Then::stay, Ask what = {}) {
    asio::co_spawn(loop.context, serve(loop, *pair.server, std::move(pieces), then),
                   [](std::exception_ptr, bool) {});
    auto calling = call(loop, *pair.client, scratch, std::move(what));
    return loop.run(std::move(calling));
  }
};

struct AnswerCase {
  const char* name;
  std::vector<std::string> pieces;
  Then then = Then::stay;
  Ask ask = {};
  int status = 200;
  std::string body = "";
  bool reusable = true;
};

std::vector<AnswerCase> answer_table() {
  const std::string sized = "HTTP/1.1 200 OK\r\nServer: s\r\nContent-Length: 5\r\n\r\n";
  const std::string chunked = "HTTP/1.1 200 OK\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n";
  const std::string until_close = "HTTP/1.1 200 OK\r\nServer: s\r\n\r\n";
  const std::string interim = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n";
  std::vector<std::string> bytes;
  for (const char c : sized + "hello") bytes.emplace_back(1, c);
  std::vector<std::string> interim_bytes;
  for (const char c : interim + interim + sized + "hello") interim_bytes.emplace_back(1, c);
  return {
      {"at_once", {sized + "hello"}, Then::stay, {}, 200, "hello"},
      {"head_and_body_apart", {sized, "hello"}, Then::stay, {}, 200, "hello"},
      {"split_in_the_head",
       {sized.substr(0, 30), sized.substr(30) + "hel", "lo"},
       Then::stay,
       {},
       200,
       "hello"},
      {"byte_by_byte", bytes, Then::stay, {}, 200, "hello"},
      {"interim_first", {interim + sized + "hello"}, Then::stay, {}, 200, "hello"},
      {"interim_apart", {interim, sized + "hello"}, Then::stay, {}, 200, "hello"},
      {"interim_in_pieces",
       {interim.substr(0, 20), interim.substr(20), sized + "hello"},
       Then::stay,
       {},
       200,
       "hello"},
      {"two_interim_byte_by_byte", interim_bytes, Then::stay, {}, 200, "hello"},
      {"interim_and_half_a_head",
       {interim + sized.substr(0, 30), sized.substr(30), "hello"},
       Then::stay,
       {},
       200,
       "hello"},
      {"chunked", {chunked + "5\r\nhello\r\n0\r\n\r\n"}, Then::stay, {}, 200, "hello"},
      {"chunked_in_pieces",
       {chunked, "5\r", "\nhel", "lo\r\n0\r\n", "\r\n"},
       Then::stay,
       {},
       200,
       "hello"},
      {"until_close", {until_close, "hel", "lo"}, Then::close, {}, 200, "hello", false},
      {"no_content", {"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\n"}, Then::stay, {}, 204},
      {"head_request", {sized}, Then::stay, {.method = "HEAD"}, 200},
      {"closing",
       {"HTTP/1.1 200 OK\r\nServer: s\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"},
       Then::close,
       {},
       200,
       "ok",
       false},
      {"more_than_announced", {sized + "hello!"}, Then::stay, {}, 200, "hello", false},
      {"a_body_where_none_may_be",
       {"HTTP/1.1 204 No Content\r\nServer: s\r\n\r\noops"},
       Then::stay,
       {},
       204,
       "",
       false},
  };
}

class Answered : public HttpCallOverTcp, public testing::WithParamInterface<AnswerCase> {};

TEST_P(Answered, IsReadWholeAndSaysWhetherTheConnectionServesOn) {
  const AnswerCase& row = GetParam();
  const Answer got = ask(row.pieces, row.then, row.ask);
  ASSERT_TRUE(got.status.has_value()) << got.status.error().detail;
  EXPECT_EQ(*got.status, row.status);
  EXPECT_EQ(got.server, "s");
  EXPECT_EQ(got.body, row.body);
  EXPECT_EQ(got.reusable, row.reusable);
}

const auto case_name = [](const auto& row) { return std::string(row.param.name); };
INSTANTIATE_TEST_SUITE_P(Table, Answered, testing::ValuesIn(answer_table()), case_name);

struct FailCase {
  const char* name;
  std::vector<std::string> pieces;
  Then then;
  ErrorKind want;
  Retry retry = Retry::other_node;
  Ask ask = {};
};

class Failed : public HttpCallOverTcp, public testing::WithParamInterface<FailCase> {};

TEST_P(Failed, SaysHow) {
  const FailCase& row = GetParam();
  const Answer got = ask(row.pieces, row.then, row.ask);
  ASSERT_FALSE(got.status.has_value());
  EXPECT_EQ(got.status.error().kind, row.want) << got.status.error().detail;
  EXPECT_EQ(got.status.error().retry, row.retry);
  EXPECT_FALSE(got.status.error().detail.empty());
  EXPECT_EQ(got.received_anything, !row.pieces.empty());
}

std::vector<FailCase> fail_table() {
  const std::string sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
  const std::string chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
  return {
      {"closed_without_an_answer", {}, Then::close, ErrorKind::reset},
      {"reset_without_an_answer", {}, Then::reset, ErrorKind::reset},
      {"closed_inside_the_head", {sized.substr(0, 20)}, Then::close, ErrorKind::reset},
      {"closed_after_an_interim", {"HTTP/1.1 100 Continue\r\n\r\n"}, Then::close, ErrorKind::reset},
      {"not_http", {"SSH-2.0-OpenSSH_9.2p1\r\n"}, Then::stay, ErrorKind::bad_reply},
      {"two_lengths",
       {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"},
       Then::stay,
       ErrorKind::bad_reply},
      {"cut_body", {sized + "hel"}, Then::close, ErrorKind::bad_reply},
      {"cut_chunk", {chunked + "5\r\nhel"}, Then::close, ErrorKind::bad_reply},
      {"bad_chunk", {chunked + "zz\r\n"}, Then::stay, ErrorKind::bad_reply},
      {"reset_in_the_body", {sized + "hel"}, Then::reset, ErrorKind::reset},
      {"too_large",
       {sized + "hello"},
       Then::stay,
       ErrorKind::overloaded,
       Retry::never,
       {.body_max = 4}},
      {"too_large_in_chunks",
       {chunked, "3\r\nabc\r\n", "3\r\nabc\r\n"},
       Then::stay,
       ErrorKind::overloaded,
       Retry::never,
       {.body_max = 4}},
      {"silent", {}, Then::stay, ErrorKind::timeout, Retry::other_node, {.timeout = 50ms}},
      {"silent_inside_the_head",
       {sized.substr(0, 20)},
       Then::stay,
       ErrorKind::timeout,
       Retry::other_node,
       {.timeout = 50ms}},
      {"silent_inside_the_body",
       {sized + "hel"},
       Then::stay,
       ErrorKind::timeout,
       Retry::other_node,
       {.timeout = 50ms}},
  };
}

INSTANTIATE_TEST_SUITE_P(Table, Failed, testing::ValuesIn(fail_table()), case_name);

TEST_F(HttpCallOverTcp, CancellingTheStreamEndsTheCall) {
  asio::co_spawn(
      loop.context, serve(loop, *pair.server, {}, Then::stay),
      [&](std::exception_ptr, bool) { asio::post(loop.context, [&] { pair.client->cancel(); }); });
  auto calling = call(loop, *pair.client, scratch, {});
  const Answer got = loop.run(std::move(calling));
  ASSERT_FALSE(got.status.has_value());
  EXPECT_EQ(got.status.error().kind, ErrorKind::cancelled);
}

TEST_F(HttpCallOverTcp, OneConnectionCarriesCallAfterCall) {
  for (int i = 0; i < 3; ++i) {
    const Answer got = ask({"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n" + std::to_string(i)});
    ASSERT_TRUE(got.status.has_value());
    EXPECT_EQ(got.body, std::to_string(i));
    EXPECT_TRUE(got.reusable);
  }
}

TEST_F(HttpCallOverTcp, CallOnceSendsAWholeRequestAndReadsTheReply) {
  auto serving = [](Loop& its, Stream& stream) -> Task<std::string> {
    std::string request;
    while (!request.ends_with("{}")) {
      auto reading = read_text(stream, 1, its.soon());
      request += co_await std::move(reading);
    }
    write_text(
        stream,
        "HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]");
    co_return request;
  };
  std::string request;
  asio::co_spawn(loop.context, serving(loop, *pair.server),
                 [&](std::exception_ptr, std::string got) { request = std::move(got); });
  SimpleRequest wanted{.method = "POST",
                       .target = "/api/show",
                       .host_field = "n:1",
                       .extra_fields = "X: y\r\n",
                       .body = "{}"};
  auto calling = call_once(*pair.client, scratch, std::move(wanted), loop.soon());
  const auto got = loop.run(std::move(calling));
  ASSERT_TRUE(got.has_value()) << got.error().detail;
  EXPECT_EQ(got->reply.status, 201);
  EXPECT_EQ(got->reply.content_type, "application/json");
  EXPECT_EQ(got->reply.body, "[]");
  EXPECT_TRUE(got->reusable);
  EXPECT_TRUE(request.starts_with("POST /api/show HTTP/1.1\r\nHost: n:1\r\n")) << request;
  EXPECT_TRUE(request.contains("\r\nX: y\r\n")) << request;
  EXPECT_TRUE(request.contains("\r\nContent-Length: 2\r\n")) << request;
}

TEST_F(HttpCallOverTcp, ALargeRequestIsSentAsThePeerReads) {
  const std::string body(16 << 20, 'b');
  bool sent = false;
  HttpCall one(*pair.client, scratch);
  asio::co_spawn(loop.context, one.send("POST / HTTP/1.1\r\n\r\n", body, loop.soon()),
                 [&](std::exception_ptr, Result<void> result) { sent = result.has_value(); });
  auto reading = read_text(*pair.server, body.size() + 19, loop.soon());
  const std::string got = loop.run(std::move(reading));
  loop.run_until([&] { return sent; });
  EXPECT_TRUE(got == "POST / HTTP/1.1\r\n\r\n" + body);
}

TEST_F(HttpCallOverTcp, ARequestThatNobodyReadsTimesOut) {
  HttpCall one(*pair.client, scratch);
  const std::string body(64 << 20, 'b');
  auto sending = one.send("POST / HTTP/1.1\r\n\r\n", body, loop.scheduler.now() + 50ms);
  const auto got = loop.run(std::move(sending));
  ASSERT_FALSE(got.has_value());
  EXPECT_EQ(got.error().kind, ErrorKind::timeout);
}

}  // namespace
}  // namespace sollol::net

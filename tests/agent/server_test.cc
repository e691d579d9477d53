#include "agent/server.h"

#include <gtest/gtest.h>

#include "agent/client.h"
#include "net/harness.h"

namespace sollol::agent {
namespace {

using namespace std::chrono_literals;

namespace asio = net::asio;

const std::string token = "0123456789abcdef0123456789abcdef";

/// An agent on a free port of loopback, and what asks it.
struct Serving {
  explicit Serving(ServerOptions options = {.token = token}) {
    options.at = {.ip = "127.0.0.1", .port = 0};
    auto opened = Server::open(loop.context, loop.scheduler, std::move(options), [this] {
      ++asked;
      return to_json({.agent = "sollol test", .machine = {.id = "aa"}});
    });
    if (!opened) throw std::runtime_error(opened.error().detail);
    server = std::move(*opened);
  }
  ~Serving() {
    server->stop();
    loop.context.restart();
    loop.context.poll();
  }

  Result<AgentReport> fetch(std::string with) {
    auto task =
        fetch_report(loop.connector, scratch,
                     {.at = server->address(), .token = std::move(with), .deadline = loop.soon()});
    return loop.run(std::move(task));
  }

  std::unique_ptr<net::Stream> connect() {
    auto connecting = loop.connector.connect(server->address(), loop.soon());
    return std::move(loop.run(std::move(connecting)).value());
  }

  /// All that comes back for these bytes until the agent closes.
  std::string talk(std::string_view bytes) {
    const auto stream = connect();
    net::write_text(*stream, bytes);
    return rest_of(*stream);
  }

  std::string rest_of(net::Stream& stream) {
    std::string all;
    loop.run_until([&] {
      char block[4096];
      const auto got = stream.read(block);
      all.append(block, got.bytes);
      return got.status == net::IoResult::Status::end || got.status == net::IoResult::Status::error;
    });
    return all;
  }

  net::Loop loop;
  net::HttpScratch scratch;
  std::unique_ptr<Server> server;
  int asked = 0;
};

std::string get(std::string_view target, std::string_view more = "",
                std::string_view host = "127.0.0.1") {
  return "GET " + std::string(target) + " HTTP/1.1\r\nHost: " + std::string(host) + "\r\n" +
         std::string(more) + "\r\n";
}

TEST(AgentServer, GivesTheReportToWhoShowsTheToken) {
  Serving at;
  const auto report = at.fetch(token);
  ASSERT_TRUE(report.has_value()) << report.error().detail;
  EXPECT_EQ(report->machine.id, "aa");
  EXPECT_TRUE(at.fetch(token).has_value());
  EXPECT_EQ(at.asked, 2);
}

TEST(AgentServer, RefusesAWrongOrMissingToken) {
  Serving at;
  for (const auto* wrong : {"", "0123456789abcdef0123456789abcdeF", "0123456789abcdef", "x"})
    EXPECT_EQ(at.fetch(wrong).error().kind, ErrorKind::untrusted) << wrong;
  EXPECT_TRUE(at.talk(get(report_path, "Authorization: Basic " + token + "\r\n"))
                  .starts_with("HTTP/1.1 401 "));
  EXPECT_EQ(at.asked, 0);
}

TEST(AgentServer, WithoutATokenAnswersOnlyByAddress) {
  Serving at{ServerOptions{}};
  EXPECT_TRUE(at.fetch("").has_value());
  EXPECT_TRUE(at.talk(get(report_path, "", "localhost:1")).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(at.talk(get(report_path, "", "[::1]:1")).starts_with("HTTP/1.1 200 "));
  EXPECT_TRUE(at.talk(get(report_path, "", "rebound.example:11436")).starts_with("HTTP/1.1 403 "));
}

TEST(AgentServer, DoesNotListenBeyondThisMachineWithoutAToken) {
  net::Loop loop;
  for (const auto* ip : {"0.0.0.0", "::", "10.0.0.5"}) {
    const auto server =
        Server::open(loop.context, loop.scheduler, {.at = {ip, 0}}, [] { return std::string(); });
    ASSERT_FALSE(server.has_value());
    EXPECT_EQ(server.error().kind, ErrorKind::bad_input);
    EXPECT_TRUE(server.error().detail.contains("needs a token")) << server.error().detail;
  }
}

TEST(AgentServer, DoesNotShareAPort) {
  Serving at;
  const auto second =
      Server::open(at.loop.context, at.loop.scheduler, {.at = at.server->address(), .token = token},
                   [] { return std::string(); });
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().kind, ErrorKind::refused);
}

TEST(AgentServer, AnswersOtherPathsAndMethods) {
  Serving at;
  EXPECT_TRUE(at.talk(get("/")).ends_with("SOLLOL agent\n"));
  EXPECT_TRUE(at.talk(get("/api/tags")).starts_with("HTTP/1.1 404 "));
  EXPECT_TRUE(at.talk("POST " + std::string(report_path) + " HTTP/1.1\r\nHost: a\r\n\r\n")
                  .starts_with("HTTP/1.1 405 "));
  const auto head = at.talk("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_TRUE(head.contains("Content-Length: 13\r\n") && head.ends_with("\r\n\r\n")) << head;
}

TEST(AgentServer, RefusesWhatIsNoRequestOrTooLarge) {
  Serving at{ServerOptions{.token = token, .head_bytes = 512}};
  EXPECT_TRUE(at.talk("hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
  EXPECT_TRUE(at.talk(get("/" + std::string(1000, 'a'))).starts_with("HTTP/1.1 4"));
}

TEST(AgentServer, EndsAConnectionThatSaysNothing) {
  Serving at{ServerOptions{.token = token, .request_time = 30ms}};
  const auto stream = at.connect();
  net::write_text(*stream, "GET / HT");
  EXPECT_EQ(at.rest_of(*stream), "");
}

TEST(AgentServer, TellsMoreThanItServesAtOnceToComeLater) {
  Serving at{ServerOptions{.token = token, .connections_max = 2}};
  const auto one = at.connect();
  const auto two = at.connect();
  EXPECT_TRUE(at.talk("").starts_with("HTTP/1.1 503 "));
  // Whoever was there first is served.
  net::write_text(*one, get("/"));
  EXPECT_TRUE(at.rest_of(*one).ends_with("SOLLOL agent\n"));
  EXPECT_TRUE(at.fetch(token).has_value());
}

TEST(AgentServer, StopsWithConnectionsOpen) {
  Serving at;
  const auto stream = at.connect();
  at.server->stop();
  EXPECT_EQ(at.rest_of(*stream), "");
}

TEST(FetchReport, TellsApartWhatListensThere) {
  net::Loop loop;
  net::HttpScratch scratch;
  Address nobody;
  {
    auto listener = net::TcpListener::open(loop.context, {"127.0.0.1", 0});
    nobody = listener->address();
  }
  auto task =
      fetch_report(loop.connector, scratch, {.at = nobody, .token = {}, .deadline = loop.soon()});
  EXPECT_EQ(loop.run(std::move(task)).error().kind, ErrorKind::refused);
}

net::Task<int> answer_once(net::TcpListener& listener, net::Loop& loop, std::string bytes) {
  auto accepting = listener.accept(loop.scheduler);
  auto stream = co_await std::move(accepting);
  auto writing = net::write_all(**stream, std::move(bytes), loop.scheduler, 30s);
  co_await std::move(writing);
  (*stream)->shutdown_write();
  // Closing with unread bytes would reset the connection under the answer.
  auto waiting = net::wait(**stream, net::Direction::read, loop.soon());
  co_await std::move(waiting);
  char block[4096];
  (*stream)->read(block);
  co_return 0;
}

struct ReplyCase {
  std::string answer;
  ErrorKind want;
};
class FetchReportReplies : public testing::TestWithParam<ReplyCase> {};
TEST_P(FetchReportReplies, AreNoReport) {
  net::Loop loop;
  net::HttpScratch scratch;
  auto listener = net::TcpListener::open(loop.context, {"127.0.0.1", 0});
  auto answering = answer_once(*listener, loop, GetParam().answer);
  asio::co_spawn(loop.context, std::move(answering), [](std::exception_ptr, int) {});
  auto task = fetch_report(loop.connector, scratch,
                           {.at = listener->address(), .token = {}, .deadline = loop.soon()});
  EXPECT_EQ(loop.run(std::move(task)).error().kind, GetParam().want);
}
INSTANTIATE_TEST_SUITE_P(
    Table, FetchReportReplies,
    testing::Values(
        ReplyCase{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ErrorKind::not_found},
        ReplyCase{"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", ErrorKind::bad_reply},
        ReplyCase{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ErrorKind::bad_reply},
        ReplyCase{"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{", ErrorKind::bad_reply},
        ReplyCase{"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + std::string(2000000, ' '),
                  ErrorKind::overloaded},
        ReplyCase{"SSH-2.0-x\r\n\r\n", ErrorKind::bad_reply}));

TEST(Token, IsBoundedAndPlain) {
  EXPECT_EQ(parse_token(" 0123456789abcdef\n").value(), "0123456789abcdef");
  for (const std::string& bad :
       {std::string(), std::string("short"), std::string(600, 'a'),
        std::string("0123456789 abcdef"), std::string("0123456789\r\nX: abcdef")})
    EXPECT_EQ(parse_token(bad).error().kind, ErrorKind::bad_input);
}

TEST(Token, ComparesWhole) {
  EXPECT_TRUE(same_token(token, token));
  EXPECT_FALSE(same_token(token, token + "0"));
  EXPECT_FALSE(same_token("", token));
}

}  // namespace
}  // namespace sollol::agent

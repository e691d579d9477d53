// HTTP as clients speak it: framing, keep-alive, pipelining, expectations, bad heads, uploads.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "gateway/request.h"
#include "harness.h"
#include "http/head.h"

namespace sollol::test {
namespace {

const std::string whole = R"({"model":"llama3.2","prompt":"Hello","stream":false})";

class Relay : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    fleet_ = std::make_unique<TestFleet>(equal_nodes(2, {chat_model(), embedding_model()}));
  }
  static void TearDownTestSuite() { fleet_.reset(); }
  static TestFleet& fleet() { return *fleet_; }
  static std::unique_ptr<TestFleet> fleet_;
};
std::unique_ptr<TestFleet> Relay::fleet_;

TEST_F(Relay, AConnectionIsKeptAndServesManyRequests) {
  RawClient client(fleet().port());
  for (int i = 0; i < 5; ++i) {
    client.send(request_text("POST", "/api/generate", whole));
    EXPECT_EQ(client.receive().status, 200);
  }
}

TEST_F(Relay, PipelinedRequestsAreAnsweredInOrder) {
  RawClient client(fleet().port());
  client.send(request_text("GET", "/api/version") + request_text("POST", "/api/generate", whole) +
              request_text("GET", "/"));
  EXPECT_TRUE(client.receive().body.contains("version"));
  EXPECT_TRUE(client.receive().body.contains("\"done\":true"));
  EXPECT_EQ(client.receive().body, "Ollama is running");
}

TEST_F(Relay, ARequestMayComeInAnyPieces) {
  RawClient client(fleet().port());
  const std::string text = request_text("POST", "/api/generate", whole);
  for (const char c : text) client.send({&c, 1});
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(Relay, ChunkedRequestsAreUnderstood) {
  RawClient client(fleet().port());
  client.send(
      "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
  client.send("5\r\n{\"mod\r\n");
  const std::string rest = whole.substr(5);
  client.send("2f\r\n" + rest + "\r\n0\r\n\r\n");
  ASSERT_EQ(rest.size(), 0x2fu);
  EXPECT_EQ(client.receive().status, 200);
  client.send(request_text("GET", "/"));
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(Relay, ContinueIsSentBeforeTheBodyIsRead) {
  RawClient client(fleet().port());
  client.send(
      "POST /api/generate HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\nContent-Length: " +
      std::to_string(whole.size()) + "\r\n\r\n");
  ASSERT_TRUE(client.receive_until("HTTP/1.1 100 Continue\r\n\r\n"));
  client.send(whole);
  EXPECT_EQ(client.receive().status, 200);
}

TEST_F(Relay, AnHttp10ClientGetsAStreamWithoutChunks) {
  RawClient client(fleet().port());
  const std::string body = R"({"model":"llama3.2","prompt":"Hello"})";
  client.send("POST /api/generate HTTP/1.0\r\nContent-Length: " + std::to_string(body.size()) +
              "\r\n\r\n" + body);
  const Answer answer = client.receive();
  EXPECT_EQ(answer.field("transfer-encoding"), "");
  ASSERT_EQ(answer.status, 200) << answer.raw;
  EXPECT_EQ(last_record(answer.body).at("done"), true);
}

TEST_F(Relay, NodesSeeNothingThatIsOnlyForTheGateway) {
  const Answer answer = fleet().ask(
      "POST", "/api/generate", whole,
      "Origin: http://localhost:8080\r\nConnection: X-Private, keep-alive\r\nX-Private: 1\r\n"
      "X-Sollol-Node: a\r\nTE: trailers\r\nX-Forwarded-For: 10.0.0.9\r\nX-Kept: yes\r\n");
  ASSERT_EQ(answer.status, 200);
  const auto seen = fleet().nodes().last_request("a", "/api/generate");
  ASSERT_TRUE(seen);
  for (const char* absent : {"Origin", "X-Private", "X-Sollol-Node", "TE:", "Host: localhost"}) {
    EXPECT_FALSE(seen->head.contains(std::string("\n") + absent)) << seen->head;
  }
  EXPECT_TRUE(seen->head.contains("Host: 127.0.0.1:" + std::to_string(fleet().node_port("a"))))
      << seen->head;
  EXPECT_TRUE(seen->head.contains("X-Forwarded-For: 10.0.0.9, 127.0.0.1")) << seen->head;
  EXPECT_TRUE(seen->head.contains("X-Kept: yes"));
  EXPECT_EQ(seen->body, whole);
}

TEST_F(Relay, AForeignOriginIsRefusedAndPreflightsAreAnsweredHere) {
  EXPECT_EQ(fleet().ask("POST", "/api/generate", whole, "Origin: https://evil.example\r\n").status,
            403);
  const Answer preflight =
      fleet().ask("OPTIONS", "/api/generate", "",
                  "Origin: http://localhost:3000\r\nAccess-Control-Request-Method: POST\r\n");
  EXPECT_EQ(preflight.status, 204);
  EXPECT_EQ(preflight.field("access-control-allow-origin"), "http://localhost:3000");
  EXPECT_NE(preflight.field("access-control-allow-headers"), "");
}

struct BadHead {
  const char* name;
  std::string bytes;
  int status;
};
class BadHeads : public Relay, public testing::WithParamInterface<BadHead> {};

TEST_P(BadHeads, AreRefusedAndTheConnectionEnds) {
  RawClient client(fleet().port());
  client.send(GetParam().bytes);
  const Answer answer = client.receive();
  EXPECT_EQ(answer.status, GetParam().status) << answer.raw;
  EXPECT_EQ(answer.field("connection"), "close");
  EXPECT_TRUE(client.closed());
}

INSTANTIATE_TEST_SUITE_P(
    Table, BadHeads,
    testing::Values(
        BadHead{"two_lengths",
                "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                400},
        BadHead{
            "length_and_chunks",
            "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            400},
        BadHead{"negative_length", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
        BadHead{"unknown_coding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n",
                501},
        BadHead{"folded", "GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400},
        BadHead{"bare_lf", "GET / HTTP/1.1\nHost: x\n\n", 400},
        BadHead{"no_host", "GET / HTTP/1.1\r\n\r\n", 400},
        BadHead{"http2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505},
        BadHead{"nonsense", "\x16\x03\x01 hello\r\n\r\n", 400},
        BadHead{"too_large",
                "GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(70000, 'a') + "\r\n\r\n", 431}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(Timeouts, ASlowHeadIsRefused) {
  TestFleet fleet(equal_nodes(1, {chat_model()}),
                  [](gateway::Options& options) { options.client.head_timeout = 100ms; });
  RawClient client(fleet.port());
  client.send("GET / HTTP/1.1\r\nHost");
  EXPECT_EQ(client.receive().status, 408);
}

TEST_F(Relay, ATooLargeBodyIsRefusedInTheCallersForm) {
  TestFleet small(equal_nodes(1, {chat_model()}),
                  [](gateway::Options& options) { options.client.body_max = 1000; });
  const Answer answer = small.ask("POST", "/v1/chat/completions", std::string(2000, ' '));
  EXPECT_EQ(answer.status, 413);
  EXPECT_TRUE(answer.body.contains("\"message\"")) << answer.body;
}

TEST_F(Relay, ABlobReachesEveryNode) {
  const std::string content(3 << 20, 'z');
  const std::string digest =
      "sha256:7a1ceb62ecf8d4bef87aa9a12b11b4efc3e1a2a7cf3fe63ed5db9bd2ebd9b2d3";
  const Answer wrong = fleet().ask("POST", "/api/blobs/" + digest, content);
  EXPECT_EQ(wrong.status, 400) << wrong.body;
  EXPECT_TRUE(wrong.body.contains("digest mismatch")) << wrong.body;
  const auto at = wrong.body.find("got \\\"sha256:");
  ASSERT_NE(at, std::string::npos) << wrong.body;
  const std::string right = wrong.body.substr(at + 6, 71);
  EXPECT_EQ(fleet().ask("POST", "/api/blobs/" + right, content).status, 201);
  EXPECT_EQ(fleet().ask("HEAD", "/api/blobs/" + right).status, 200);
  for (const std::string& name : fleet().nodes().names()) {
    EXPECT_EQ(ask(fleet().node_port(name), "HEAD", "/api/blobs/" + right).status, 200) << name;
  }
}

/// The next request of a kept connection may be another client's, behind a proxy.
TEST(Request, KeepsNothingThatTheLastOneSaidOfItself) {
  gateway::Request request;
  const auto take = [&](std::string_view fields) {
    const std::string text = fmt::format("GET / HTTP/1.1\r\nHost: here\r\n{}\r\n", fields);
    http::RequestHead head;
    ASSERT_EQ(http::parse_request_head(text, {}, head).state, http::HeadParse::State::complete);
    request.clear();
    gateway::take_head(head, request);
  };
  take(
      "X-Sollol-Session: mine\r\nX-Sollol-Node: a\r\nX-Sollol-Via: g\r\nX-Forwarded-For: "
      "10.0.0.1\r\n");
  EXPECT_EQ(request.session, "mine");
  take("");
  EXPECT_EQ(request.session, "");
  EXPECT_EQ(request.wanted_node, "");
  EXPECT_EQ(request.via, "");
  EXPECT_EQ(request.forwarded_for, "");
}

TEST_F(Relay, MetricsAndDecisionsTellOfTheRequests) {
  ASSERT_EQ(fleet()
                .ask("POST", "/api/generate", whole, "X-Request-Id: my-request-7\r\n")
                .field("x-request-id"),
            "my-request-7");
  EXPECT_TRUE(fleet().eventually([&] {
    return fleet()
        .ask("GET", "/metrics")
        .body.contains("sollol_requests_total{operation=\"generate\",code=\"2xx\"}");
  }));
  EXPECT_TRUE(fleet().ask("GET", "/sollol/v1/decisions").body.contains("my-request-7"));
}

}  // namespace
}  // namespace sollol::test

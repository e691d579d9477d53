// Clients that take too much, too slowly or too long: each is refused in its API's words, memory
// stays bounded, and others are served meanwhile.
#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zstd.h>

#include <memory>
#include <vector>

#include "harness.h"
#include "support/memory.h"

namespace sollol::test {
namespace {

constexpr std::uint64_t mebibyte = 1 << 20;
const std::string good = R"({"model":"llama3.2","prompt":"hello","stream":false})";
const std::string good_chat =
    R"({"model":"llama3.2","messages":[{"role":"user","content":"hello"}]})";

std::string head(std::string_view target, std::string_view fields) {
  return "POST " + std::string(target) + " HTTP/1.1\r\nHost: gateway\r\n" + std::string(fields) +
         "\r\n";
}

std::string packed(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 1));
  return out;
}

class Abuse : public testing::Test {
 protected:
  void start(const TestFleet::Change& change = {}) {
    fleet = std::make_unique<TestFleet>(equal_nodes(1, {chat_model()}), change);
    before = resident_bytes();
  }
  /// Another client is served.
  void expect_service() { EXPECT_EQ(fleet->ask("POST", "/api/generate", good).status, 200); }
  void expect_grown_less_than(std::uint64_t bytes) {
    const std::uint64_t now = resident_bytes();
    EXPECT_LT(now, before + bytes + sanitizer_bytes) << "grown by " << (now - before) / mebibyte;
  }
  Answer post(std::string_view target, std::string_view body, std::string_view fields = {}) {
    return fleet->ask("POST", target, body, fields);
  }

  std::unique_ptr<TestFleet> fleet;
  std::uint64_t before = 0;
};

// ---- bodies

TEST_F(Abuse, AGigabyteOfWhiteSpaceIsRefusedBeforeItIsRead) {
  start();
  RawClient client(fleet->port());
  client.send(head("/api/chat", "Content-Length: 1073741824\r\n") + std::string(1000, ' '));
  const Answer answer = client.receive();
  EXPECT_EQ(answer.status, 413);
  EXPECT_TRUE(answer.body.starts_with(R"({"error":)")) << answer.body;
  EXPECT_TRUE(client.closed());
  expect_service();
}

TEST_F(Abuse, AGigabyteOfWhiteSpaceInChunksIsCutOffAtTheLimit) {
  start([](gateway::Options& options) { options.client.body_max = 8 * mebibyte; });
  RawClient client(fleet->port());
  client.send(head("/v1/chat/completions", "Transfer-Encoding: chunked\r\n"));
  const std::string chunk = "100000\r\n" + std::string(mebibyte, ' ') + "\r\n";
  for (int i = 0; i < 1024; ++i) client.send(chunk);  // ends early where the connection does
  const Answer answer = client.receive();
  EXPECT_EQ(answer.status, 413);
  EXPECT_TRUE(answer.body.contains(R"("type")")) << answer.body;
  expect_grown_less_than(200 * mebibyte);
  expect_service();
}

TEST_F(Abuse, WhiteSpaceBelowTheLimitIsANodesQuestion) {
  start();
  const Answer answer = post("/api/chat", std::string(4 * mebibyte, ' '));
  EXPECT_GE(answer.status, 400);
  EXPECT_LT(answer.status, 500);
  expect_service();
}

TEST_F(Abuse, MillionsOfTinyChunksAreReadInBoundedMemory) {
  start([](gateway::Options& options) { options.client.body_max = mebibyte; });
  RawClient client(fleet->port());
  client.send(head("/api/chat", "Transfer-Encoding: chunked\r\n"));
  std::string chunks;
  for (int i = 0; i < 10000; ++i) chunks += "1\r\n \r\n";
  for (int i = 0; i < 200; ++i) client.send(chunks);
  EXPECT_EQ(client.receive().status, 413);
  expect_grown_less_than(100 * mebibyte);
  expect_service();
}

TEST_F(Abuse, EndlessChunkExtensionsAndTrailersAreRefused) {
  start();
  for (const char* opening : {"5;a=", "0\r\nX: "}) {
    RawClient client(fleet->port());
    client.send(head("/api/chat", "Transfer-Encoding: chunked\r\n") + opening);
    for (int i = 0; i < 100; ++i) client.send(std::string(1000, 'a'));
    EXPECT_EQ(client.receive().status, 400) << opening;
  }
  expect_service();
}

TEST_F(Abuse, ManyLargeBodiesTogetherAreBounded) {
  start([](gateway::Options& options) { options.client.requests_total_max = 8 * mebibyte; });
  std::vector<std::unique_ptr<RawClient>> holders;
  const auto held = [&] {
    const std::string text = fleet->ask("GET", "/metrics").body;
    const auto at = text.find("\nsollol_request_memory_bytes ");
    return at == std::string::npos ? -1.0 : std::stod(text.substr(at + 29));
  };
  for (int i = 0; i < 3; ++i) {
    const double already = held();
    holders.push_back(std::make_unique<RawClient>(fleet->port()));
    holders.back()->send(head("/api/chat", "Content-Length: 2000000\r\n") +
                         std::string(mebibyte, ' '));
    ASSERT_TRUE(fleet->eventually([&] { return held() > already + 0.9 * mebibyte; }));
  }
  RawClient late(fleet->port());
  late.send(head("/v1/messages", "Content-Length: 12000000\r\n") + std::string(11000000, ' '));
  const Answer refused = late.receive();
  EXPECT_EQ(refused.status, 503);
  EXPECT_NE(refused.field("retry-after"), "");
  EXPECT_TRUE(refused.body.contains(R"("type":"error")")) << refused.body;
  expect_service();  // a small request holds nothing that counts
  holders.clear();
  ASSERT_TRUE(fleet->eventually([&] { return held() < mebibyte; }));
  std::string large = good;
  large.insert(1, std::string(2 * mebibyte, ' '));
  EXPECT_EQ(post("/api/generate", large).status, 200);
}

// ---- compressed bodies

TEST_F(Abuse, ABodyThatExplodesIsRefusedAtOllamasLimit) {
  start();
  const std::string bomb = packed(std::string(256 * mebibyte, ' '));
  ASSERT_LT(bomb.size(), mebibyte);
  const Answer answer = post("/v1/chat/completions", bomb, "Content-Encoding: zstd\r\n");
  EXPECT_EQ(answer.status, 413);
  EXPECT_TRUE(answer.body.contains("unpacked_body_bytes")) << answer.body;
  EXPECT_TRUE(answer.body.starts_with(R"({"error":{)")) << answer.body;
  expect_grown_less_than(400 * mebibyte);
  expect_service();
}

TEST_F(Abuse, ACompressedBodyIsReadAndReachesTheNodePlain) {
  start();
  const Answer answer =
      post("/v1/chat/completions", packed(good_chat), "Content-Encoding: zstd\r\n");
  EXPECT_EQ(answer.status, 200) << answer.body;
  bool seen = false;
  for (const sim::SeenRequest& request : fleet->nodes().requests("a")) {
    if (request.path != "/v1/chat/completions") continue;
    seen = true;
    EXPECT_EQ(request.body, good_chat);
    EXPECT_FALSE(request.head.contains("ncoding: zstd")) << request.head;
  }
  EXPECT_TRUE(seen);
}

TEST_F(Abuse, CodingsThatAreNotUnderstoodAreA415) {
  start();
  EXPECT_EQ(post("/v1/chat/completions", "x", "Content-Encoding: gzip\r\n").status, 415);
  EXPECT_EQ(post("/v1/messages", "x", "Content-Encoding: br\r\n").status, 415);
  EXPECT_EQ(
      post("/v1/messages", "x", "Content-Encoding: zstd\r\nContent-Encoding: zstd\r\n").status,
      415);
  const Answer native = post("/api/chat", packed(good_chat), "Content-Encoding: zstd\r\n");
  EXPECT_EQ(native.status, 415);
  EXPECT_TRUE(native.body.starts_with(R"({"error":)")) << native.body;
  EXPECT_EQ(post("/v1/chat/completions", "no zstd", "Content-Encoding: zstd\r\n").status, 400);
  EXPECT_EQ(post("/api/generate", good, "Content-Encoding: identity\r\n").status, 200);
}

// ---- JSON

TEST_F(Abuse, DeepAndHugeJsonNeverHarms) {
  start();
  const std::string deep(300'000, '[');
  const std::string closed = deep + std::string(300'000, ']');
  const std::string model = R"({"model":"llama3.2","stream":false,)";
  const std::string bodies[] = {
      deep,
      R"({"a":)" + deep,
      model + R"("prompt":"x","options":)" + closed + "}",
      model + R"("messages":)" + closed + "}",
      model + "\"" + std::string(3 * mebibyte, 'k') + R"(":1,"prompt":"x"})",
      model + R"("options":{"num_ctx":)" + std::string(100'000, '9') + R"(},"prompt":"x"})",
      model + R"("options":{"num_predict":1e999999999,"num_ctx":-1e400},"prompt":"x"})",
      model + "\"prompt\":\"\xff\xfe\xc0\xaf\"}",
      model + R"("prompt":"\ud800"})",
      R"({"model":"nowhere","model":"llama3.2","prompt":"x","stream":true,"stream":false})",
      R"({"model":"llama3.2","prompt":"x","stream":false}{"model":"nowhere"})",
      R"({"model":)" + std::string(200'000, '"') + "}",
      std::string("{\"model\":\"llama3.2\0\",\"prompt\":\"x\"}", 35),
      R"({"model":")" + std::string(mebibyte, 'm') + R"(","prompt":"x"})",
      std::string(100'000, '{'),
      R"({"model":"llama3.2","prompt":")" + std::string(mebibyte, '\\'),
  };
  for (const std::string& body : bodies) {
    const Answer answer = post("/api/generate", body);
    EXPECT_GE(answer.status, 200) << body.substr(0, 60);
    EXPECT_LT(answer.status, 500) << body.substr(0, 60) << "\n" << answer.body;
    EXPECT_TRUE(answer.complete) << body.substr(0, 60);
  }
  EXPECT_EQ(fleet->state("a"), "healthy");
  expect_service();
}

// ---- slowness

TEST_F(Abuse, AHeadOfOneByteAtATimeEndsWithItsTime) {
  start([](gateway::Options& options) { options.client.head_timeout = 300ms; });
  RawClient slow(fleet->port());
  const std::string text = head("/api/chat", "X: y\r\n");
  for (const char c : text.substr(0, text.size() - 2)) slow.send({&c, 1});
  expect_service();  // meanwhile
  EXPECT_EQ(slow.receive().status, 408);
  EXPECT_TRUE(slow.closed());
}

TEST_F(Abuse, ABodyThatTakesTooLongIsA408HoweverSteadyItComes) {
  start([](gateway::Options& options) { options.client.body_timeout = 300ms; });
  RawClient slow(fleet->port());
  slow.send(head("/v1/messages", "Content-Length: 100000000\r\n").replace(0, 0, ""));
  EXPECT_EQ(slow.receive().status, 413);
  RawClient steady(fleet->port());
  steady.send(head("/v1/messages", "Transfer-Encoding: chunked\r\n"));
  std::thread dripping([&] {
    const auto end = std::chrono::steady_clock::now() + 3s;
    while (std::chrono::steady_clock::now() < end) {
      steady.send("1\r\n \r\n");
      std::this_thread::sleep_for(5ms);  // the pace of the attack, nothing that is waited for
    }
  });
  const Answer answer = steady.receive();
  dripping.join();
  EXPECT_EQ(answer.status, 408);
  EXPECT_TRUE(answer.body.contains(R"("type":"error")")) << answer.body;
  expect_service();
}

TEST_F(Abuse, ABodyThatStallsIsA408) {
  start([](gateway::Options& options) { options.client.stall_timeout = 200ms; });
  RawClient slow(fleet->port());
  slow.send(head("/api/chat", "Content-Length: 1000\r\n") + "{");
  expect_service();
  EXPECT_EQ(slow.receive().status, 408);
}

// ---- connections

TEST_F(Abuse, IdleConnectionsMakeRoomForThoseThatAsk) {
  start([](gateway::Options& options) { options.client.connections_max = 64; });
  std::vector<std::unique_ptr<RawClient>> idle;
  for (int i = 0; i < 600; ++i) {
    idle.push_back(std::make_unique<RawClient>(fleet->port()));
    if (i % 3 == 0) idle.back()->send("POST /api/chat HTTP/1.1\r\nX");  // half a head
    if (i % 50 == 0) expect_service();
  }
  expect_service();
  const boost::json::value status = boost::json::parse(fleet->ask("GET", "/sollol/v1/status").body);
  idle.clear();
  expect_service();
}

TEST_F(Abuse, BusyConnectionsAreNotDisplaced) {
  sim::FleetConfig config = equal_nodes(1, {chat_model()});
  config.time_scale = 1;
  config.nodes[0].models[0].decode_tokens_per_s = 20;
  config.nodes[0].slots = 8;
  fleet = std::make_unique<TestFleet>(std::move(config), [](gateway::Options& options) {
    options.client.connections_max = 4;
    options.workers = 1;
    options.nodes[0].slots = 8;
  });
  std::vector<std::unique_ptr<RawClient>> busy;
  for (int i = 0; i < 4; ++i) {
    busy.push_back(std::make_unique<RawClient>(fleet->port()));
    busy.back()->send(
        request_text("POST", "/api/generate",
                     R"({"model":"llama3.2","prompt":"x","options":{"num_predict":2000}})"));
    ASSERT_TRUE(busy.back()->receive_until("response"));
  }
  RawClient another(fleet->port());
  another.send(request_text("GET", "/api/version"));
  EXPECT_FALSE(another.closed());  // reset: no room, and nobody idle
  EXPECT_TRUE(busy.front()->receive_until("\n"));
  busy.clear();
  EXPECT_TRUE(fleet->eventually([&] { return fleet->ask("GET", "/api/version").status == 200; }));
}

TEST_F(Abuse, FloodsOfHalfHeadsAreBounded) {
  start([](gateway::Options& options) { options.client.requests_total_max = 2 * mebibyte; });
  std::vector<std::unique_ptr<RawClient>> clients;
  std::string text = "POST /api/chat HTTP/1.1\r\nHost: gateway\r\n";
  for (int i = 0; i < 60; ++i) text += "X: " + std::string(1000, 'a') + "\r\n";
  for (int i = 0; i < 200; ++i) {
    clients.push_back(std::make_unique<RawClient>(fleet->port()));
    clients.back()->send(text);
  }
  expect_service();
  int refused = 0;
  for (auto& client : clients) {
    client->send("\r\n");  // those that were let in are whole now, but for a body
    const Answer answer = client->receive();
    refused += answer.status == 503;
    EXPECT_TRUE(answer.status == 503 || answer.status == 400 || answer.status == 0) << answer.raw;
  }
  EXPECT_GT(refused, 0);
  expect_grown_less_than(100 * mebibyte);
  expect_service();
}

TEST_F(Abuse, APipeliningFloodIsAnsweredInOrderAndHoldsNothing) {
  start();
  RawClient client(fleet->port());
  constexpr int requests = 5000;
  std::string flood;
  for (int i = 0; i < requests; ++i)
    flood +=
        request_text("GET", "/api/version", {}, "X-Request-Id: r" + std::to_string(i) + "\r\n");
  std::thread sending([&] { client.send(flood); });
  expect_service();
  for (int i = 0; i < requests; ++i) {
    const Answer answer = client.receive();
    ASSERT_EQ(answer.status, 200) << i;
    ASSERT_EQ(answer.field("x-request-id"), "r" + std::to_string(i));
  }
  sending.join();
  expect_grown_less_than(100 * mebibyte);
}

TEST_F(Abuse, AClientThatPipelinesAndNeverReadsStopsOnlyItself) {
  start([](gateway::Options& options) { options.client.stall_timeout = 500ms; });
  RawClient client(fleet->port());
  std::string flood;
  for (int i = 0; i < 1000; ++i) flood += request_text("GET", "/api/tags");
  for (int i = 0; i < 100; ++i) client.send(flood);  // ends when the gateway has had enough
  expect_service();
  expect_grown_less_than(100 * mebibyte);
}

/// The node is read no faster than the client takes it, and a client that takes nothing is dropped.
TEST_F(Abuse, AClientThatStopsReadingAStreamIsDroppedAndHoldsNothing) {
  sim::ModelSpec endless = chat_model("endless");
  endless.answer_tokens = 1'000'000;
  sim::FleetConfig config = equal_nodes(1, {chat_model(), endless});
  config.time_scale = 100;
  config.nodes[0].slots = 4;
  fleet = std::make_unique<TestFleet>(std::move(config), [](gateway::Options& options) {
    options.client.stall_timeout = 300ms;
    options.nodes[0].slots = 4;
  });
  expect_service();
  before = resident_bytes();
  const int client = socket(AF_INET, SOCK_STREAM, 0);
  const int small = 4096;  // so that what the kernel takes is soon full
  setsockopt(client, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
  sockaddr_in at{.sin_family = AF_INET,
                 .sin_port = htons(fleet->port()),
                 .sin_addr = {htonl(INADDR_LOOPBACK)},
                 .sin_zero = {}};
  ASSERT_EQ(connect(client, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
  const std::string text = request_text(
      "POST", "/api/generate",
      R"({"model":"endless","prompt":"x","options":{"num_predict":1000000,"num_ctx":131072}})");
  ASSERT_EQ(send(client, text.data(), text.size(), 0), static_cast<ssize_t>(text.size()));
  EXPECT_TRUE(fleet->eventually([&] { return fleet->nodes().counters("a").client_gone == 1; }))
      << "the node still works for it: " << fleet->nodes().counters("a").tokens << " tokens";
  expect_grown_less_than(64 * mebibyte);
  EXPECT_TRUE(fleet->eventually([&] { return fleet->node("a").at("in_flight") == 0; }));
  EXPECT_EQ(fleet->state("a"), "healthy");
  expect_service();
  close(client);
}

}  // namespace
}  // namespace sollol::test

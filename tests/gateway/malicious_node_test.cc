// Nodes that lie, flood or stall: bounded memory and time, the fault is the node's, the client gets
// a right answer from another node or a right error.
#include <gtest/gtest.h>

#include <memory>

#include "discovery/node_spec.h"
#include "gateway/nodes.h"
#include "harness.h"
#include "http/framing.h"
#include "support/memory.h"
#include "support/raw_node.h"

namespace sollol::test {
namespace {

constexpr std::uint64_t mebibyte = 1 << 20;
const std::string ask_once = R"({"model":"llama3.2","prompt":"hello","stream":false})";
const std::string ask_stream = R"({"model":"llama3.2","prompt":"hello"})";

enum class Beside : std::uint8_t { a_good_node, nothing };

/// A raw node in the first tier, and perhaps a good one in the second.
class Trap {
 public:
  explicit Trap(Beside beside, const TestFleet::Change& change = {})
      : fleet_(equal_nodes(beside == Beside::a_good_node ? 1 : 0, {chat_model()}),
               [&](gateway::Options& options) {
                 for (auto& good : options.nodes) good.tier = 1;
                 auto spec = discovery::parse_node_url(bad_.url());
                 spec->name = "bad";
                 options.nodes.push_back(gateway::to_node_info(*spec));
                 options.upstream.head_timeout = 500ms;
                 options.upstream.record_max = mebibyte;
                 options.upstream.answer_max = 8 * mebibyte;
                 if (change) change(options);
               }) {
    // A request for a cold model would be preceded by a load.
    EXPECT_TRUE(fleet_.eventually([this] {
      const auto models = fleet_.node("bad").at("models").as_array();
      return models.empty() || models[0].at("loaded").as_bool();
    }));
  }

  RawNode& bad() { return bad_; }
  TestFleet& fleet() { return fleet_; }
  Answer ask(std::string_view body) { return fleet_.ask("POST", "/api/generate", body); }

 private:
  RawNode bad_;
  TestFleet fleet_;
};

struct Lie {
  const char* name;
  RawNode::Script script;
};

RawNode::Script says(std::string text) {
  return [text = std::move(text)](RawNode::Peer& peer) { peer.send(text); };
}
RawNode::Script says_and_holds(std::string text) {
  return [text = std::move(text)](RawNode::Peer& peer) {
    peer.send(text);
    peer.hold();
  };
}
RawNode::Script floods(std::string opening, std::string piece) {
  return [opening = std::move(opening), piece = std::move(piece)](RawNode::Peer& peer) {
    peer.send(opening);
    peer.flood(piece);
  };
}

const std::string json_head =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
const std::string lines_head =
    "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n";
const std::string token = http::chunk_of(
    R"({"model":"llama3.2","created_at":"2026-01-01T00:00:00Z","response":"a","done":false})"
    "\n");

/// What goes wrong before a byte of the answer can be passed on.
std::vector<Lie> early_lies() {
  const std::string ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
  return {
      {"endless_header_value", floods(ok + "X: ", "aaaaaaaaaaaaaaaa")},
      {"endless_headers", floods(ok, "X-Y: z\r\n")},
      {"endless_status_line", floods("HTTP/1.1 200 ", "OOOOOOOOOOOOOOOO")},
      {"endless_header_name", floods(ok, "aaaaaaaaaaaaaaaa")},
      {"interim_flood", floods("", "HTTP/1.1 100 Continue\r\n\r\n")},
      {"interim_flood_with_fields", floods("", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")},
      {"protocol_switched",
       says_and_holds(
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\x81\x05hello")},
      {"redirect_301", says("HTTP/1.1 301 Moved\r\nLocation: http://169.254.169.254/\r\n"
                            "Content-Length: 0\r\n\r\n")},
      {"redirect_302", says("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n"
                            "Content-Length: 0\r\n\r\n")},
      {"redirect_307", says("HTTP/1.1 307 Temporary Redirect\r\nLocation: /api/generate\r\n"
                            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")},
      {"redirect_308_without_place", says("HTTP/1.1 308 Permanent\r\nContent-Length: 0\r\n\r\n")},
      {"split_by_line_feed", says(ok + "X: a\nSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}")},
      {"split_by_carriage_return", says(ok + "X: a\rSet-Cookie: b\r\nContent-Length: 2\r\n\r\n{}")},
      {"nul_in_header", says(ok + std::string("X: a\0b\r\nContent-Length: 2\r\n\r\n{}", 32))},
      {"folded_header", says(ok + "X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}")},
      {"space_before_colon", says(ok + "Content-Length : 2\r\n\r\n{}")},
      {"both_lengths",
       says(ok + "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")},
      {"two_lengths", says(ok + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}")},
      {"negative_length", says(ok + "Content-Length: -2\r\n\r\n{}")},
      {"huge_length", says(ok + "Content-Length: 99999999999999999999\r\n\r\n{}")},
      {"other_coding", says(ok + "Transfer-Encoding: gzip, chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")},
      {"length_too_long", says(ok + "Content-Length: 1000\r\n\r\n{\"response\":\"x\"")},
      {"length_never_filled", says_and_holds(ok + "Content-Length: 1000\r\n\r\n{")},
      {"chunk_size_overflow", says(json_head + "ffffffffffffffff\r\n{}")},
      {"chunk_size_negative", says(json_head + "-2\r\n{}\r\n0\r\n\r\n")},
      {"chunk_never_filled", says_and_holds(json_head + "ffffff\r\n{")},
      {"chunk_extension_bomb", floods(json_head + "2;a=", "bbbbbbbbbbbbbbbb")},
      {"chunk_trailer_bomb", floods(json_head + "2\r\n{}\r\n0\r\n", "X: yyyyyyyyyyyy\r\n")},
      {"chunks_without_end", says(json_head + "2\r\n{}\r\n")},
      {"old_style_answer", says("{\"response\":\"x\",\"done\":true}")},
      {"http2_preface", says(std::string("\0\0\x12\x04\0\0\0\0\0", 9))},
      {"http2_status", says("HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\n{}")},
      {"status_of_two_digits", says("HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}")},
      {"status_zero", says("HTTP/1.1 000 OK\r\nContent-Length: 2\r\n\r\n{}")},
      {"garbage", floods("", "\x16\x03\x01\x02garbage")},
      {"zeros", floods("", std::string(64, '\0'))},
      {"no_json", says(answer_text("hello, world"))},
      {"html", says(answer_text("<html></html>", "200 OK", "Content-Type: text/html\r\n"))},
      {"nothing", says(answer_text(""))},
      {"closes_at_once", says("")},
      {"head_never_whole", says_and_holds("HTTP/1.1 200 OK\r\nContent-Ty")},
      {"error_without_end", floods("HTTP/1.1 500 Oops\r\nContent-Type: application/json\r\n"
                                   "Transfer-Encoding: chunked\r\n\r\n",
                                   "10\r\n0123456789abcdef\r\n")},
      {"error_never_told", says_and_holds("HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\n{")},
      {"head_one_byte_at_a_time",
       [](RawNode::Peer& peer) {
         while (peer.send("H")) std::this_thread::sleep_for(2ms);  // the pace of the attack
       }},
  };
}

class EarlyLie : public testing::TestWithParam<Lie> {};

TEST_P(EarlyLie, AnotherNodeAnswersAndTheFaultIsNoted) {
  Trap trap(Beside::a_good_node);
  trap.bad().on("POST /api/generate", GetParam().script);
  const std::uint64_t before = resident_bytes();
  for (const std::string& body : {ask_once, ask_stream, ask_once}) {
    const Answer answer = trap.ask(body);
    EXPECT_EQ(answer.status, 200) << answer.raw;
    EXPECT_TRUE(answer.complete);
    EXPECT_EQ(answer.field("x-sollol-node"), "a");
    EXPECT_EQ(answer.field("set-cookie"), "");
    EXPECT_EQ(answer.field("location"), "");
  }
  EXPECT_GE(trap.bad().asked("POST /api/generate"), 1u);
  EXPECT_LE(trap.bad().asked("POST /api/generate"), 3u);
  EXPECT_LT(trap.bad().sent(), 100 * mebibyte);
  EXPECT_LT(resident_bytes(), before + 100 * mebibyte + sanitizer_bytes);
  EXPECT_TRUE(trap.fleet().ask("GET", "/metrics").body.contains("sollol_retries_total"));
}

TEST_P(EarlyLie, WithoutAnotherNodeTheClientGetsAnError) {
  Trap trap(Beside::nothing);
  trap.bad().on("POST /api/generate", GetParam().script);
  const Answer answer = trap.ask(ask_once);
  EXPECT_GE(answer.status, 500) << answer.raw;
  EXPECT_LE(answer.status, 503);
  EXPECT_TRUE(answer.body.contains("\"error\"")) << answer.raw;
  EXPECT_TRUE(answer.complete);
}

INSTANTIATE_TEST_SUITE_P(Table, EarlyLie, testing::ValuesIn(early_lies()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(MaliciousNode, IsEjectedWhenItGoesOnLying) {
  Trap trap(Beside::a_good_node);
  trap.bad().on("POST /api/generate", says("HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"));
  EXPECT_TRUE(trap.fleet().eventually([&] {
    trap.ask(ask_once);
    return trap.fleet().state("bad") == "ejected";
  })) << trap.fleet().state("bad");
  EXPECT_EQ(trap.ask(ask_once).field("x-sollol-node"), "a");
}

// ---- after the first byte

TEST(MaliciousNode, AnEndlessLineEndsWithAnErrorRecord) {
  Trap trap(Beside::nothing);
  trap.bad().on("POST /api/generate",
                floods(lines_head + token +
                           http::chunk_of(R"({"model":"llama3.2","done":false,"response":")"),
                       "10\r\naaaaaaaaaaaaaaaa\r\n"));
  const std::uint64_t before = resident_bytes();
  const Answer answer = trap.ask(ask_stream);
  EXPECT_EQ(answer.status, 200);
  EXPECT_TRUE(answer.body.contains("\"error\"")) << answer.body.substr(answer.body.size() - 300);
  EXPECT_LT(answer.body.size(), 4 * mebibyte);
  EXPECT_LT(resident_bytes(), before + 150 * mebibyte + sanitizer_bytes);
}

TEST(MaliciousNode, AnEndlessAnswerIsCutOffAndDoesNotLookComplete) {
  Trap trap(Beside::nothing);
  trap.bad().on("POST /api/generate",
                floods(json_head + "1\r\n{\r\n", "10\r\n                \r\n"));
  const std::uint64_t before = resident_bytes();
  const Answer answer = trap.ask(ask_once);
  EXPECT_FALSE(answer.complete);
  EXPECT_LT(answer.body.size(), 20 * mebibyte);
  EXPECT_LT(resident_bytes(), before + 150 * mebibyte + sanitizer_bytes);
}

TEST(MaliciousNode, BrokenChunksInAStreamEndWithAnErrorRecord) {
  for (const char* rest :
       {"zz\r\n", "-1\r\n", "5\r\nabc", "5\r\nabcdefgh\r\n", "\r\n\r\n", "fffffffffffffffff\r\n"}) {
    Trap trap(Beside::nothing);
    trap.bad().on("POST /api/generate", says(lines_head + token + token + rest));
    const Answer answer = trap.ask(ask_stream);
    EXPECT_TRUE(answer.status == 200 || answer.status == 502) << rest << answer.status;
    const bool told = answer.body.contains("\"error\"");
    EXPECT_TRUE(told || !answer.complete) << rest << answer.body;
    EXPECT_FALSE(answer.body.contains("\"done\":true")) << rest;
  }
}

TEST(MaliciousNode, WhatFollowsAnAnswerNeverReachesAnotherRequest) {
  Trap trap(Beside::nothing);
  const std::string first = answer_text(R"({"model":"llama3.2","response":"first","done":true})");
  const std::string planted =
      answer_text(R"({"model":"llama3.2","response":"planted","done":true})");
  trap.bad().on("POST /api/generate", says_and_holds(first + planted));
  RawClient client(trap.fleet().port());
  for (int i = 0; i < 5; ++i) {
    client.send(request_text("POST", "/api/generate", ask_once));
    const Answer answer = client.receive();
    EXPECT_FALSE(answer.body.contains("planted")) << answer.body;
    EXPECT_TRUE(answer.status == 200 || answer.status >= 502) << answer.raw;
  }
}

// ---- what a node says of itself

/// A gateway with one good node, to which a raw one is added at run time.
class BadListing : public testing::Test {
 protected:
  void add(const TestFleet::Change& change = {}) {
    fleet =
        std::make_unique<TestFleet>(equal_nodes(1, {chat_model()}), [&](gateway::Options& options) {
          options.probe.timeout = 300ms;
          options.probe.ps_timeout = 1s;
          options.health.dead_after = 300ms;
          if (change) change(options);
        });
    before = resident_bytes();
    const Answer added =
        fleet->ask("POST", "/sollol/v1/nodes", R"({"url":")" + bad.url() + R"(","name":"bad"})",
                   "Content-Type: application/json\r\n");
    ASSERT_LT(added.status, 300) << added.body;
  }
  void expect_unharmed() {
    EXPECT_EQ(fleet->ask("POST", "/api/generate", ask_once).field("x-sollol-node"), "a");
    EXPECT_EQ(fleet->ask("GET", "/api/tags").status, 200);
    EXPECT_LT(resident_bytes(), before + 500 * mebibyte + sanitizer_bytes);
  }
  std::size_t models_of_bad() { return fleet->node("bad").at("models").as_array().size(); }

  RawNode bad;
  std::unique_ptr<TestFleet> fleet;
  std::uint64_t before = 0;
};

TEST_F(BadListing, AMillionModelsAreNotTaken) {
  std::string list = R"({"models":[)";
  for (int i = 0; i < 1'000'000; ++i)
    list += R"({"name":"m)" + std::to_string(i) + R"(","size":1},)";
  list.back() = ']';
  bad.on("GET /api/tags", says(answer_text(list + "}")));
  add();
  ASSERT_TRUE(fleet->eventually([&] { return bad.asked("GET /api/tags") >= 2; }));
  EXPECT_EQ(models_of_bad(), 0u);
  expect_unharmed();
}

TEST_F(BadListing, TheNumberOfModelsHasASetting) {
  std::string list = R"({"models":[)";
  for (int i = 0; i < 50; ++i) list += R"({"name":"m)" + std::to_string(i) + R"("},)";
  list.back() = ']';
  bad.on("GET /api/tags", says(answer_text(list + "}")));
  add([](gateway::Options& options) { options.probe.models_max = 49; });
  ASSERT_TRUE(fleet->eventually([&] { return bad.asked("GET /api/tags") >= 2; }));
  EXPECT_EQ(models_of_bad(), 0u);
  expect_unharmed();
}

TEST_F(BadListing, OtherModelsEachTimeDoNotFillTheMemory) {
  std::atomic<int> round = 0;
  bad.on("GET /api/tags", [&](RawNode::Peer& peer) {
    std::string list = R"({"models":[)";
    const std::string prefix = "r" + std::to_string(++round) + "-";
    for (int i = 0; i < 5000; ++i) list += R"({"name":")" + prefix + std::to_string(i) + R"("},)";
    list.back() = ']';
    peer.send(answer_text(list + "}"));
  });
  add([](gateway::Options& options) { options.probe.tags_interval = 50ms; });
  ASSERT_TRUE(fleet->eventually([&] { return round >= 8; }));
  expect_unharmed();
}

struct ListingLie {
  const char* name;
  const char* request;
  RawNode::Script script;
};

std::vector<ListingLie> listing_lies() {
  const auto drips = [](RawNode::Peer& peer) {
    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
    while (peer.send(" ")) std::this_thread::sleep_for(5ms);  // the pace of the attack
  };
  const std::string open = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n";
  return {
      {"endless_tags", "GET /api/tags", floods(open + R"({"models":[)", R"({"name":"a"},)")},
      {"endless_ps", "GET /api/ps", floods(open + R"({"models":[)", R"({"name":"a"},)")},
      {"endless_version", "GET /api/version", floods(open + R"({"version":")", "1.1.1.1.")},
      {"slow_tags", "GET /api/tags", drips},
      {"slow_ps", "GET /api/ps", drips},
      {"slow_version", "GET /api/version", drips},
      {"tags_redirected", "GET /api/tags",
       says(
           "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")},
      {"version_redirected", "GET /api/version",
       says(
           "HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n")},
      {"tags_no_json", "GET /api/tags", says(answer_text("{\"models\":[{\"name\":"))},
      {"tags_deep", "GET /api/tags", says(answer_text(std::string(1'000'000, '[')))},
      {"tags_invalid_utf8", "GET /api/tags",
       says(answer_text("{\"models\":[{\"name\":\"\xff\xfe\"}]}"))},
      {"tags_no_list", "GET /api/tags", says(answer_text(R"({"models":{"a":1}})"))},
      {"tags_strange_entries", "GET /api/tags",
       says(answer_text(
           R"({"models":[null,1,"x",{},[],{"name":""},{"name":7},{"name":"a/b/c/d/e"}]})"))},
      {"ps_no_json", "GET /api/ps", says(answer_text("]["))},
      {"ps_strange_numbers", "GET /api/ps",
       says(answer_text(R"({"models":[{"name":"llama3.2","size":-1,"size_vram":1e300,)"
                        R"("context_length":99999999999,"expires_at":"never"}]})"))},
      {"version_of_a_megabyte", "GET /api/version",
       says(answer_text(R"({"version":")" + std::string(1 << 20, '9') + "\"}"))},
      {"version_splits_lines", "GET /api/version",
       says(answer_text(R"({"version":"1\r\nX-Evil: y"})"))},
  };
}

class ListingLieTest : public BadListing, public testing::WithParamInterface<ListingLie> {};

TEST_P(ListingLieTest, NeitherHarmsNorSpreads) {
  bad.on(GetParam().request, GetParam().script);
  add();
  ASSERT_TRUE(fleet->eventually([&] { return bad.asked(GetParam().request) >= 2; }));
  expect_unharmed();
  const Answer version = fleet->ask("GET", "/api/version");
  EXPECT_EQ(version.status, 200);
  EXPECT_EQ(version.field("x-evil"), "");
  EXPECT_LT(version.body.size(), 100'000u);
}

INSTANTIATE_TEST_SUITE_P(Table, ListingLieTest, testing::ValuesIn(listing_lies()),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::test

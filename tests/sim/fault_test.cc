// Each way to misbehave, as a client sees it.
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "sim/client.h"
#include "sim/control_server.h"
#include "sim/faults.h"
#include "sim/fleet.h"
#include "sim/models.h"

namespace sollol::sim {
namespace {

namespace json = boost::json;

class FaultyNode : public testing::Test {
 protected:
  Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}}, .time_scale = 1000}};
  std::string url = fleet.url("a");

  Reply generate() { return post(url, "/api/generate", {{"model", "llama3.2"}, {"prompt", "Hi"}}); }
  Reply with(FaultSpec fault) {
    fleet.set_fault("a", std::move(fault));
    return generate();
  }
  bool reachable() { return TestConnection(url).connected(); }
};

TEST_F(FaultyNode, RefusesAndComesBack) {
  TestConnection open(url);
  fleet.set_fault("a", {.kind = FaultKind::refuse});
  EXPECT_FALSE(reachable());
  EXPECT_EQ(open.read_some(), "");  // what was open is closed
  fleet.set_fault("a", {});
  EXPECT_TRUE(reachable());
}

TEST_F(FaultyNode, IsKilledAndRestartedWithNothingLoaded) {
  generate();
  fleet.kill("a");
  EXPECT_FALSE(reachable());
  fleet.restart("a");
  EXPECT_TRUE(get(url, "/api/ps").json().at("models").as_array().empty());
  EXPECT_EQ(generate().lines().back().at("done"), true);
}

TEST_F(FaultyNode, ResetsBeforeOrAfterTheHead) {
  EXPECT_EQ(with({.kind = FaultKind::reset}).status, 0);
  EXPECT_EQ(with({.kind = FaultKind::reset_after_head}).status, 0);
  EXPECT_EQ(get(url, "/api/version").status, 200);  // inference routes only
}

TEST_F(FaultyNode, DiesAfterSomeTokens) {
  const auto reply = with({.kind = FaultKind::die_after_tokens, .tokens = 3});
  EXPECT_EQ(reply.status, 200);
  EXPECT_FALSE(reply.complete);
  EXPECT_FALSE(reply.body.contains("\"done\":true"));
}

TEST_F(FaultyNode, EndsCleanlyWithoutItsLastRecord) {
  const auto reply = with({.kind = FaultKind::end_after_tokens, .tokens = 3});
  EXPECT_TRUE(reply.complete);
  EXPECT_EQ(reply.lines().size(), 3U);
  EXPECT_EQ(reply.lines().back().at("done"), false);
}

TEST_F(FaultyNode, FailsBeforeTheFirstRecord) {
  const auto reply = with({.kind = FaultKind::error, .status = 502, .text = "out of luck"});
  EXPECT_EQ(reply.status, 502);
  EXPECT_EQ(reply.error(), "out of luck");
  EXPECT_TRUE(with({.kind = FaultKind::error})
                  .error()
                  .starts_with("model runner has unexpectedly stopped"));
}

TEST_F(FaultyNode, FailsInTheMiddleInTheWayOfEachApi) {
  const auto native = with({.kind = FaultKind::error_after_tokens, .tokens = 2}).lines();
  EXPECT_EQ(native.size(), 3U);
  EXPECT_TRUE(native.back().as_object().contains("error"));
  const json::object body = {{"model", "llama3.2"},
                             {"max_tokens", 9},
                             {"stream", true},
                             {"messages", {{{"role", "user"}, {"content", "Hi"}}}}};
  const auto openai = post(url, "/v1/chat/completions", body);
  EXPECT_TRUE(openai.complete);
  EXPECT_FALSE(openai.body.contains("[DONE]"));
  EXPECT_EQ(openai.events().back().at("model"), "");
  const auto anthropic = post(url, "/v1/messages", body);
  EXPECT_TRUE(anthropic.complete);
  EXPECT_FALSE(anthropic.body.contains("message_stop"));
  const auto responses =
      post(url, "/v1/responses", {{"model", "llama3.2"}, {"input", "Hi"}, {"stream", true}});
  EXPECT_EQ(responses.events().back().at("type"), "response.failed");
  EXPECT_EQ(post(url, "/api/generate", {{"model", "llama3.2"}, {"prompt", "Hi"}, {"stream", false}})
                .status,
            500);
}

TEST_F(FaultyNode, SaysBusyAsAFullLoadQueueDoes) {
  const auto reply = with({.kind = FaultKind::busy});
  EXPECT_EQ(reply.status, 503);
  EXPECT_EQ(reply.error(), "server busy, please try again.  maximum pending requests exceeded");
  EXPECT_EQ(reply.header("Retry-After"), "");
}

TEST_F(FaultyNode, LiesAboutTypeBodyOrProtocol) {
  const auto mislabelled = with({.kind = FaultKind::content_type});
  EXPECT_EQ(mislabelled.header("Content-Type"), "text/html");
  EXPECT_EQ(mislabelled.lines().back().at("done"), true);
  const auto empty = with({.kind = FaultKind::empty});
  EXPECT_EQ(empty.status, 200);
  EXPECT_EQ(empty.body, "");
  EXPECT_EQ(with({.kind = FaultKind::garbage}).status, 0);
}

TEST_F(FaultyNode, StallsUntilTheClientLeaves) {
  for (const auto& fault :
       {FaultSpec{.kind = FaultKind::stall}, FaultSpec{.kind = FaultKind::starting}}) {
    fleet.set_fault("a", fault);
    const auto faults = fleet.counters("a").faults;
    TestConnection client(url);
    client.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
    EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").faults == faults + 1; }));
    EXPECT_EQ(fleet.counters("a").open, 1U);
    client.close();
    EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").open == 0; }));
  }
}

TEST_F(FaultyNode, StallsInTheMiddle) {
  fleet.set_fault("a", {.kind = FaultKind::stall_after_tokens, .tokens = 2});
  TestConnection client(url);
  client.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  std::string got;
  while (std::ranges::count(got, '\n') < 2 || !got.contains("\"done\":false"))
    got += client.read_some();
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").tokens == 2; }));
  EXPECT_FALSE(got.contains("\"done\":true"));
}

TEST_F(FaultyNode, SlowPsLeavesOtherRoutesAlone) {
  fleet.set_fault("a", {.kind = FaultKind::slow_ps, .delay = std::chrono::hours{24}});
  TestConnection client(url);
  client.send({.method = "GET", .path = "/api/ps"});
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").of("GET /api/ps") == 1; }));
  EXPECT_EQ(get(url, "/api/version").status, 200);
  EXPECT_EQ(generate().lines().back().at("done"), true);
}

TEST_F(FaultyNode, ASlowNodeTakesTheFactorLonger) {
  const auto eval = [](const Reply& reply) {
    return reply.lines().back().at("eval_duration").as_int64();
  };
  const auto plain = eval(generate());
  EXPECT_EQ(eval(with({.kind = FaultKind::slow, .factor = 10})), plain * 10);
}

TEST_F(FaultyNode, BreaksAStreamInsideARecordOrAChunk) {
  const auto cut = with({.kind = FaultKind::cut_in_chunk, .tokens = 3});
  EXPECT_EQ(cut.status, 200);
  EXPECT_FALSE(cut.complete);
  const auto sizeless = with({.kind = FaultKind::bad_chunk, .tokens = 3});
  EXPECT_EQ(sizeless.status, 200);
  EXPECT_FALSE(sizeless.complete);
  const auto half = with({.kind = FaultKind::half_record, .tokens = 3});
  EXPECT_TRUE(half.complete);
  EXPECT_EQ(std::ranges::count(half.body, '\n'), 3);
  EXPECT_FALSE(half.body.ends_with('\n'));
  const auto garbage = with({.kind = FaultKind::garbage_record, .tokens = 3});
  EXPECT_TRUE(garbage.complete);
  EXPECT_TRUE(garbage.body.ends_with("</html>\n\n"));
}

TEST_F(FaultyNode, HalfClosesAndReadsOn) {
  fleet.set_fault("a", {.kind = FaultKind::half_close, .tokens = 2});
  TestConnection client(url);
  client.send({.path = "/api/generate", .body = R"({"model":"llama3.2","prompt":"x"})"});
  const auto reply = client.read();
  EXPECT_EQ(reply.status, 200);
  EXPECT_FALSE(reply.complete);
  EXPECT_EQ(fleet.counters("a").open, 1U);  // it still reads
  client.close();
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").open == 0; }));
}

TEST_F(FaultyNode, BreaksAWholeAnswerInItsMiddle) {
  const json::object whole = {{"model", "llama3.2"}, {"prompt", "Hi"}, {"stream", false}};
  for (const auto kind : {FaultKind::half_close, FaultKind::cut_in_chunk, FaultKind::bad_chunk,
                          FaultKind::long_length}) {
    fleet.set_fault("a", {.kind = kind, .tokens = 3});
    const auto reply = post(url, "/api/generate", whole);
    if (kind != FaultKind::bad_chunk)  // of which the reader keeps not even the head
      EXPECT_EQ(reply.status, 200) << fault_name(kind);
    EXPECT_FALSE(reply.complete) << fault_name(kind);
  }
}

TEST_F(FaultyNode, GivesAWrongLength) {
  EXPECT_FALSE(with({.kind = FaultKind::long_length}).complete);
  const auto shorter = with({.kind = FaultKind::short_length});
  EXPECT_TRUE(shorter.complete);
  EXPECT_FALSE(shorter.body.contains('\n')) << "half a record";
}

TEST_F(FaultyNode, AnswersAsAnotherProgram) {
  fleet.set_fault("a", {.kind = FaultKind::foreign, .scope = FaultScope::all});
  const auto reply = get(url, "/api/version");
  EXPECT_EQ(reply.status, 404);
  EXPECT_EQ(reply.header("Content-Type"), "text/html");
}

TEST(Control, ShowsCountersAndDrivesNodes) {
  Fleet fleet{{.nodes = {{.name = "a", .models = {llama()}}}, .time_scale = 1000}};
  const ControlServer control(fleet, "127.0.0.1:0");
  const auto generate = [&] {
    return post(fleet.url("a"), "/api/generate", {{"model", "llama3.2"}, {"prompt", "Hi"}}).status;
  };
  EXPECT_EQ(generate(), 200);
  // The client has its answer a moment before the node counts it.
  EXPECT_TRUE(fleet.wait_until([&] { return fleet.counters("a").completed == 1; }));
  const auto node = get(control.url(), "/nodes").json().at("nodes").at(0);
  EXPECT_EQ(node.at("name"), "a");
  EXPECT_EQ(node.at("requests").at("POST /api/generate"), 1);
  EXPECT_EQ(node.at("completed"), 1);
  const auto drive = [&](std::string method, std::string path, std::string body = {}) {
    return ask(control.url(),
               {.method = std::move(method), .path = std::move(path), .body = std::move(body)})
        .status;
  };
  EXPECT_EQ(drive("PUT", "/nodes/a/faults", R"([{"fault":"error:501","count":1}])"), 200);
  EXPECT_EQ(generate(), 501);
  EXPECT_EQ(generate(), 200);
  EXPECT_EQ(drive("POST", "/nodes/a/kill"), 200);
  EXPECT_FALSE(TestConnection(fleet.url("a")).connected());
  EXPECT_EQ(drive("POST", "/nodes/a/restart"), 200);
  EXPECT_EQ(generate(), 200);
  EXPECT_EQ(drive("POST", "/nodes/b/kill"), 404);
  EXPECT_EQ(drive("PUT", "/nodes/a/faults", R"(["no such thing"])"), 400);
  EXPECT_EQ(drive("GET", "/elsewhere"), 404);
}

TEST_F(FaultyNode, AFaultIsSpentAfterItsCount) {
  EXPECT_EQ(with({.kind = FaultKind::error, .count = 2}).status, 500);
  EXPECT_EQ(generate().status, 500);
  EXPECT_EQ(generate().status, 200);
  EXPECT_EQ(fleet.counters("a").faults, 2U);
}

TEST_F(FaultyNode, AFaultOfAllRoutesMeetsProbesToo) {
  with({.kind = FaultKind::error, .scope = FaultScope::all});
  EXPECT_EQ(get(url, "/api/version").status, 500);
}

TEST_F(FaultyNode, ChanceMeetsAboutItsShare) {
  fleet.set_fault("a", {.kind = FaultKind::error, .probability = 0.3});
  int failed = 0;
  for (int i = 0; i < 100; ++i)
    failed += post(url, "/api/generate", {{"model", "llama3.2"}}).status == 500;
  EXPECT_GT(failed, 15);  // the seed is fixed
  EXPECT_LT(failed, 45);
}

}  // namespace
}  // namespace sollol::sim

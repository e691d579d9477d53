// A machine whose cable is pulled: its address swallows every packet. Needs a network namespace of
// its own, which black_hole.sh makes; skipped without.
#include <gtest/gtest.h>

#include <cstdlib>

#include "harness.h"
#include "inference_calls.h"

namespace sollol::test {
namespace {

/// Runs an `ip` command in this namespace.
void ip(const std::string& arguments) {
  ASSERT_EQ(std::system(("ip " + arguments).c_str()), 0) << arguments;
}

TEST(BlackHole, AnAddressThatSwallowsPacketsIsLeftAndTakenAgain) {
  const char* address = std::getenv("SOLLOL_TEST_BLACK_HOLE");
  if (address == nullptr) GTEST_SKIP() << "run by black_hole.sh, in a namespace";
  const std::string plug = " " + std::string(address) + "/32 dev lo";
  ip("addr add" + plug);
  sim::ModelSpec model = chat_model();
  model.capabilities = {"completion", "embedding", "audio"};
  sim::FleetConfig config = equal_nodes(2, {model});
  config.nodes[0].address = std::string(address) + ":0";
  TestFleet fleet(std::move(config), [](gateway::Options& options) {
    options.nodes[1].tier = 1;
    options.upstream.connect_timeout = 300ms;
    options.probe.timeout = 500ms;
    options.health.suspect_after = 250ms;
    options.health.dead_after = 500ms;
  });
  const auto node_of = [&](const InferenceCall& call) {
    RawClient client(fleet.port());
    client.send(call.request("llama3.2"));
    const Answer answer = client.receive();
    EXPECT_FALSE(client.silent()) << call.name;
    EXPECT_EQ(text(read_answer(call, answer).seen), text(Seen::whole)) << answer.raw;
    return answer.field("x-sollol-node");
  };
  EXPECT_EQ(node_of(inference_calls()[0]), "a");
  ip("addr del" + plug);
  for (const InferenceCall& call : inference_calls()) EXPECT_EQ(node_of(call), "b") << call.name;
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("a") == "down"; })) << fleet.state("a");
  ip("addr add" + plug);
  EXPECT_TRUE(fleet.eventually([&] { return fleet.state("a") == "healthy"; })) << fleet.state("a");
  EXPECT_TRUE(fleet.eventually([&] { return node_of(inference_calls()[0]) == "a"; }));
}

}  // namespace
}  // namespace sollol::test

// The planner and the judge against served nodes: rates as nodes report them, requests that overlap
// as requests do.
#include <gtest/gtest.h>

#include <future>

#include "locality/contention_plan.h"
#include "locality/partitions.h"
#include "sim/client.h"
#include "sim/fleet.h"
#include "sim/models.h"

namespace sollol::locality {
namespace {

constexpr Duration work = std::chrono::seconds{1};  // simulated

sim::NodeSpec node(std::string name, std::string host, double rate) {
  auto model = sim::llama();
  model.decode_tokens_per_s = rate;
  return {.name = std::move(name), .models = {model}, .host = std::move(host), .device = "gpu"};
}

/// The decode rate that the node reports of one short request.
double rate_of(const std::string& url, std::uint32_t tokens) {
  const auto reply = sim::post(url, "/api/generate",
                               {{"model", "llama3.2"},
                                {"prompt", "Count."},
                                {"stream", false},
                                {"options", {{"num_predict", tokens}, {"num_ctx", 4096}}}});
  const auto json = reply.json();
  const auto& body = json.as_object();
  return body.at("eval_count").to_number<double>() /
         (body.at("eval_duration").to_number<double>() * 1e-9);
}

void run(const Probe& probe, const sim::Fleet& fleet, Measurements& measurements) {
  const auto start = [&](const std::string& name) {
    return std::async(std::launch::async, rate_of, fleet.url(name),
                      measurements.tokens_for(name, work));
  };
  auto a = start(probe.a);
  if (probe.kind == Probe::Kind::alone) return measurements.note_alone(probe.a, a.get());
  auto b = start(probe.b);
  measurements.note_beside(probe.a, probe.b, a.get());
  measurements.note_beside(probe.b, probe.a, b.get());
}

TEST(Measuring, TellsNodesOfOneDeviceFromOthers) {
  const sim::Fleet fleet(
      {.nodes = {node("a", "desktop", 60), node("b", "desktop", 25), node("c", "laptop", 40)},
       .time_scale = 10});
  std::vector facts{at("a", "10.0.0.1"), at("b", "10.0.0.2"), at("c", "10.0.0.3")};
  for (auto& each : facts) each.hostnames = {"pc"};
  const auto pairs = suspects(group(facts, {}));
  ASSERT_EQ(pairs.size(), 3u);

  for (const auto& each : facts) rate_of(fleet.url(each.name), 1);  // loads the model
  Measurements measurements;
  std::size_t spent = 0;
  while (const auto probe = next_probe(pairs, measurements, spent)) {
    spent += probe->requests();
    run(*probe, fleet, measurements);
  }
  const auto got = group(facts, findings(pairs, measurements));
  EXPECT_EQ(hosts_of(got), (Partition{{"a", "b"}, {"c"}}));
  EXPECT_EQ(devices_of(got), (Partition{{"a", "b"}, {"c"}}));
  EXPECT_EQ(got.independent.size(), 2u);
  RecordProperty("requests", static_cast<int>(spent));
}

}  // namespace
}  // namespace sollol::locality

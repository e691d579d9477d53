#include "agent/collector.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fake_machine.h"

namespace sollol::agent {
namespace {

using namespace std::chrono_literals;

Gpu gpu_with(std::vector<GpuProcess> processes, std::optional<std::uint32_t> busy = 80) {
  return {.uuid = "GPU-aa",
          .vendor = "nvidia",
          .utilisation = busy,
          .processes = std::move(processes),
          .processes_known = true};
}

/// A table in which 100 is a server with the runner 101.
ProcessTable table() {
  return {.servers = {{.pid = 100, .port = 11434, .environment = {{}}}},
          .server_of = {{100, 100}, {101, 100}}};
}

Gpu attributed(Gpu gpu) {
  AgentReport report{.gpus = {std::move(gpu)}};
  attribute(table(), report);
  return report.gpus[0];
}

TEST(Attribute, CountsWhatOthersTakeOfAGpu) {
  const auto gpu = attributed(gpu_with({{.pid = 101, .memory = 500, .utilisation = 30},
                                        {.pid = 7, .memory = 200, .utilisation = 40},
                                        {.pid = 8, .memory = 100, .utilisation = 10}}));
  EXPECT_TRUE(gpu.processes[0].ollama);
  EXPECT_FALSE(gpu.processes[1].ollama);
  EXPECT_EQ(gpu.foreign_memory, 300u);
  EXPECT_EQ(gpu.foreign_utilisation, 50u);
}

TEST(Attribute, TakesTheWholeUtilisationForOthersWhenOnlyTheyAreThere) {
  const auto gpu = attributed(gpu_with({{.pid = 7, .memory = 200}}));
  EXPECT_EQ(gpu.foreign_utilisation, 80u);
}

TEST(Attribute, SaysNothingWhereItCannotBeToldApart) {
  const auto gpu = attributed(gpu_with({{.pid = 101, .memory = 1}, {.pid = 7}}));
  EXPECT_EQ(gpu.foreign_memory, std::nullopt);
  EXPECT_EQ(gpu.foreign_utilisation, std::nullopt);
}

TEST(Attribute, NobodyLoadsAGpuThatRests) {
  const auto gpu = attributed(gpu_with({{.pid = 101, .memory = 1}, {.pid = 7, .memory = 9}}, 0));
  EXPECT_EQ(gpu.foreign_memory, 9u);
  EXPECT_EQ(gpu.foreign_utilisation, 0u);
}

TEST(Attribute, OwnLoadIsNotForeign) {
  const auto gpu = attributed(gpu_with({{.pid = 101, .memory = 1}}));
  EXPECT_EQ(gpu.foreign_memory, 0u);
  EXPECT_EQ(gpu.foreign_utilisation, 0u);
}

TEST(Attribute, GivesEachNodeItsGpus) {
  AgentReport report{.gpus = {gpu_with({{.pid = 101}})}};
  report.gpus.push_back({.uuid = "GPU-bb", .vendor = "nvidia"});
  attribute(table(), report);
  ASSERT_EQ(report.nodes.size(), 1u);
  EXPECT_TRUE(report.nodes[0].gpus_known);
  EXPECT_EQ(report.nodes[0].gpus, (std::vector<std::string>{"GPU-aa", "GPU-bb"}));
  EXPECT_EQ(report.nodes[0].gpus_in_use, std::vector<std::string>{"GPU-aa"});
}

TEST(Attribute, DoesNotTakeUnseenGpusForNone) {
  AgentReport report;
  attribute(table(), report);
  EXPECT_FALSE(report.nodes.at(0).gpus_known);
}

TEST(Attribute, DoesNotKnowTheGpusOfAnotherUsersServer) {
  auto hidden = table();
  hidden.servers[0].environment.reset();
  AgentReport report{.gpus = {gpu_with({})}};
  attribute(hidden, report);
  EXPECT_FALSE(report.nodes.at(0).gpus_known);
}

struct Collecting {
  FakeMachine fake;
  Collector collector{fake.roots(), {.nvml = {FAKE_NVML}, .rocm = {"none.so"}}};
  TimePoint now = TimePoint{} + 1h;
  AgentReport report() { return collector.report(now, WallTime{} + 1h); }
};

TEST(Collector, TellsTheProcessorsLoadThatIsNotOllamas) {
  Collecting at;
  at.fake.write("proc/stat", "cpu 100 0 0 900\n");
  at.fake.run({.pid = 100, .command = "ollama serve", .environment = "A=b", .ticks = 50});
  EXPECT_EQ(at.report().machine.cpu_busy, std::nullopt);
  at.fake.write("proc/stat", "cpu 180 0 0 920\n");
  at.fake.run({.pid = 100, .command = "ollama serve", .environment = "A=b", .ticks = 110});
  at.now += 2s;
  const auto report = at.report();
  EXPECT_DOUBLE_EQ(report.machine.cpu_busy.value(), 0.8);
  EXPECT_DOUBLE_EQ(report.machine.cpu_foreign.value(), 0.2);
}

TEST(Collector, LooksAtMostOnceASecond) {
  Collecting at;
  EXPECT_TRUE(at.report().nodes.empty());
  at.fake.run({.pid = 100, .command = "ollama serve"});
  at.now += 900ms;
  EXPECT_TRUE(at.report().nodes.empty());
  at.now += 100ms;
  EXPECT_EQ(at.report().nodes.size(), 1u);
}

TEST(Collector, LooksAtThisMachineToo) {
  Collector collector;
  const auto& report = collector.report(Clock::now(), std::chrono::system_clock::now());
  EXPECT_GT(report.machine.memory_total, 0u);
  EXPECT_FALSE(report.machine.boot_id.empty());
  EXPECT_TRUE(report.agent.starts_with("sollol "));
}

}  // namespace
}  // namespace sollol::agent

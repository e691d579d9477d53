#include "agent/report.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <boost/json.hpp>

namespace sollol::agent {
namespace {

AgentReport full() {
  return {.agent = "sollol 1",
          .machine = {.id = "aa",
                      .boot_id = "bb",
                      .hostname = "box",
                      .cores = 8,
                      .memory_total = 1ull << 40,
                      .memory_available = 5,
                      .addresses = {"10.0.0.5", "fd00::5"},
                      .load = 1.5,
                      .cpu_busy = 0.5,
                      .cpu_foreign = 0.25},
          .gpus = {{.uuid = "GPU-1",
                    .name = "H100",
                    .vendor = "nvidia",
                    .memory_total = 100,
                    .memory_free = 50,
                    .utilisation = 70,
                    .processes = {{.pid = 7, .memory = 3, .utilisation = 4, .ollama = true},
                                  {.pid = 8}},
                    .processes_known = true,
                    .foreign_memory = 1,
                    .foreign_utilisation = 2},
                   {.uuid = "GPU-2"}},
          .nodes = {{.pid = 9,
                     .port = 11434,
                     .address = "0.0.0.0",
                     .own_network = true,
                     .gpus_known = true,
                     .gpus = {"GPU-1"},
                     .gpus_in_use = {"GPU-1"}},
                    {.pid = 10}},
          .owner = {.in_use = true, .idle_s = 3, .sessions = 1},
          .notes = {"no AMD GPUs"}};
}

TEST(Report, ComesBackFromItsJson) {
  const auto back = parse_report(to_json(full()));
  ASSERT_TRUE(back.has_value()) << back.error().detail;
  EXPECT_EQ(*back, full());
  EXPECT_EQ(parse_report(to_json(AgentReport{})).value(), AgentReport{});
}

TEST(Report, FieldsOfAnotherKindAreNotKnown) {
  const auto report = parse_report(R"({"version":1,"agent":7,"machine":{"id":["x"],"cores":-1,
    "memory_total":1e300,"addresses":["10.0.0.1",5,null],"load":-1,"cpu_busy":7},
    "gpus":[{"uuid":"GPU-1","utilisation":400,"processes":"none"},{"name":"without id"},5],
    "nodes":[{"port":70000,"gpus":{}}],"owner":[],"notes":"x","later":{"a":[1]}})");
  ASSERT_TRUE(report.has_value()) << report.error().detail;
  EXPECT_EQ(report->machine, (Machine{.addresses = {"10.0.0.1"}, .cpu_busy = 1.0}));
  ASSERT_EQ(report->gpus.size(), 1u);
  EXPECT_EQ(report->gpus[0], (Gpu{.uuid = "GPU-1", .utilisation = 100}));
  ASSERT_EQ(report->nodes.size(), 1u);
  EXPECT_EQ(report->nodes[0], LocalNode{});
}

TEST(Report, IsRefusedWhenItIsNone) {
  for (const auto* text :
       {"", "null", "[]", "{", "7", "{}", R"({"version":2})", R"({"version":"1"})"})
    EXPECT_EQ(parse_report(text).error().kind, ErrorKind::bad_reply) << text;
}

TEST(Report, IsBounded) {
  const ReportLimits limits{.bytes_max = 100000,
                            .gpus_max = 2,
                            .nodes_max = 1,
                            .addresses_max = 1,
                            .processes_max = 1,
                            .notes_max = 1,
                            .text_max = 8};
  auto report = full();
  report.gpus.push_back({.uuid = "GPU-3"});
  report.notes = {"one", "two"};
  report.machine.hostname = "longer than eight";
  report.machine.id = "a\nb";
  const auto back = parse_report(to_json(report), limits).value();
  EXPECT_EQ(back.gpus.size(), 2u);
  EXPECT_EQ(back.gpus[0].processes.size(), 1u);
  EXPECT_EQ(back.nodes.size(), 1u);
  EXPECT_EQ(back.machine.addresses.size(), 1u);
  EXPECT_EQ(back.machine.hostname, "");
  EXPECT_EQ(back.machine.id, "");
  EXPECT_EQ(back.notes, std::vector<std::string>{"one"});
  EXPECT_TRUE(
      parse_report(std::string(100001, ' '), limits).error().detail.contains("100000 bytes"));
}

TEST(Report, DeepNestingIsRefused) {
  EXPECT_FALSE(parse_report(R"({"version":1,"x":)" + std::string(50000, '[')).has_value());
}

TEST(Report, AnyBytesAreTakenOrRefused) {
  rc::check("mutated reports never break the parser", [] {
    auto text = to_json(full());
    const auto at = *rc::gen::inRange<std::size_t>(0, text.size());
    text[at] = static_cast<char>(*rc::gen::inRange(0, 256));
    const auto report = parse_report(text);
    if (report) RC_ASSERT(parse_report(to_json(*report)).has_value());
  });
}

TEST(Report, NamesTheNodeAtAPortAndItsDevices) {
  AgentReport report;
  report.nodes = {
      {.pid = 1, .port = 11434, .own_network = true},
      {.pid = 2, .port = 11434, .gpus_known = true, .gpus = {"a"}, .gpus_in_use = {"b"}},
      {.pid = 3, .port = 0, .gpus_in_use = {"b"}}};
  ASSERT_NE(find_node(report, 11434), nullptr);
  EXPECT_EQ(find_node(report, 11434)->pid, 2u);
  EXPECT_EQ(find_node(report, 0), nullptr);
  EXPECT_EQ(find_node(report, 80), nullptr);
  EXPECT_EQ(devices_of(report.nodes[1]), std::vector<std::string>{"a"});
  EXPECT_EQ(devices_of(report.nodes[2]), std::vector<std::string>{"b"});
}

TEST(Report, ReadsAsText) {
  const auto text = to_text(full());
  EXPECT_TRUE(text.contains("GPU-1")) << text;
  EXPECT_TRUE(text.contains("port 11434")) << text;
  EXPECT_TRUE(text.contains("port not known")) << text;
  EXPECT_TRUE(text.contains("no AMD GPUs")) << text;
}

}  // namespace
}  // namespace sollol::agent

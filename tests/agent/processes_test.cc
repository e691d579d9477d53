#include "agent/processes.h"

#include <gtest/gtest.h>

#include "agent/visible_devices.h"
#include "fake_machine.h"

namespace sollol::agent {
namespace {

constexpr auto serve = "/usr/local/bin/ollama serve";

TEST(ReadProcesses, FindsTheServerItsPortAndItsRunners) {
  const FakeMachine fake;
  fake.run({.pid = 100,
            .command = serve,
            .environment = "HOME=/x\nOLLAMA_HOST=0.0.0.0:1\n",
            .ticks = 10});
  fake.run({.pid = 101,
            .parent = 100,
            .command = "/usr/local/bin/ollama runner --model m",
            .ticks = 200});
  fake.run({.pid = 102, .parent = 101, .command = "helper"});
  fake.run({.pid = 200, .command = "/usr/bin/game"});
  fake.run({.pid = 201, .parent = 200, .command = "ollama run llama3.2"});
  fake.listens(100, "00000000:2CAB", 777);
  const auto table = read_processes(fake.roots());
  ASSERT_EQ(table.servers.size(), 1u);
  EXPECT_EQ(table.servers[0].pid, 100u);
  EXPECT_EQ(table.servers[0].port, 11435);  // by the socket, whatever the variable says
  EXPECT_EQ(table.servers[0].address, "0.0.0.0");
  EXPECT_EQ(table.server_of,
            (std::unordered_map<std::uint32_t, std::uint32_t>{{100, 100}, {101, 100}, {102, 100}}));
  EXPECT_EQ(table.ollama_ticks, 210u);
}

TEST(ReadProcesses, ReadsIPv6Sockets) {
  const FakeMachine fake;
  fake.run({.pid = 100, .command = serve});
  fake.write("proc/100/net/tcp6",
             "head\n 0: 00000000000000000000000001000000:2CAA 0:0 0A 0:0 0:0 0 0 0 5 1\n");
  fake.link("proc/100/fd/7", "socket:[5]");
  const auto table = read_processes(fake.roots());
  EXPECT_EQ(table.servers.at(0).address, "::1");
  EXPECT_EQ(table.servers.at(0).port, 11434);
  EXPECT_FALSE(table.servers.at(0).environment.has_value());
}

TEST(ReadProcesses, TellsAContainersNetworkApart) {
  const FakeMachine fake;
  fake.link("proc/self/ns/net", "net:[1]");
  fake.run({.pid = 100, .command = serve});
  fake.link("proc/100/ns/net", "net:[2]");
  fake.run({.pid = 101, .command = serve});
  fake.link("proc/101/ns/net", "net:[1]");
  const auto table = read_processes(fake.roots());
  ASSERT_EQ(table.servers.size(), 2u);
  EXPECT_TRUE(table.servers[0].own_network);
  EXPECT_FALSE(table.servers[1].own_network);
}

struct HostCase {
  const char* value;
  const char* address;
  std::uint16_t port;
};
class OllamaHost : public testing::TestWithParam<HostCase> {};
TEST_P(OllamaHost, PlacesAServerWhoseSocketsAreHidden) {
  const FakeMachine fake;
  fake.run(
      {.pid = 7, .command = serve, .environment = std::string("OLLAMA_HOST=") + GetParam().value});
  const auto table = read_processes(fake.roots());
  EXPECT_EQ(table.servers.at(0).address, GetParam().address);
  EXPECT_EQ(table.servers.at(0).port, GetParam().port);
}
INSTANTIATE_TEST_SUITE_P(
    Table, OllamaHost,
    testing::Values(HostCase{"", "127.0.0.1", 11434}, HostCase{"0.0.0.0", "0.0.0.0", 11434},
                    HostCase{":1234", "0.0.0.0", 1234}, HostCase{"http://10.0.0.5", "10.0.0.5", 80},
                    HostCase{"https://x/y", "x", 443}, HostCase{"[::1]:80", "::1", 80},
                    HostCase{"::1", "::1", 11434}, HostCase{"\"a:b\"", "a", 11434}));

TEST(ReadProcesses, TakesTheUsualPortOfTheOnlyServerThatIsHidden) {
  const FakeMachine fake;
  fake.run({.pid = 7, .command = serve});
  fake.write("proc/7/net/tcp", "head\n 0: 0100007F:2CAA 0:0 0A 0:0 0:0 0 0 0 5 1\n");
  EXPECT_EQ(read_processes(fake.roots()).servers.at(0).port, 11434);
  fake.run({.pid = 8, .command = serve});
  EXPECT_EQ(read_processes(fake.roots()).servers.at(0).port, 0);
}

TEST(ReadProcesses, CountsTheMachinesTime) {
  const FakeMachine fake;
  fake.write("proc/stat", "cpu  10 1 4 70 5 2 3 5 9 9\ncpu0 1 1 1\n");
  const auto table = read_processes(fake.roots());
  EXPECT_EQ(table.all_ticks, 100u);
  EXPECT_EQ(table.busy_ticks, 25u);
}

TEST(ReadProcesses, LivesWithBrokenFiles) {
  const FakeMachine fake;
  fake.write("proc/5/stat", "5 (");
  fake.write("proc/6/stat", "6 (x) S\n");
  fake.write("proc/7/stat", "");
  fake.write("proc/99999999999999/stat", "1 (x) S 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n");
  // Two that are each other's parent.
  fake.run({.pid = 8, .parent = 9, .command = "a"});
  fake.run({.pid = 9, .parent = 8, .command = "b"});
  EXPECT_TRUE(read_processes(fake.roots()).servers.empty());
}

struct VisibleCase {
  const char* name;
  std::map<std::string, std::string, std::less<>> environment;
  std::optional<std::vector<std::string>> want;
  std::vector<Gpu> gpus = {{.uuid = "GPU-aa", .name = "A", .vendor = "nvidia"},
                           {.uuid = "GPU-bb", .name = "A", .vendor = "nvidia"}};
};
class VisibleGpus : public testing::TestWithParam<VisibleCase> {};
TEST_P(VisibleGpus, FollowsTheVariables) {
  EXPECT_EQ(visible_gpus(GetParam().environment, GetParam().gpus), GetParam().want);
}
using Uuids = std::vector<std::string>;
const std::vector<Gpu> mixed = {{.uuid = "GPU-aa", .name = "A", .vendor = "nvidia"},
                                {.uuid = "GPU-bb", .name = "B", .vendor = "nvidia"}};
const std::vector<Gpu> amd = {{.uuid = "GPU-01", .name = "A", .vendor = "amd"},
                              {.uuid = "GPU-02", .name = "A", .vendor = "amd"}};
INSTANTIATE_TEST_SUITE_P(
    Table, VisibleGpus,
    testing::Values(
        VisibleCase{"unset", {}, Uuids{"GPU-aa", "GPU-bb"}},
        VisibleCase{"by_uuid", {{"CUDA_VISIBLE_DEVICES", "GPU-bb"}}, Uuids{"GPU-bb"}},
        VisibleCase{"shortened", {{"CUDA_VISIBLE_DEVICES", "GPU-b"}}, Uuids{"GPU-bb"}},
        VisibleCase{"by_number", {{"CUDA_VISIBLE_DEVICES", "1, 0"}}, Uuids{"GPU-bb", "GPU-aa"}},
        VisibleCase{"empty", {{"CUDA_VISIBLE_DEVICES", ""}}, Uuids{}},
        VisibleCase{"minus_one", {{"CUDA_VISIBLE_DEVICES", "-1"}}, Uuids{}},
        VisibleCase{"ends_at_the_first_bad", {{"CUDA_VISIBLE_DEVICES", "0,7,1"}}, Uuids{"GPU-aa"}},
        VisibleCase{"part_of_a_gpu", {{"CUDA_VISIBLE_DEVICES", "MIG-1"}}, std::nullopt},
        VisibleCase{"numbers_of_mixed", {{"CUDA_VISIBLE_DEVICES", "1"}}, std::nullopt, mixed},
        VisibleCase{"numbers_by_bus",
                    {{"CUDA_VISIBLE_DEVICES", "1"}, {"CUDA_DEVICE_ORDER", "PCI_BUS_ID"}},
                    Uuids{"GPU-bb"},
                    mixed},
        VisibleCase{"no_library", {{"CUDA_VISIBLE_DEVICES", "GPU-cc"}}, Uuids{"GPU-cc"}, {}},
        VisibleCase{"no_library_numbers", {{"CUDA_VISIBLE_DEVICES", "0"}}, std::nullopt, {}},
        VisibleCase{"rocr", {{"ROCR_VISIBLE_DEVICES", "GPU-02"}}, Uuids{"GPU-02"}, amd},
        VisibleCase{"hip_within_rocr",
                    {{"ROCR_VISIBLE_DEVICES", "1"}, {"HIP_VISIBLE_DEVICES", "0"}},
                    Uuids{"GPU-02"},
                    amd},
        VisibleCase{"ordinal", {{"GPU_DEVICE_ORDINAL", "0"}}, Uuids{"GPU-01"}, amd}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::agent

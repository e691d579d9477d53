#include "agent/gpus.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "fake_machine.h"

namespace sollol::agent {
namespace {

/// The GPUs that the stand-in libraries tell of, while it lives.
class Fakes {
 public:
  explicit Fakes(std::string_view text) {
    machine_.write("gpus", text);
    ::setenv("SOLLOL_FAKE_GPUS", (machine_.roots().etc + "/../gpus").c_str(), 1);
  }
  ~Fakes() { ::unsetenv("SOLLOL_FAKE_GPUS"); }

 private:
  FakeMachine machine_;
};

GpuLibraries nvml_at(std::string path) { return {.nvml = {std::move(path)}, .rocm = {"none.so"}}; }
GpuLibraries rocm_at(std::string path) { return {.nvml = {"none.so"}, .rocm = {std::move(path)}}; }

TEST(Gpus, AreNoneWithoutLibrariesAndTheReasonIsSaid) {
  const auto reading = Gpus({.nvml = {"none-1.so"}, .rocm = {"none-2.so"}}).read();
  EXPECT_TRUE(reading.gpus.empty());
  ASSERT_EQ(reading.notes.size(), 2u);
  EXPECT_TRUE(reading.notes[0].starts_with("no NVIDIA GPUs: ")) << reading.notes[0];
  EXPECT_TRUE(reading.notes[1].starts_with("no AMD GPUs: ")) << reading.notes[1];
}

TEST(Gpus, AreNoneInALibraryThatIsNoDrivers) {
  EXPECT_TRUE(Gpus(nvml_at(EMPTY_LIBRARY)).read().notes.at(0).contains("lacks functions"));
  EXPECT_TRUE(Gpus(rocm_at(EMPTY_LIBRARY)).read().notes.at(1).contains("lacks functions"));
}

TEST(Gpus, AreNoneWhenTheDriverDoesNotStart) {
  EXPECT_TRUE(Gpus(nvml_at(FAKE_NVML)).read().notes.at(0).contains("does not start (error 9)"));
  EXPECT_TRUE(Gpus(rocm_at(FAKE_ROCM)).read().notes.at(1).contains("does not start (error 8)"));
}

TEST(Gpus, ComeFromNvml) {
  const Fakes fakes(
      "gpu GPU-aa H100 1000 400 70\nprocess 12 500 60\nprocess 13 - 5\ngpu GPU-bb H100 1000 1000 "
      "0\n");
  const auto reading = Gpus(nvml_at(FAKE_NVML)).read();
  ASSERT_EQ(reading.gpus.size(), 2u);
  EXPECT_EQ(reading.gpus[0], (Gpu{.uuid = "GPU-aa",
                                  .name = "H100",
                                  .vendor = "nvidia",
                                  .memory_total = 1000,
                                  .memory_free = 400,
                                  .utilisation = 70,
                                  .processes = {{.pid = 12, .memory = 500, .utilisation = 60},
                                                {.pid = 13, .memory = {}, .utilisation = 5}},
                                  .processes_known = true}));
  EXPECT_EQ(reading.gpus[1].uuid, "GPU-bb");
  EXPECT_TRUE(reading.gpus[1].processes.empty());
}

TEST(Gpus, ComeFromRocmSmiWithTheKernelsProcesses) {
  const Fakes fakes("gpu 1f2e3d4c5b6a7988 MI300 1000 900 20\nprocess 12 100 -\n");
  const FakeMachine machine;
  machine.write("sys/class/kfd/kfd/proc/12/pasid", "1");
  machine.write("sys/class/kfd/kfd/proc/14/pasid", "2");
  const auto reading = Gpus(rocm_at(FAKE_ROCM), machine.roots()).read();
  ASSERT_EQ(reading.gpus.size(), 1u);
  EXPECT_EQ(reading.gpus[0], (Gpu{.uuid = "GPU-1f2e3d4c5b6a7988",
                                  .name = "MI300",
                                  .vendor = "amd",
                                  .memory_total = 1000,
                                  .memory_free = 900,
                                  .utilisation = 20,
                                  .processes = {{.pid = 12, .memory = 100}},
                                  .processes_known = true}));
}

}  // namespace
}  // namespace sollol::agent

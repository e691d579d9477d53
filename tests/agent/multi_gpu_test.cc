#include "agent/multi_gpu.h"

#include <gtest/gtest.h>

namespace sollol::agent {
namespace {

MultiGpuOptions options() { return {.address = "10.0.0.5", .host = "box"}; }

TEST(PlanUnits, GivesEachGpuItsOwnServer) {
  const auto units = plan_units(
      {{.uuid = "GPU-aa", .vendor = "nvidia"}, {.uuid = "GPU-bb", .vendor = "amd"}}, options());
  ASSERT_TRUE(units.has_value()) << units.error().detail;
  ASSERT_EQ(units->size(), 2u);
  const auto& first = (*units)[0];
  EXPECT_EQ(first.file, "ollama-gpu0.service");
  EXPECT_EQ(first.name, "box-gpu0");
  EXPECT_EQ(first.url, "http://10.0.0.5:11434");
  EXPECT_TRUE(first.text.contains("\nEnvironment=OLLAMA_HOST=0.0.0.0:11434\n")) << first.text;
  EXPECT_TRUE(first.text.contains("\nEnvironment=CUDA_VISIBLE_DEVICES=GPU-aa\n"));
  EXPECT_TRUE(first.text.contains("\nExecStart=/usr/local/bin/ollama serve\n"));
  EXPECT_TRUE(first.text.contains("\nEnvironment=ROCR_VISIBLE_DEVICES=-1\n"));
  EXPECT_TRUE((*units)[1].text.contains("\nEnvironment=CUDA_VISIBLE_DEVICES=-1\n"));
  EXPECT_TRUE((*units)[1].text.contains("\nEnvironment=ROCR_VISIBLE_DEVICES=GPU-bb\n"));
  EXPECT_TRUE((*units)[1].text.contains("OLLAMA_HOST=0.0.0.0:11435\n"));
}

TEST(PlanUnits, BracketsIPv6) {
  auto wanted = options();
  wanted.listen = "::";
  wanted.address = "fd00::5";
  const auto units = plan_units({{.uuid = "GPU-aa"}}, wanted).value();
  EXPECT_TRUE(units[0].text.contains("OLLAMA_HOST=[::]:11434\n"));
  EXPECT_EQ(units[0].url, "http://[fd00::5]:11434");
}

TEST(PlanUnits, RefusesWhatCannotStandInAUnit) {
  const auto with = [](auto change) {
    auto wanted = options();
    change(wanted);
    return !plan_units({{.uuid = "GPU-aa"}, {.uuid = "GPU-bb"}}, wanted).has_value();
  };
  EXPECT_TRUE(with([](auto& o) { o.models = "/a b"; }));
  EXPECT_TRUE(with([](auto& o) { o.user = "x\nExecStart=/bin/sh"; }));
  EXPECT_TRUE(with([](auto& o) { o.program = "/bin/%h"; }));
  EXPECT_TRUE(with([](auto& o) { o.prefix = "../x"; }));
  EXPECT_TRUE(with([](auto& o) { o.host = ""; }));
  EXPECT_TRUE(with([](auto& o) { o.base_port = 65535; }));
  EXPECT_FALSE(with([](auto& o) { o.base_port = 65534; }));
  EXPECT_FALSE(plan_units({}, options()).has_value());
  EXPECT_FALSE(plan_units({{.uuid = "GPU-aa"}, {.uuid = "GPU-aa"}}, options()).has_value());
}

TEST(ParseGpu, TakesUuidsOfBothVendors) {
  EXPECT_EQ(parse_gpu("GPU-1f2e3d4c-0000").value().vendor, "nvidia");
  EXPECT_EQ(parse_gpu("amd:GPU-1f2e3d4c5b6a7988").value().vendor, "amd");
  for (const auto* bad : {"", "0", "GPU-", "GPU-xyzw", "intel:GPU-1f2e3d4c", "GPU-1f2e\n3d4c"})
    EXPECT_FALSE(parse_gpu(bad).has_value()) << bad;
}

}  // namespace
}  // namespace sollol::agent

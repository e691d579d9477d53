#include <gtest/gtest.h>

#include "cli/command.h"
#include "cli/config.h"
#include "discovery/files.h"
#include "discovery/temporary_folder.h"

namespace sollol::cli {
namespace {

constexpr auto olla = R"(
server: {host: localhost, port: 40114, request_limits: {max_header_size: 999999999999}}
proxy: {load_balancer: priority}
discovery: {static: {endpoints: [{url: "http://gpu:11434", name: big, type: ollama, priority: 9}]}}
)";

/// Runs `sollol import` with these arguments; -1 when they were not understood.
int run(std::vector<std::string> arguments) {
  CLI::App app;
  Action chosen;
  add_import_command(app, chosen);
  std::ranges::reverse(arguments);  // CLI11 takes the last argument first
  arguments.push_back("import");
  try {
    app.parse(std::move(arguments));
  } catch (const CLI::ParseError&) {
    return -1;
  }
  return chosen();
}

std::string capture_stdout(const std::vector<std::string>& arguments, int want) {
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  const auto code = run(arguments);
  testing::internal::GetCapturedStderr();
  auto text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, want);
  return text;
}

TEST(ImportCommand, PrintsATomlThatLoads) {
  const TemporaryFolder folder;
  ASSERT_TRUE(discovery::write_file_atomically(folder / "olla.yaml", olla).has_value());
  const auto toml = capture_stdout({folder / "olla.yaml"}, exit_done);
  Settings settings;
  const auto read = apply_toml(settings, toml, "out");
  ASSERT_TRUE(read.has_value()) << read.error().detail << "\n" << toml;
  EXPECT_EQ(settings.listen, "127.0.0.1:40114");
  EXPECT_EQ(settings.policy, "priority");
  ASSERT_EQ(settings.nodes.size(), 1u);
  EXPECT_EQ(settings.nodes[0].name, "big");
}

TEST(ImportCommand, SaysOnStandardErrorWhatIsLeftOut) {
  const TemporaryFolder folder;
  ASSERT_TRUE(discovery::write_file_atomically(folder / "olla.yaml", olla).has_value());
  testing::internal::CaptureStdout();
  testing::internal::CaptureStderr();
  run({folder / "olla.yaml"});
  testing::internal::GetCapturedStdout();
  const auto notes = testing::internal::GetCapturedStderr();
  EXPECT_NE(notes.find("olla: 1 nodes, 2 settings taken over; 1 things left out:"),
            std::string::npos)
      << notes;
  EXPECT_NE(notes.find("limits.head_bytes: expected a whole number from 1024 to 16777216"),
            std::string::npos)
      << notes;
}

TEST(ImportCommand, ReplacesAFileOnlyWhenForced) {
  const TemporaryFolder folder;
  ASSERT_TRUE(discovery::write_file_atomically(folder / "olla.yaml", olla).has_value());
  ASSERT_TRUE(discovery::write_file_atomically(folder / "out.toml", "mine").has_value());
  capture_stdout({folder / "olla.yaml", "--output", folder / "out.toml"}, exit_failed);
  EXPECT_EQ(discovery::read_file(folder / "out.toml").value(), "mine");
  capture_stdout({folder / "olla.yaml", "--output", folder / "out.toml", "--force"}, exit_done);
  EXPECT_NE(discovery::read_file(folder / "out.toml").value().find("[[nodes]]"), std::string::npos);
}

TEST(ImportCommand, FailsOnWhatItDoesNotKnow) {
  const TemporaryFolder folder;
  ASSERT_TRUE(discovery::write_file_atomically(folder / "a.yaml", "a: b").has_value());
  capture_stdout({folder / "a.yaml"}, exit_failed);
  capture_stdout({folder / "none.yaml"}, exit_failed);
  EXPECT_EQ(run({}), -1);
}

}  // namespace
}  // namespace sollol::cli

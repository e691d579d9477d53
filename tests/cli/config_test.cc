#include "cli/config.h"

#include <gtest/gtest.h>

#include "cli/config_table.h"
#include "discovery/files.h"
#include "discovery/temporary_folder.h"

namespace sollol::cli {
namespace {

Result<Settings> from_toml(std::string_view text) {
  Settings settings;
  const auto read = apply_toml(settings, text, "s.toml");
  if (!read) return std::unexpected(read.error());
  return settings;
}

TEST(LoadSettings, HasTheDefaultsOfTheDesign) {
  const TemporaryFolder home;
  const auto loaded = load_settings(MapEnvironment({{"XDG_CONFIG_HOME", home / "none"}}), {});
  ASSERT_TRUE(loaded.has_value()) << loaded.error().detail;
  EXPECT_EQ(loaded->settings.listen, "127.0.0.1:11434");
  EXPECT_EQ(loaded->settings.policy, "expected_completion");
  EXPECT_EQ(loaded->settings.retry.attempts, 2u);
  EXPECT_EQ(loaded->settings.queue.max_wait, 300s);
}

TEST(LoadSettings, LetsTheLaterSourceWin) {
  const TemporaryFolder home;
  ASSERT_TRUE(discovery::write_file_atomically(home / "config/sollol/sollol.toml",
                                               "workers = 1\nslots = 1\n[queue]\nmax_waiting = 1\n")
                  .has_value());
  const MapEnvironment environment({{"XDG_CONFIG_HOME", home / "config"},
                                    {"SOLLOL_SLOTS", "2"},
                                    {"SOLLOL_QUEUE_MAX_WAITING", "2"},
                                    {"SOLLOL_POLICY", ""}});
  const auto loaded = load_settings(environment, {.flags = {{"queue.max_waiting", "3"}}});
  ASSERT_TRUE(loaded.has_value()) << loaded.error().detail;
  EXPECT_EQ(loaded->settings.workers, 1u);
  EXPECT_EQ(loaded->settings.slots, 2u);
  EXPECT_EQ(loaded->settings.queue.max_waiting, 3u);
  EXPECT_EQ(loaded->settings.policy, "expected_completion");  // a blank variable is an unset one
  EXPECT_EQ(loaded->file, home / "config/sollol/sollol.toml");
}

TEST(LoadSettings, WantsTheFileOfTheFlag) {
  const TemporaryFolder folder;
  const auto loaded = load_settings(MapEnvironment({}), {.config_file = folder / "none.toml"});
  ASSERT_FALSE(loaded.has_value());
  EXPECT_EQ(loaded.error().kind, ErrorKind::not_found);
}

TEST(LoadSettings, NamesTheVariableOrTheFlagInAnError) {
  const TemporaryFolder home;
  const std::pair<const char*, const char*> bad[] = {{"SOLLOL_WORKERS", "many"},
                                                     {"SOLLOL_LOG_LEVEL", "loud"}};
  for (const auto& [name, value] : bad) {
    const auto loaded =
        load_settings(MapEnvironment({{"XDG_CONFIG_HOME", home / "x"}, {name, value}}), {});
    ASSERT_FALSE(loaded.has_value());
    EXPECT_TRUE(loaded.error().detail.starts_with(std::string(name) + ": expected"))
        << loaded.error().detail;
  }
  const auto loaded = load_settings(MapEnvironment({{"XDG_CONFIG_HOME", home / "x"}}),
                                    {.flags = {{"slots", "-1"}}});
  ASSERT_FALSE(loaded.has_value());
  EXPECT_TRUE(loaded.error().detail.starts_with("--slots: expected a whole number"))
      << loaded.error().detail;
}

TEST(ConfigCandidates, LooksAtHomeBeforeTheSystem) {
  using Paths = std::vector<std::string>;
  EXPECT_EQ(config_candidates(MapEnvironment({{"HOME", "/h"}})),
            (Paths{"/h/.config/sollol/sollol.toml", "/etc/sollol/sollol.toml"}));
  EXPECT_EQ(config_candidates(MapEnvironment({{"HOME", "/h"}, {"XDG_CONFIG_HOME", "/x"}})),
            (Paths{"/x/sollol/sollol.toml", "/etc/sollol/sollol.toml"}));
  EXPECT_EQ(config_candidates(MapEnvironment({})), (Paths{"/etc/sollol/sollol.toml"}));
}

TEST(ApplyToml, ReadsEveryKindOfValue) {
  const auto settings = from_toml(R"(
listen = "[::1]:8080"
policy = "random"
[queue]
max_wait_s = 1.5
[limits]
idle_timeout_s = 7
[cors]
origins = ["https://a", "*"]
[[nodes]]
url = "gpu:8080"
name = "big"
priority = 1
slots = 4
host = "box"
device = "GPU-1f2e"
mac = "02-00-5E-10-00-0F"
wake = true
[[nodes]]
url = "b"
)");
  ASSERT_TRUE(settings.has_value()) << settings.error().detail;
  EXPECT_EQ(settings->listen, "[::1]:8080");
  EXPECT_EQ(settings->policy, "random");
  EXPECT_EQ(settings->queue.max_wait, 1500ms);
  EXPECT_EQ(settings->limits.idle_timeout, 7s);
  EXPECT_EQ(settings->cors.origins, (std::vector<std::string>{"https://a", "*"}));
  ASSERT_EQ(settings->nodes.size(), 2u);
  EXPECT_EQ(settings->nodes[0].url, "http://gpu:8080");
  EXPECT_EQ(settings->nodes[0].name, "big");
  EXPECT_EQ(settings->nodes[0].priority, 1u);
  EXPECT_EQ(settings->nodes[0].slots, 4u);
  EXPECT_EQ(settings->nodes[0].physical_host, "box");
  EXPECT_EQ(settings->nodes[0].device, "GPU-1f2e");
  EXPECT_EQ(settings->nodes[0].mac, "02:00:5e:10:00:0f");
  EXPECT_TRUE(settings->nodes[0].wake);
  EXPECT_EQ(settings->nodes[1].origin, "sollol.toml");
}

TEST(ApplyToml, TakesNodesAsTheFlagWritesThem) {
  const auto settings = from_toml(R"(nodes = ["a", "b:1,name=c"])");
  ASSERT_TRUE(settings.has_value()) << settings.error().detail;
  EXPECT_EQ(settings->nodes[1].name, "c");
  EXPECT_EQ(settings->nodes[1].origin, "sollol.toml");
}

struct MistakeCase {
  const char* name;
  const char* toml;
  const char* says;
};
class ApplyTomlMistakes : public testing::TestWithParam<MistakeCase> {};
TEST_P(ApplyTomlMistakes, NameLineKeyAndMend) {
  const auto settings = from_toml(GetParam().toml);
  ASSERT_FALSE(settings.has_value());
  EXPECT_EQ(settings.error().detail.substr(0, std::string_view(GetParam().says).size()),
            GetParam().says);
}
INSTANTIATE_TEST_SUITE_P(
    Table, ApplyTomlMistakes,
    testing::Values(
        MistakeCase{
            "misspelt", "\n[queue]\nmax_wating = 1",
            "s.toml, line 3: queue.max_wating: unknown key; did you mean queue.max_waiting?"},
        MistakeCase{"misplaced", "max_waiting = 1",
                    "s.toml, line 1: max_waiting: unknown key; did you mean queue.max_waiting?"},
        MistakeCase{"section", "[quue]\nmax_waiting = 1",
                    "s.toml, line 1: quue: unknown key; did you mean "},
        MistakeCase{"text_for_number", "\nworkers = \"4\"",
                    "s.toml, line 2: workers: expected a whole number from 0 to 1024, got \"4\""},
        MistakeCase{"fraction_for_number", "workers = 1.5",
                    "s.toml, line 1: workers: expected a whole number"},
        MistakeCase{"bool_for_text", "[log]\naccess = false",
                    "s.toml, line 2: log.access: expected text in quotes, got true or false"},
        MistakeCase{"negative_time", "[queue]\nmax_wait_s = -1",
                    "s.toml, line 2: queue.max_wait_s: expected seconds from"},
        MistakeCase{"not_a_time", "[queue]\nmax_wait_s = nan",
                    "s.toml, line 2: queue.max_wait_s: expected seconds from"},
        MistakeCase{"endless_time", "[queue]\nmax_wait_s = inf",
                    "s.toml, line 2: queue.max_wait_s: expected seconds"},
        MistakeCase{"date", "workers = 1979-05-27",
                    "s.toml, line 1: workers: expected a whole number from 0 to 1024, got a date"},
        MistakeCase{"choice", "policy = \"best\"",
                    "s.toml, line 1: policy: expected one of expected_completion, fastest,"},
        MistakeCase{"listen", "listen = \"here:there\"",
                    "s.toml, line 1: listen: \"here:there\" is no address"},
        MistakeCase{"value_for_section", "queue = 1",
                    "s.toml, line 1: queue: expected a section; write [queue]"},
        MistakeCase{"list_of_numbers", "[cors]\norigins = [1]",
                    "s.toml, line 2: cors.origins: expected a list of texts"},
        MistakeCase{"node_without_url", "[[nodes]]\nname = \"a\"",
                    "s.toml, line 1: nodes[0].url: expected text like"},
        MistakeCase{"node_url", "[[nodes]]\nurl = \"a:0\"",
                    "s.toml, line 2: nodes[0].url: node \"a:0\": port \"0\""},
        MistakeCase{"node_key", "[[nodes]]\nurl = \"a\"\nprority = 1",
                    "s.toml, line 3: nodes[0].prority: unknown key; did you mean priority?"},
        MistakeCase{"node_priority", "[[nodes]]\nurl = \"a\"\npriority = -1",
                    "s.toml, line 3: nodes[0].priority: expected a whole number from 0"},
        MistakeCase{"node_mac", "[[nodes]]\nurl = \"a\"\nmac = \"02:00\"",
                    "s.toml, line 3: nodes[0].mac: \"02:00\" is no MAC address; write aa:bb"},
        MistakeCase{"node_wake", "[[nodes]]\nurl = \"a\"\nwake = \"yes\"",
                    "s.toml, line 3: nodes[0].wake: expected true or false, got text"},
        MistakeCase{
            "node_wake_without_mac", "[[nodes]]\nurl = \"a\"\nwake = true",
            "s.toml, line 3: nodes[0]: wake: needs the address of the machine's card; give mac"},
        MistakeCase{"nodes_no_list", "nodes = 7", "s.toml, line 1: nodes: expected a list"},
        MistakeCase{"no_toml", "a = \nb", "s.toml, line 1: "}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ApplyToml, ReportsAllMistakesInTheOrderOfLines) {
  const auto settings = from_toml("workers = \"a\"\nslots = \"b\"\nlisten = 7");
  ASSERT_FALSE(settings.has_value());
  const auto& text = settings.error().detail;
  EXPECT_LT(text.find("line 1: workers"), text.find("\ns.toml, line 2: slots"));
  EXPECT_LT(text.find("line 2: slots"), text.find("\ns.toml, line 3: listen"));
}

struct ListenCase {
  const char* name;
  const char* text;
  std::optional<ListenAddress> want;
};
class ParseListen : public testing::TestWithParam<ListenCase> {};
TEST_P(ParseListen, GivesHostAndPort) {
  const auto got = parse_listen(GetParam().text);
  ASSERT_EQ(got.has_value(), GetParam().want.has_value());
  if (got) {
    EXPECT_EQ(*got, *GetParam().want);
  }
}
INSTANTIATE_TEST_SUITE_P(
    Table, ParseListen,
    testing::Values(ListenCase{"usual", "127.0.0.1:11434", ListenAddress{"127.0.0.1", 11434}},
                    ListenCase{"any_port", "127.0.0.1:0", ListenAddress{"127.0.0.1", 0}},
                    ListenCase{"port_only", ":8080", ListenAddress{"0.0.0.0", 8080}},
                    ListenCase{"everywhere", "0.0.0.0:8080", ListenAddress{"0.0.0.0", 8080}},
                    ListenCase{"everywhere_v6", "[::]:8080", ListenAddress{"::", 8080}},
                    ListenCase{"v6", "[::1]:8080", ListenAddress{"::1", 8080}},
                    ListenCase{"v6_without_port", "[::1]", ListenAddress{"::1", 11434}},
                    ListenCase{"v6_bare", "::1", ListenAddress{"::1", 11434}},
                    ListenCase{"host_only", "localhost", ListenAddress{"localhost", 11434}},
                    ListenCase{"empty", "", std::nullopt}, ListenCase{"colon", ":", std::nullopt},
                    ListenCase{"port_word", "localhost:http", std::nullopt},
                    ListenCase{"port_too_big", "localhost:70000", std::nullopt},
                    ListenCase{"url", "http://localhost:1", std::nullopt},
                    ListenCase{"path", "localhost/a", std::nullopt}),
    [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace sollol::cli

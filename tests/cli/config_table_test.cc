#include "cli/config_table.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <set>

#include "cli/config_flags.h"
#include "discovery/files.h"

namespace sollol::cli {
namespace {

/// A value of the setting's own kind that is not its default, as text and as TOML.
struct Sample {
  std::string text;
  std::string toml;
};
Sample sample(const Setting& setting) {
  Settings defaults;
  const auto field = setting.field(defaults);
  if (setting.key == "listen") return {"127.0.0.1:1", "\"127.0.0.1:1\""};
  if (!setting.choices.empty()) {
    const bool first = *std::get<std::string*>(field) != setting.choices[0];
    const auto choice = setting.choices[first ? 0 : 1];
    return {std::string(choice), fmt::format("\"{}\"", choice)};
  }
  if (std::holds_alternative<std::string*>(field)) return {"other", "\"other\""};
  if (std::holds_alternative<std::vector<std::string>*>(field)) return {"a, b", "[\"a\", \"b\"]"};
  const double other = std::min(std::max(1.0, setting.min) + 2, setting.max);  // no default
  const auto number = fmt::format("{}", other);
  return {number, number};
}

/// A sollol.toml that sets one key.
std::string toml_line(const Setting& setting, std::string_view value) {
  const auto dot = setting.key.find('.');
  if (dot == std::string_view::npos) return fmt::format("{} = {}\n", setting.key, value);
  return fmt::format("[{}]\n{} = {}\n", setting.key.substr(0, dot), setting.key.substr(dot + 1),
                     value);
}

/// What a Settings holds at a row, in comparable form.
std::string value_at(const Setting& setting, Settings settings) {
  return std::visit(
      [](const auto* value) -> std::string {
        using T = std::remove_cvref_t<decltype(*value)>;
        if constexpr (std::is_same_v<T, std::string>)
          return *value;
        else if constexpr (std::is_same_v<T, std::uint64_t>)
          return fmt::format("{}", *value);
        else if constexpr (std::is_same_v<T, Duration>)
          return fmt::format("{}", value->count());
        else
          return fmt::format("{}", fmt::join(*value, "|"));
      },
      setting.field(settings));
}

TEST(SettingsTable, GivesEachSettingOneKeyOneVariableOneFlagAndOnePlace) {
  std::set<std::string> keys, variables, flags;
  std::set<const void*> places;
  Settings settings;
  for (const auto& setting : settings_table()) {
    EXPECT_TRUE(keys.emplace(setting.key).second) << setting.key;
    EXPECT_TRUE(variables.insert(env_name(setting)).second) << setting.key;
    EXPECT_TRUE(flags.insert(flag_name(setting)).second) << setting.key;
    const auto* place = std::visit(
        [](const auto* value) { return static_cast<const void*>(value); }, setting.field(settings));
    EXPECT_TRUE(places.insert(place).second) << setting.key;
    EXPECT_TRUE(setting.help.ends_with('.')) << setting.key;
  }
}

TEST(SettingsTable, NamesVariablesAndFlagsAfterTheKey) {
  const auto* setting = find_setting("queue.max_wait_s");
  ASSERT_NE(setting, nullptr);
  EXPECT_EQ(env_name(*setting), "SOLLOL_QUEUE_MAX_WAIT_S");
  EXPECT_EQ(flag_name(*setting), "--queue-max-wait");
}

TEST(SettingsTable, AcceptsItsOwnDefaults) {
  for (const auto& setting : settings_table()) {
    Settings settings;
    const auto read = apply_toml(settings, toml_line(setting, default_text(setting)), "t");
    EXPECT_TRUE(read.has_value()) << read.error().detail;
    EXPECT_EQ(value_at(setting, settings), value_at(setting, {}));
  }
}

TEST(SettingsTable, ReadsTheSameFromTomlVariableAndFlag) {
  for (const auto& setting : settings_table()) {
    SCOPED_TRACE(setting.key);
    const auto [text, toml] = sample(setting);
    Settings from_toml;
    ASSERT_TRUE(apply_toml(from_toml, toml_line(setting, toml), "t").has_value());
    EXPECT_NE(value_at(setting, from_toml), value_at(setting, {}));

    const auto from_variable = load_settings(
        MapEnvironment({{"XDG_CONFIG_HOME", "/nonexistent"}, {env_name(setting), text}}), {});
    ASSERT_TRUE(from_variable.has_value()) << from_variable.error().detail;
    EXPECT_EQ(value_at(setting, from_variable->settings), value_at(setting, from_toml));

    CLI::App app;
    const auto flags = add_setting_flags(app);
    app.parse(
        std::vector<std::string>{text, flag_name(setting)});  // CLI11 takes the last argument first
    const auto from_flag =
        load_settings(MapEnvironment({{"XDG_CONFIG_HOME", "/nonexistent"}}), {.flags = *flags});
    ASSERT_TRUE(from_flag.has_value()) << from_flag.error().detail;
    EXPECT_EQ(value_at(setting, from_flag->settings), value_at(setting, from_toml));
  }
}

TEST(SettingsTable, KeepsDurationsToTheMicrosecond) {
  EXPECT_TRUE(rc::check([] {
    const auto micros = *rc::gen::inRange<std::int64_t>(1000, 1'000'000'000);
    Settings settings;
    const auto& setting = *find_setting("queue.max_wait_s");
    RC_ASSERT(set_text(settings, setting, fmt::format("{:.6f}", static_cast<double>(micros) / 1e6))
                  .has_value());
    RC_ASSERT(std::chrono::abs(settings.queue.max_wait - std::chrono::microseconds(micros)) < 1us);
  }));
}

TEST(SettingsTable, RefusesOrKeepsAnyText) {
  EXPECT_TRUE(rc::check([](const std::string& text) {
    for (const auto& setting : settings_table()) {
      Settings settings;
      if (!set_text(settings, setting, text))
        RC_ASSERT(value_at(setting, settings) == value_at(setting, {}));
    }
  }));
}

TEST(SettingsHelp, ShowsEveryFlagWithItsDefault) {
  CLI::App app;
  const auto flags = add_setting_flags(app);
  const auto help = app.help();
  for (const auto& setting : settings_table()) {
    EXPECT_NE(help.find(flag_name(setting)), std::string::npos) << setting.key;
  }
  EXPECT_NE(help.find("127.0.0.1:11434"), std::string::npos);
}

TEST(ConfigurationPage, HoldsTheTableAsItIs) {
  const auto page = discovery::read_file(SOLLOL_DOCS "/configuration.md");
  ASSERT_TRUE(page.has_value()) << page.error().detail;
  EXPECT_NE(page->find(settings_markdown()), std::string::npos)
      << "docs/configuration.md must hold this table:\n"
      << settings_markdown();
}

}  // namespace
}  // namespace sollol::cli

#include "cli/config_flags.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "cli/config_table.h"

namespace sollol::cli {
namespace {

/// What stands for the value in --help.
std::string value_name(const Setting& setting) {
  Settings defaults;
  const auto field = setting.field(defaults);
  if (!setting.choices.empty()) return "NAME";
  if (std::holds_alternative<std::uint64_t*>(field)) return "N";
  if (std::holds_alternative<Duration*>(field)) return "SECONDS";
  if (std::holds_alternative<std::vector<std::string>*>(field)) return "A,B,...";
  return "TEXT";
}

std::string group_of(const Setting& setting) {
  const auto dot = setting.key.find('.');
  return dot == std::string_view::npos ? "Settings"
                                       : fmt::format("Settings: {}", setting.key.substr(0, dot));
}

}  // namespace

std::shared_ptr<const FlagValues> add_setting_flags(CLI::App& app) {
  auto values = std::make_shared<FlagValues>();
  for (const auto& setting : settings_table()) {
    const auto keep = [values, key = std::string(setting.key)](const std::string& text) {
      (*values)[key] = text;
    };
    app.add_option_function<std::string>(flag_name(setting), keep, full_help(setting))
        ->type_name(value_name(setting))
        ->default_str(default_text(setting))
        ->group(group_of(setting));
  }
  return values;
}

}  // namespace sollol::cli

#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "cli/config.h"

namespace sollol::cli {

/// The place of one setting inside a Settings; its type says what values it takes.
using Field = std::variant<std::string*, std::uint64_t*, Duration*, std::vector<std::string>*>;

/// One setting. The row gives the key in sollol.toml, the variable, the flag, the default, the help
/// and the docs.
struct Setting {
  std::string_view key;  // "queue.max_waiting"
  Field (*field)(Settings&);
  std::string_view help;  // one sentence, for --help and the docs
  double min = 0;         // of a number; seconds for a duration
  double max = 1e12;
  std::vector<std::string_view> choices = {};  // of a text; empty: any
};

/// Every setting but [[nodes]], in the order of the documentation.
std::span<const Setting> settings_table();

std::string env_name(const Setting& setting);      // "SOLLOL_QUEUE_MAX_WAITING"
std::string flag_name(const Setting& setting);     // "--queue-max-waiting"
std::string default_text(const Setting& setting);  // as it is written in sollol.toml
/// Whether the setting is on or off; true and false are taken for those.
bool is_switch(const Setting& setting);
std::string full_help(const Setting& setting);      // help, and the choices where there are some
std::string expected_text(const Setting& setting);  // "a whole number from 1 to 1024"

/// A value as sollol.toml's types have it.
using Value = std::variant<std::string, std::int64_t, double, std::vector<std::string>>;

/// Sets one setting. Error: bad_input, saying what is expected, without key or place.
Result<void> set_value(Settings& settings, const Setting& setting, const Value& value);

/// The same from the text of a flag or variable; lists are separated by commas.
Result<void> set_text(Settings& settings, const Setting& setting, std::string_view text);

/// The row of a key, or null.
const Setting* find_setting(std::string_view key);

/// The one of `known` that `key` was most likely meant to be.
std::string nearest_key(std::string_view key, std::span<const std::string_view> known);

/// The table of docs/configuration.md.
std::string settings_markdown();

}  // namespace sollol::cli

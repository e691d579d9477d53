#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "discovery/node_spec.h"

namespace sollol::discovery {

/// One setting of sollol.toml that another program's file also had.
struct ImportedSetting {
  std::string key;  // "limits.head_bytes"
  std::variant<std::int64_t, double, std::string> value;
};

/// What another gateway's configuration comes to in SOLLOL's words.
struct Imported {
  std::string format;                     // "olla", "litellm" or "llama-swap"
  std::vector<NodeSpec> nodes;            // each address once, in the file's order, names unique
  std::vector<ImportedSetting> settings;  // each key once
  std::vector<std::string>
      left_out;  // "line 12: proxy.engine: why" for each thing that does not map
};

/// Reads the YAML of Olla, LiteLLM or llama-swap; which of them it is shows in the keys, not in the
/// file's name.
///
/// Priorities are turned round where the other program prefers higher numbers. `filename` is for
/// messages only. Error: bad_input naming the line when it is no YAML, or the three formats when it
/// is none of them.
Result<Imported> import_settings(std::string_view text, std::string_view filename);

/// The text of a sollol.toml that says the same. `source` is named in its first line.
std::string to_toml(const Imported& imported, std::string_view source);

}  // namespace sollol::discovery

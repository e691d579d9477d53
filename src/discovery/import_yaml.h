#pragma once

#include <yaml-cpp/yaml.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "discovery/import.h"

namespace sollol::discovery {

/// What the three importers share: notes with line numbers, settings, and nodes that are met more
/// than once.
class ImportDraft {
 public:
  explicit ImportDraft(std::string format) { result_.format = std::move(format); }

  void leave_out(const YAML::Node& where, std::string_view key, std::string_view why);

  /// The first value of a key stays.
  void set(std::string key, std::variant<std::int64_t, double, std::string> value);

  /// Adds a node; of two with one address the more preferred rank stays. Lower ranks are preferred.
  void add(const YAML::Node& where, std::string_view key, NodeSpec node, std::int64_t rank);

  /// Ranks become priorities: the most preferred is 0, the next 1, whatever numbers the file used.
  Imported finish() &&;

 private:
  Imported result_;
  std::vector<std::int64_t> ranks_;  // of result_.nodes
};

/// Whether a node is there and a map, or a list; yaml-cpp throws when a missing one is asked.
inline bool is_map(const YAML::Node& node) { return node && node.IsMap(); }
inline bool is_list(const YAML::Node& node) { return node && node.IsSequence(); }

/// The scalar at `node`, or nothing where it is missing or no scalar.
std::optional<std::string> scalar(const YAML::Node& node);

/// A whole number, or nothing.
std::optional<std::int64_t> whole_number(const YAML::Node& node);

/// Seconds of a Go duration (`500ms`, `1m30s`) or of a plain number of seconds; nothing for
/// anything else.
std::optional<double> seconds(const YAML::Node& node);

/// Leaves out every member of the map `section` that `handled` does not name, with one reason.
void leave_out_others(ImportDraft& draft, const YAML::Node& section, std::string_view prefix,
                      const std::vector<std::string_view>& handled, std::string_view why);

Imported import_olla(const YAML::Node& root);
Imported import_litellm(const YAML::Node& root);
Imported import_llama_swap(const YAML::Node& root);

}  // namespace sollol::discovery

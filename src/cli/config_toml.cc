#include <fmt/format.h>
#include <toml++/toml.h>

#include <algorithm>
#include <limits>

#include "cli/config.h"
#include "cli/config_table.h"
#include "net/wake.h"

namespace sollol::cli {
namespace {

constexpr std::string_view node_keys[] = {"url",  "name",   "priority", "slots",
                                          "host", "device", "mac",      "wake"};

/// Collects mistakes with their lines; toml++ keeps tables sorted by key, people read by line.
class Mistakes {
 public:
  explicit Mistakes(std::string_view path) : path_(path) {}

  void add(const toml::source_region& where, std::string_view key, std::string_view what) {
    mistakes_.emplace_back(where.begin.line,
                           fmt::format("{}, line {}: {}: {}", path_, where.begin.line, key, what));
  }

  void add_unknown(const toml::source_region& where, std::string_view key,
                   std::span<const std::string_view> known) {
    add(where, key, fmt::format("unknown key; did you mean {}?", nearest_key(key, known)));
  }

  Result<void> result() && {
    if (mistakes_.empty()) return {};
    std::ranges::sort(mistakes_);
    std::string text;
    for (const auto& [line, mistake] : mistakes_) text += (text.empty() ? "" : "\n") + mistake;
    return std::unexpected(bad_input(std::move(text)));
  }

 private:
  std::string_view path_;
  std::vector<std::pair<std::uint32_t, std::string>> mistakes_;
};

std::string_view kind_of(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::string:
      return "text";
    case toml::node_type::boolean:
      return "true or false";
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "a list of other things";
    default:
      return "a date or time";
  }
}

/// The value of a node when a setting can have one of its type.
std::optional<Value> to_value(const toml::node& node) {
  if (const auto* text = node.as_string()) return Value(text->get());
  if (const auto* whole = node.as_integer()) return Value(whole->get());
  if (const auto* number = node.as_floating_point()) return Value(number->get());
  const auto* array = node.as_array();
  if (array == nullptr) return std::nullopt;
  std::vector<std::string> list;
  for (const auto& item : *array) {
    if (!item.is_string()) return std::nullopt;
    list.push_back(item.as_string()->get());
  }
  return Value(std::move(list));
}

bool is_section(std::string_view path) {
  const auto inside = [path](const Setting& setting) {
    return setting.key.starts_with(path) && setting.key.substr(path.size()).starts_with('.');
  };
  return std::ranges::any_of(settings_table(), inside);
}

void read_setting(Settings& settings, const Setting& setting, const toml::node& node,
                  Mistakes& mistakes) {
  auto value = to_value(node);
  if (const auto* flag = node.as_boolean(); flag != nullptr && is_switch(setting))
    value = std::string(flag->get() ? "on" : "off");
  if (!value) {
    mistakes.add(node.source(), setting.key,
                 fmt::format("expected {}, got {}", expected_text(setting), kind_of(node)));
    return;
  }
  const auto set = set_value(settings, setting, *value);
  if (!set) mistakes.add(node.source(), setting.key, set.error().detail);
}

/// A whole number of a [[nodes]] entry, 0 when it is missing or wrong.
std::uint32_t read_count(const toml::table& entry, std::string_view field, std::string_view key,
                         Mistakes& mistakes) {
  const auto* node = entry.get(field);
  if (node == nullptr) return 0;
  const auto* whole = node->as_integer();
  if (whole != nullptr && whole->get() >= 0 &&
      whole->get() <= std::numeric_limits<std::uint32_t>::max()) {
    return static_cast<std::uint32_t>(whole->get());
  }
  mistakes.add(node->source(), fmt::format("{}.{}", key, field), "expected a whole number from 0");
  return 0;
}

/// A word of a [[nodes]] entry about the node, when there is one.
void read_label(const toml::table& entry, std::string_view field, std::string_view key,
                std::string& into, Mistakes& mistakes) {
  const auto* node = entry.get(field);
  if (node == nullptr) return;
  auto label = discovery::parse_node_label(node->value_or(std::string_view{}), field);
  if (label)
    into = *std::move(label);
  else
    mistakes.add(node->source(), fmt::format("{}.{}", key, field), label.error().detail);
}

/// How the node's machine is woken.
void read_wake(const toml::table& entry, std::string_view key, discovery::NodeSpec& spec,
               Mistakes& mistakes) {
  if (const auto* node = entry.get("mac")) {
    auto mac = net::parse_mac(node->value_or(std::string_view{}));
    if (!mac) return mistakes.add(node->source(), fmt::format("{}.mac", key), mac.error().detail);
    spec.mac = *std::move(mac);
  }
  const auto* wake = entry.get("wake");
  if (wake == nullptr) return;
  if (!wake->is_boolean()) {
    return mistakes.add(wake->source(), fmt::format("{}.wake", key),
                        fmt::format("expected true or false, got {}", kind_of(*wake)));
  }
  spec.wake = wake->value_or(false);
  const auto checked = discovery::check_wake(spec);
  if (!checked) mistakes.add(wake->source(), key, checked.error().detail);
}

void read_node_table(Settings& settings, const toml::table& entry, std::string_view key,
                     Mistakes& mistakes) {
  for (const auto& [name, node] : entry) {
    if (std::ranges::find(node_keys, name.str()) == std::end(node_keys)) {
      mistakes.add_unknown(node.source(), fmt::format("{}.{}", key, name.str()), node_keys);
    }
  }
  const auto* url = entry.get("url");
  if (url == nullptr || !url->is_string()) {
    mistakes.add(url == nullptr ? entry.source() : url->source(), fmt::format("{}.url", key),
                 "expected text like \"http://host:11434\"");
    return;
  }
  auto spec = discovery::parse_node_url(url->as_string()->get());
  if (!spec) return mistakes.add(url->source(), fmt::format("{}.url", key), spec.error().detail);
  if (const auto* name = entry.get("name")) {
    const auto valid = discovery::parse_node_name(name->value_or(std::string_view{}));
    if (valid)
      spec->name = *valid;
    else
      mistakes.add(name->source(), fmt::format("{}.name", key), valid.error().detail);
  }
  spec->priority = read_count(entry, "priority", key, mistakes);
  if (const auto slots = read_count(entry, "slots", key, mistakes); slots > 0) spec->slots = slots;
  read_label(entry, "host", key, spec->physical_host, mistakes);
  read_label(entry, "device", key, spec->device, mistakes);
  read_wake(entry, key, *spec, mistakes);
  spec->origin = "sollol.toml";
  settings.nodes.push_back(*std::move(spec));
}

void read_nodes(Settings& settings, const toml::node& node, Mistakes& mistakes) {
  const auto* list = node.as_array();
  if (list == nullptr) {
    mistakes.add(node.source(), "nodes", "expected a list; start each node with a line [[nodes]]");
    return;
  }
  settings.nodes.clear();
  for (std::size_t i = 0; i < list->size(); ++i) {
    const auto& entry = *list->get(i);
    const auto key = fmt::format("nodes[{}]", i);
    if (const auto* table = entry.as_table()) {
      read_node_table(settings, *table, key, mistakes);
    } else if (const auto* text = entry.as_string()) {
      auto spec = discovery::parse_node_flag(text->get());
      if (spec)
        settings.nodes.push_back(*std::move(spec));
      else
        mistakes.add(entry.source(), key, spec.error().detail);
      if (spec) settings.nodes.back().origin = "sollol.toml";
    } else {
      mistakes.add(entry.source(), key,
                   "expected a table with url, name, priority, slots, host, device, mac, wake");
    }
  }
}

void read_table(Settings& settings, const toml::table& table, const std::string& prefix,
                Mistakes& mistakes) {
  static const std::vector<std::string_view> known = [] {
    std::vector<std::string_view> keys = {"nodes"};
    for (const auto& setting : settings_table()) keys.push_back(setting.key);
    return keys;
  }();
  for (const auto& [name, node] : table) {
    const auto key = prefix + std::string(name.str());
    if (key == "nodes")
      read_nodes(settings, node, mistakes);
    else if (const auto* setting = find_setting(key))
      read_setting(settings, *setting, node, mistakes);
    else if (!is_section(key))
      mistakes.add_unknown(name.source(), key, known);
    else if (node.is_table())
      read_table(settings, *node.as_table(), key + ".", mistakes);
    else
      mistakes.add(node.source(), key,
                   fmt::format("expected a section; write [{}] on a line of its own", key));
  }
}

}  // namespace

Result<void> apply_toml(Settings& settings, std::string_view text, std::string_view path) {
  try {
    Mistakes mistakes(path);
    read_table(settings, toml::parse(text), "", mistakes);
    return std::move(mistakes).result();
  } catch (const toml::parse_error& failure) {
    return std::unexpected(bad_input(
        fmt::format("{}, line {}: {}", path, failure.source().begin.line, failure.description())));
  }
}

}  // namespace sollol::cli

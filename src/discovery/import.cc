#include "discovery/import.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/serialize.hpp>
#include <set>

#include "discovery/import_yaml.h"

namespace sollol::discovery {
namespace {

/// A TOML basic string; JSON's escapes are a part of TOML's, but for DEL, which TOML wants escaped.
std::string toml_text(std::string_view text) {
  auto quoted = boost::json::serialize(boost::json::string(text));
  for (auto at = quoted.find('\x7f'); at != std::string::npos; at = quoted.find('\x7f'))
    quoted.replace(at, 1, "\\u007F");
  return quoted;
}

std::string toml_value(const ImportedSetting& setting) {
  if (const auto* text = std::get_if<std::string>(&setting.value)) return toml_text(*text);
  if (const auto* whole = std::get_if<std::int64_t>(&setting.value))
    return fmt::format("{}", *whole);
  return fmt::format("{}", std::get<double>(setting.value));
}

std::string section_of(const ImportedSetting& setting) {
  const auto dot = setting.key.rfind('.');
  return dot == std::string::npos ? "" : setting.key.substr(0, dot);
}

bool has(const YAML::Node& map, const char* key) { return is_map(map) && map[key]; }

/// llama-swap's models are a map of maps that say how to start and reach each one.
bool looks_like_llama_swap(const YAML::Node& root) {
  if (has(root, "peers") && is_map(root["peers"])) return true;
  if (!has(root, "models") || !is_map(root["models"])) return false;
  return std::ranges::any_of(root["models"], [](const auto& model) {
    return has(model.second, "cmd") || has(model.second, "proxy");
  });
}

bool looks_like_olla(const YAML::Node& root) {
  const bool endpoints = has(root, "discovery") && has(root["discovery"], "static");
  return endpoints || (has(root, "proxy") && has(root["proxy"], "load_balancer"));
}

}  // namespace

Result<Imported> import_settings(std::string_view text, std::string_view filename) {
  try {
    const auto root = YAML::Load(std::string(text));
    if (has(root, "model_list")) return import_litellm(root);
    if (looks_like_olla(root)) return import_olla(root);
    if (looks_like_llama_swap(root)) return import_llama_swap(root);
  } catch (const YAML::Exception& failure) {
    return std::unexpected(
        bad_input(fmt::format("{}, line {}: {}", filename, failure.mark.line + 1, failure.msg)));
  }
  return std::unexpected(
      bad_input(fmt::format("{} is none of the known formats: Olla has discovery.static.endpoints, "
                            "LiteLLM has model_list, "
                            "llama-swap has models with cmd or proxy, or peers",
                            filename)));
}

std::string to_toml(const Imported& imported, std::string_view source) {
  std::string name(source);
  std::ranges::replace_if(name, [](unsigned char c) { return c < ' ' || c == 0x7f; }, '?');
  auto text =
      fmt::format("# Made from {} by `sollol import` ({} format).\n", name, imported.format);
  std::set<std::string> sections;
  for (const auto& setting : imported.settings) sections.insert(section_of(setting));
  for (const auto& section : sections) {  // the empty one, of the keys at the top, sorts first
    text += section.empty() ? "\n" : fmt::format("\n[{}]\n", section);
    for (const auto& setting : imported.settings) {
      if (section_of(setting) != section) continue;
      const auto key = section.empty() ? setting.key : setting.key.substr(section.size() + 1);
      text += fmt::format("{} = {}\n", key, toml_value(setting));
    }
  }
  for (const auto& node : imported.nodes) {
    text += fmt::format("\n[[nodes]]\nurl = {}\nname = {}\npriority = {}\n", toml_text(node.url),
                        toml_text(node.name), node.priority);
    if (node.slots) text += fmt::format("slots = {}\n", *node.slots);
  }
  return text;
}

}  // namespace sollol::discovery

#include <fmt/format.h>

#include "discovery/import_yaml.h"
#include "discovery/text.h"

namespace sollol::discovery {
namespace {

using Macros = std::map<std::string, std::string>;

Macros read_macros(const YAML::Node& section, Macros macros) {
  if (!is_map(section)) return macros;
  for (const auto& macro : section) {
    if (const auto value = scalar(macro.second)) macros[scalar(macro.first).value_or("")] = *value;
  }
  return macros;
}

/// The text with `${name}` replaced once each; those of llama-swap's own making, like `${PORT}`,
/// stay.
std::string expand(std::string text, const Macros& macros) {
  for (const auto& [name, value] : macros) {
    const auto mark = fmt::format("${{{}}}", name);
    for (auto at = text.find(mark); at != std::string::npos;
         at = text.find(mark, at + value.size())) {
      text.replace(at, mark.size(), value);
    }
  }
  return text;
}

void add_node(ImportDraft& draft, const YAML::Node& where, std::string_view key,
              std::string_view name, const std::string& url) {
  if (url.find("${") != std::string::npos) {
    return draft.leave_out(
        where, key, "llama-swap starts it on a port of its choice; SOLLOL starts no servers");
  }
  auto node = parse_node_url(url, MissingPort::web);
  if (!node) return draft.leave_out(where, key, node.error().detail);
  if (const auto valid = parse_node_name(name)) node->name = *valid;
  draft.add(where, key, *std::move(node), 0);
}

void import_model(ImportDraft& draft, const std::string& name, const YAML::Node& model,
                  const Macros& global) {
  const auto key = fmt::format("models.{}", name);
  if (!is_map(model)) return draft.leave_out(model, key, "it is not a map");
  const auto macros = read_macros(model["macros"], global);
  add_node(draft, model, key, name,
           expand(scalar(model["proxy"]).value_or("http://localhost:${PORT}"), macros));
  if (model["proxy"]) {
    leave_out_others(draft, model, key, {"proxy", "macros"},
                     "SOLLOL starts no servers; its nodes manage their models");
  }
}

void import_peer(ImportDraft& draft, const std::string& name, const YAML::Node& peer,
                 const Macros& macros) {
  const auto key = fmt::format("peers.{}", name);
  const auto proxy = is_map(peer) ? scalar(peer["proxy"]) : std::nullopt;
  if (!proxy) return draft.leave_out(peer, key, "it has no proxy");
  if (scalar(peer["apiKey"]).value_or("") != "")
    return draft.leave_out(peer, key, "it wants a key; SOLLOL sends none");
  add_node(draft, peer, key, name, expand(*proxy, macros));
  leave_out_others(draft, peer, key, {"proxy", "models", "apiKey"}, "SOLLOL has no such setting");
}

}  // namespace

Imported import_llama_swap(const YAML::Node& root) {
  ImportDraft draft("llama-swap");
  const auto macros = read_macros(root["macros"], {});
  const YAML::Node models = root["models"];
  if (is_map(models)) {
    for (const auto& model : models)
      import_model(draft, scalar(model.first).value_or("?"), model.second, macros);
  }
  const YAML::Node peers = root["peers"];
  if (is_map(peers)) {
    for (const auto& peer : peers)
      import_peer(draft, scalar(peer.first).value_or("?"), peer.second, macros);
  }
  if (const auto level = scalar(root["logLevel"])) {
    if (*level == "debug" || *level == "info" || *level == "warn" || *level == "error")
      draft.set("log.level", *level);
    else
      draft.leave_out(root["logLevel"], "logLevel", "unknown to SOLLOL; info stays");
  }
  leave_out_others(draft, root, "", {"models", "peers", "macros", "logLevel"},
                   "SOLLOL has no such setting");
  auto imported = std::move(draft).finish();
  if (!imported.nodes.empty()) {
    imported.left_out.push_back(
        "note: llama-swap's upstreams may be other servers; SOLLOL's nodes must speak Ollama's "
        "API");
  }
  return imported;
}

}  // namespace sollol::discovery

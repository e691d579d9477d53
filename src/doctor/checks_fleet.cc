// Checks that compare the nodes with each other: versions, contexts, models, clocks.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <map>

#include "doctor/checks.h"
#include "doctor/words.h"

namespace sollol::doctor {

namespace {

/// Compares "0.9.2" and "0.10.0" number by number.
bool older(const std::string& a, const std::string& b) {
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    unsigned long x = 0, y = 0;
    for (; i < a.size() && std::isdigit(static_cast<unsigned char>(a[i])); ++i)
      x = x * 10 + static_cast<unsigned long>(a[i] - '0');
    for (; j < b.size() && std::isdigit(static_cast<unsigned char>(b[j])); ++j)
      y = y * 10 + static_cast<unsigned long>(b[j] - '0');
    if (x != y) return x < y;
    if (i < a.size()) ++i;
    if (j < b.size()) ++j;
  }
  return i == a.size() && j < b.size();
}

/// `OLLAMA_HOST=…` in front of a command that is to reach this node.
std::string at_node(const NodeFact& node) { return "OLLAMA_HOST=" + node.url; }

/// "x at a, b; y at c".
template <class Value>
std::string grouped(const std::map<Value, std::vector<std::string>>& by_value) {
  std::string text;
  for (const auto& [value, names] : by_value)
    text += fmt::format("{}{} at {}", text.empty() ? "" : "; ", value, listed(names));
  return text;
}

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// One model that the nodes do not agree about: the copies that are not the newest are pulled
/// again.
Finding different_digests(const Facts& facts, const std::string& key) {
  std::map<std::string, std::vector<std::string>> by_digest;
  std::string newest, newest_digest;
  for (const NodeFact& node : facts.nodes) {
    for (const ModelFact& model : node.models) {
      if (model.key != key || model.digest.empty() || model.remote) continue;
      by_digest[model.digest.substr(0, 12)].push_back(node.name);
      // RFC 3339 in one zone orders as text; in several it may pick another copy, which is no
      // worse: what matters is that all have the same.
      if (newest.empty() || model.modified_at > newest) {
        newest = model.modified_at;
        newest_digest = model.digest;
      }
    }
  }
  Finding finding{"models",
                  Level::warn,
                  fmt::format("{} is not the same everywhere: {}", shown(key), grouped(by_digest)),
                  {}};
  std::string commands;
  for (const NodeFact& node : facts.nodes) {
    for (const ModelFact& model : node.models) {
      if (model.key == key && !model.remote && model.digest != newest_digest)
        commands += fmt::format("{}`{} ollama pull {}`", commands.empty() ? "" : ", ",
                                at_node(node), shown(key));
    }
  }
  finding.mends.push_back(commands);
  return finding;
}

}  // namespace

Findings check_versions(const Facts& facts) {
  std::map<std::string, std::vector<std::string>> by_version;
  for (const NodeFact& node : facts.nodes)
    if (!node.version.empty()) by_version[node.version].push_back(node.name);
  if (by_version.empty()) return {{"versions", Level::ok, "no node told its version", {}}};
  if (by_version.size() == 1) {
    return {{"versions",
             Level::ok,
             fmt::format("all nodes run Ollama {}", by_version.begin()->first),
             {}}};
  }
  std::string newest;
  for (const auto& [version, names] : by_version)
    if (newest.empty() || older(newest, version)) newest = version;
  std::vector<std::string> behind;
  for (const auto& [version, names] : by_version)
    if (version != newest) behind.insert(behind.end(), names.begin(), names.end());
  return {{"versions",
           Level::warn,
           fmt::format("the nodes run different versions of Ollama: {}", grouped(by_version)),
           {fmt::format("update {} to {}: `curl -fsSL https://ollama.com/install.sh | "
                        "OLLAMA_VERSION={} sh` there",
                        listed(behind), newest, newest)}}};
}

Findings check_contexts(const Facts& facts) {
  std::map<std::string, std::map<std::uint32_t, std::vector<std::string>>> by_model;
  for (const NodeFact& node : facts.nodes) {
    for (const LoadedFact& loaded : node.loaded) {
      if (loaded.context_length > 0)
        by_model[loaded.key][loaded.context_length].push_back(node.name);
    }
  }
  Findings out;
  bool compared = false;
  for (const auto& [key, by_context] : by_model) {
    std::size_t copies = 0;
    for (const auto& [context, names] : by_context) copies += names.size();
    compared = compared || copies > 1;
    if (by_context.size() < 2) continue;
    const auto most = std::ranges::max_element(
        by_context, {}, [](const auto& entry) { return entry.second.size(); });
    out.push_back({"contexts",
                   Level::warn,
                   fmt::format("{} is loaded with different contexts, so that one prompt is cut at "
                               "one node and not at another: {}",
                               shown(key), grouped(by_context)),
                   {fmt::format("set the same default on all nodes: `sudo systemctl edit ollama`, "
                                "`Environment=\"OLLAMA_CONTEXT_LENGTH={}\"`, restart it; or let "
                                "clients send `num_ctx`",
                                most->first)}});
  }
  if (!out.empty()) return out;
  return {{"contexts",
           Level::ok,
           compared ? "models that are loaded at several nodes have the same context everywhere"
                    : "no model is loaded at two nodes: a node shows its context only then",
           {}}};
}

Findings check_thrashing(const Facts& facts) {
  Findings out;
  for (const std::string& text : facts.gateway.thrashing) {
    const std::size_t end = text.find(". ");  // then comes the mend
    out.push_back({"thrashing",
                   Level::warn,
                   text.substr(0, end),
                   {end == std::string::npos ? "see Contexts in docs/configuration.md"
                                             : text.substr(end + 2)}});
  }
  if (!out.empty()) return out;
  const bool known = facts.gateway.state == GatewayFact::State::answers;
  return {{"thrashing",
           known ? Level::ok : Level::note,
           known ? "no loads of models undo each other"
                 : "only a running gateway counts which loads undo each other",
           {}}};
}

Findings check_models(const Facts& facts) {
  std::map<std::string, std::pair<std::string, bool>> digests;  // key: the first digest, others?
  for (const NodeFact& node : facts.nodes) {
    for (const ModelFact& model : node.models) {
      if (model.remote || model.digest.empty()) continue;
      const auto [entry, fresh] = digests.try_emplace(model.key, model.digest, false);
      if (!fresh && entry->second.first != model.digest) entry->second.second = true;
    }
  }
  Findings out;
  for (const auto& [key, seen] : digests)
    if (seen.second) out.push_back(different_digests(facts, key));
  if (!out.empty()) return out;
  return {{"models",
           Level::ok,
           fmt::format("{}, and each is the same wherever it is", counted(digests.size(), "model")),
           {}}};
}

Findings check_clock(const Facts& facts, const Rules& rules) {
  std::vector<const NodeFact*> off;
  std::size_t told = 0;
  bool all_ahead = true, all_behind = true;
  for (const NodeFact& node : facts.nodes) {
    if (!node.clock_ahead || node.on_this_machine) continue;
    ++told;
    const bool apart = std::abs(seconds(*node.clock_ahead)) > seconds(rules.clock_apart);
    if (apart) off.push_back(&node);
    all_ahead = all_ahead && apart && node.clock_ahead->count() > 0;
    all_behind = all_behind && apart && node.clock_ahead->count() < 0;
  }
  if (off.empty()) {
    return {{"clock",
             Level::ok,
             told == 0 ? "no other machine tells its time"
                       : fmt::format("{} within {:.0f} s of this machine's",
                                     told == 1 ? "the clock of 1 node is"
                                               : fmt::format("the clocks of {} nodes are", told),
                                     seconds(rules.clock_apart)),
             {}}};
  }
  if (told > 1 && (all_ahead || all_behind)) {
    return {{"clock",
             Level::warn,
             fmt::format("this machine's clock is {:.0f} s {} those of all {} nodes",
                         std::abs(seconds(*off.front()->clock_ahead)),
                         all_ahead ? "behind" : "ahead of", told),
             {"here: `sudo timedatectl set-ntp true`"}}};
  }
  Findings out;
  for (const NodeFact* node : off) {
    const double ahead = seconds(*node->clock_ahead);
    out.push_back({"clock",
                   Level::warn,
                   fmt::format("the clock of {} is {:.0f} s {} this machine's: logs and times of "
                               "expiry do not fit together",
                               node->name, std::abs(ahead), ahead > 0 ? "ahead of" : "behind"),
                   {fmt::format("at {}: `sudo timedatectl set-ntp true`", node->name)}});
  }
  return out;
}

}  // namespace sollol::doctor

// Checks of working in parallel: where it is not done and could be, where it is and gains nothing.
#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "doctor/checks.h"
#include "doctor/words.h"

namespace sollol::doctor {

namespace {

/// Programs that pass connections on to other machines.
constexpr std::array<std::string_view, 6> tunnels = {"ssh",     "autossh", "socat",
                                                     "kubectl", "sshd",    "cloudflared"};

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

const NodeFact* find(const Facts& facts, const std::string& name) {
  const auto found = std::ranges::find(facts.nodes, name, &NodeFact::name);
  return found == facts.nodes.end() ? nullptr : &*found;
}

/// A GPU that holds less of a model than this share does nothing for it.
constexpr double gpu_share_min = 0.1;

bool runs_on_cpu(const LoadedFact& loaded) {
  return loaded.sizes_known && loaded.size_bytes > 0 &&
         static_cast<double>(loaded.vram_bytes) <
             gpu_share_min * static_cast<double>(loaded.size_bytes);
}

bool at_loopback(const NodeFact& node) {
  return !node.addresses.empty() && is_loopback(node.addresses.front().ip);
}

std::set<std::string> digests_of(const NodeFact& node) {
  std::set<std::string> digests;
  for (const ModelFact& model : node.models) digests.insert(model.digest);
  return digests;
}

/// Why a node at localhost seems to be on another machine; empty: it does not.
std::string sign_of_tunnel(const NodeFact& node, const NodeFact& other) {
  if (std::ranges::find(tunnels, node.process) != tunnels.end())
    return fmt::format("{} listens there, which passes connections on", node.process);
  if (!node.version.empty() && !other.version.empty() && node.version != other.version)
    return fmt::format("it runs Ollama {}, and {} runs {}", node.version, other.name,
                       other.version);
  if (!node.models.empty() && !other.models.empty() && digests_of(node) != digests_of(other))
    return fmt::format("it has other models than {}", other.name);
  return {};
}

/// Machines that hide behind localhost: ends of tunnels with a port each.
void tell_localhost(const Facts& facts, Findings& out) {
  for (const NodeFact& node : facts.nodes) {
    if (!at_loopback(node)) continue;
    for (const NodeFact& other : facts.nodes) {
      if (&other == &node || !other.on_this_machine) continue;
      const std::string sign = sign_of_tunnel(node, other);
      if (sign.empty()) continue;
      out.push_back(
          {"parallel",
           Level::warn,
           fmt::format("{} ({}) is named by localhost and so counted as this machine, but {}",
                       node.name, node.url, sign),
           {fmt::format("name it by its machine's own address; if a tunnel leads there, say so: "
                        "`--node {},host=NAME` with a NAME for each machine",
                        node.url)}});
      break;
    }
  }
}

/// The operator's word puts together what stands at different addresses.
void tell_operator(const Facts& facts, Findings& out) {
  for (const SharedFact& shared : facts.locality.evidence) {
    if (shared.kind != "operator_host" || !shared.joins) continue;
    const NodeFact* a = find(facts, shared.a);
    const NodeFact* b = find(facts, shared.b);
    if (a == nullptr || b == nullptr || a->addresses.empty() || b->addresses.empty()) continue;
    if (a->addresses.front().ip == b->addresses.front().ip) continue;
    if (a->on_this_machine && b->on_this_machine) continue;
    out.push_back({"parallel",
                   Level::warn,
                   fmt::format("{} ({}) and {} ({}) are at different addresses and counted as one "
                               "machine, since the configuration says so: {}",
                               a->name, a->url, b->name, b->url, shared.text),
                   {fmt::format("if they are two machines, give each a `host` of its own, or none "
                                "(`host` in {})",
                                a->origin.empty() ? "the node file or [[nodes]]" : a->origin)}});
  }
}

/// A machine whose nodes are not known to have a device each.
void note_shared(const Facts& facts, Findings& out) {
  for (const MachineFact& machine : facts.locality.machines) {
    if (machine.nodes.size() < 2 || machine.independent >= machine.nodes.size()) continue;
    Finding finding{"speed",
                    Level::note,
                    fmt::format("{} share one machine ({}): two at once are no faster than one "
                                "after the other, unless each has a GPU of its own",
                                listed(machine.nodes), machine.id),
                    {}};
    std::size_t on_cpu = 0;
    for (const std::string& name : machine.nodes) {
      const NodeFact* node = find(facts, name);
      on_cpu += node != nullptr && std::ranges::any_of(node->loaded, runs_on_cpu);
    }
    if (on_cpu >= 2) {
      finding.level = Level::warn;
      finding.text = fmt::format(
          "{} compute on the CPU of one machine ({}) and share its memory "
          "bus: they slow each other",
          listed(machine.nodes), machine.id);
      finding.mends = {
          fmt::format("keep one of them: `sollol nodes remove {}`", machine.nodes.back())};
    } else {
      finding.mends = {
          "with a GPU for each: `sollol multi-gpu`, or `device=` in `--node`; to find "
          "out: `sollol nodes measure`"};
    }
    out.push_back(std::move(finding));
  }
  for (const SharedFact& shared : facts.locality.evidence) {
    if (shared.kind != "contention" || !shared.joins) continue;
    out.push_back(
        {"speed", Level::note, fmt::format("{} and {}: {}", shared.a, shared.b, shared.text), {}});
  }
}

void tell_way(const Facts& facts, const Rules& rules, Findings& out) {
  for (const NodeFact& node : facts.nodes) {
    if (node.round_trip > rules.far) {
      out.push_back({"speed",
                     Level::warn,
                     fmt::format("{} is {:.0f} ms away: short prompts are slower there than at a "
                                 "near node",
                                 node.name, seconds(node.round_trip) * 1000),
                     {fmt::format("a cable in place of Wi-Fi or VPN; or use it last: `--node "
                                  "{},priority=1`",
                                  node.url)}});
    }
    const auto small = std::ranges::find_if(node.models, [&](const ModelFact& model) {
      return model.service_s > 0 &&
             seconds(node.round_trip) > rules.way_share_max * model.service_s;
    });
    if (small == node.models.end()) continue;
    out.push_back(
        {"speed",
         Level::warn,
         fmt::format("requests for {} take {:.0f} ms at {}, of which the way takes {:.1f}: "
                     "such tasks are too small to be worth spreading",
                     shown(small->key), small->service_s * 1000, node.name,
                     seconds(node.round_trip) * 1000),
         {"put many into one request (`/api/embed` takes a list of inputs), or work "
          "through them one after the other"}});
  }
}

void tell_memory(const Facts& facts, Findings& out) {
  for (const NodeFact& node : facts.nodes) {
    for (const LoadedFact& loaded : node.loaded) {
      if (!loaded.sizes_known || loaded.size_bytes == 0 || loaded.vram_bytes >= loaded.size_bytes)
        continue;
      if (runs_on_cpu(loaded)) {
        out.push_back({"speed",
                       Level::note,
                       fmt::format("{} runs on the CPU of {}", shown(loaded.key), node.name),
                       {}});
        continue;
      }
      const double outside =
          1 - static_cast<double>(loaded.vram_bytes) / static_cast<double>(loaded.size_bytes);
      out.push_back(
          {"speed",
           Level::warn,
           fmt::format("{:.0f} % of {} does not fit into the GPU of {} and runs on its CPU",
                       outside * 100, shown(loaded.key), node.name),
           {fmt::format("a smaller context (`OLLAMA_CONTEXT_LENGTH={}` there), a smaller "
                        "quantization, or `OLLAMA_MAX_LOADED_MODELS=1`",
                        std::max(loaded.context_length / 2, 2048u))}});
    }
  }
}

void note_spread(const Facts& facts, const Rules& rules, Findings& out) {
  std::map<std::string, std::map<double, std::string>> by_model;
  for (const NodeFact& node : facts.nodes) {
    for (const ModelFact& model : node.models)
      if (model.decode_tokens_per_s > 0) by_model[model.key][model.decode_tokens_per_s] = node.name;
  }
  for (const auto& [key, rates] : by_model) {
    const auto& [slowest, slow] = *rates.begin();
    const auto& [fastest, fast] = *rates.rbegin();
    if (fastest < rules.spread_max * slowest) continue;
    out.push_back(
        {"speed",
         Level::note,
         fmt::format("{} writes {:.0f} tokens/s at {} and {:.0f} at {}: what is split evenly "
                     "waits for the slower",
                     shown(key), fastest, fast, slowest, slow),
         {}});
  }
}

}  // namespace

Findings check_parallel(const Facts& facts) {
  const LocalityFact& locality = facts.locality;
  if (facts.nodes.size() < 2) return {{"parallel", Level::ok, "there are no two nodes", {}}};
  Findings out;
  tell_localhost(facts, out);
  tell_operator(facts, out);
  if (locality.parallel) {
    out.insert(out.begin(), {"parallel", Level::ok, "parallel: " + locality.reason, {}});
  } else if (out.empty()) {
    out.push_back({"parallel", Level::note, "sequential: " + locality.reason, {}});
  }
  return out;
}

Findings check_speed(const Facts& facts, const Rules& rules) {
  Findings out;
  note_shared(facts, out);
  tell_way(facts, rules, out);
  tell_memory(facts, out);
  note_spread(facts, rules, out);
  if (!out.empty()) return out;
  return {{"speed", Level::ok, "nothing shows that would make parallel work slower", {}}};
}

}  // namespace sollol::doctor

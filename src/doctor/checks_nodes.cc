// Checks of the nodes that there are, and of those that somebody says there are.
#include <algorithm>

#include "doctor/checks.h"
#include "doctor/words.h"

namespace sollol::doctor {

namespace {

/// Where the name of a node is written, as a mend says it.
std::string take_out(const std::string& where, const std::string& url) {
  if (where == "OLLAMA_HOST" || where == "OLLAMA_BASE_URLS")
    return fmt::format("take {} out of {} (`unset {}`)", url, where, where);
  return fmt::format("take {} out of {}", url, where);
}

std::string trouble_of(const EntryFact& entry) {
  switch (entry.answer) {
    case EntryFact::Answer::unresolved:
      return "its name does not resolve";
    case EntryFact::Answer::refused:
      return "nothing listens there";
    case EntryFact::Answer::silent:
      return entry.near ? "it does not answer in time"
                        : "it does not answer and is outside the networks of this machine";
    case EntryFact::Answer::no_ollama:
      return "what answers there is no Ollama";
    case EntryFact::Answer::node:
      break;
  }
  return {};
}

/// What other machines show while some nodes are found: nothing to mend, unless more were expected.
void note_hidden(const ScanFact& scan, Findings& out) {
  if (!scan.dropping.empty()) {
    out.push_back({"nodes",
                   Level::note,
                   fmt::format("where connections to {} time out: {}. If Ollama runs there, a "
                               "firewall is before it",
                               ports_text(scan.ports), listed(scan.dropping)),
                   {}});
  }
  for (const OtherFact& other : scan.others) {
    if (other.what == OtherFact::What::gateway) {
      out.push_back({"nodes",
                     Level::note,
                     fmt::format("{} is a SOLLOL gateway, no node", to_string(other.address)),
                     {}});
    }
  }
}

/// What a look finds beside the gateway's nodes.
void note_unlisted(const ScanFact& scan, Findings& out) {
  if (scan.unlisted.empty()) return;
  std::vector<std::string> where;
  for (const Address& at : scan.unlisted) where.push_back(to_string(at));
  out.push_back({"nodes",
                 Level::note,
                 fmt::format("there and none of the gateway's nodes: {}", listed(where)),
                 {fmt::format("`sollol nodes add http://{}`", where.front())}});
}

/// A node of this machine that nobody else can use.
void note_loopback_only(const Facts& facts, Findings& out) {
  for (const NodeFact& node : facts.nodes) {
    const bool only = node.on_this_machine && !node.addresses.empty() &&
                      std::ranges::all_of(node.addresses, is_loopback, &Address::ip);
    if (!only) continue;
    out.push_back({"nodes",
                   Level::note,
                   fmt::format("{} ({}) is reached on loopback only: other machines cannot use it",
                               node.name, node.url),
                   {}});
  }
}

}  // namespace

Findings check_gateway(const Facts& facts) {
  const GatewayFact& gateway = facts.gateway;
  const std::string check = "gateway";
  switch (gateway.state) {
    case GatewayFact::State::answers:
      return {{check, Level::ok, fmt::format("the gateway at {} answers", gateway.url), {}}};
    case GatewayFact::State::none:
      return {{check, Level::note, "no gateway runs; the nodes are those that a look finds", {}}};
    case GatewayFact::State::refuses_us:
      return {{check,
               Level::bad,
               fmt::format("the gateway at {} asks for an admin key", gateway.url),
               {"`export SOLLOL_API_KEY=KEY` with a key of `sollol keys add NAME --admin`"}}};
    case GatewayFact::State::foreign:
      return {{check,
               Level::bad,
               fmt::format("what answers at {} is no SOLLOL gateway", gateway.url),
               {"name the gateway with `--gateway URL`"}}};
    case GatewayFact::State::silent:
      break;
  }
  return {{check,
           Level::bad,
           fmt::format("no gateway answers at {}: {}", gateway.url, gateway.detail),
           {"start one with `sollol up`, or name it with `--gateway URL`"}}};
}

Findings check_nodes(const Facts& facts, const Rules&) {
  Findings out;
  if (!facts.scan_trouble.empty()) {
    out.push_back({"nodes",
                   Level::bad,
                   "the network was not looked at: " + facts.scan_trouble,
                   {"name the nodes: `sollol up --node http://HOST:11434`"}});
  }
  const auto usable =
      static_cast<std::size_t>(std::ranges::count_if(facts.nodes, &NodeFact::usable));
  if (facts.nodes.empty()) {
    std::ranges::move(why_none(facts), std::back_inserter(out));
    return out;
  }
  out.push_back({"nodes",
                 usable == 0 ? Level::bad : Level::ok,
                 usable == facts.nodes.size()
                     ? counted(usable, "node") + (usable == 1 ? " answers" : " answer")
                     : fmt::format("{} of {} usable", usable, counted(facts.nodes.size(), "node")),
                 {}});
  for (const NodeFact& node : facts.nodes) {
    if (node.usable) continue;
    out.push_back(
        {"nodes",
         Level::warn,
         fmt::format("{} ({}) cannot be used: {}", node.name, node.url, node.trouble),
         {fmt::format("start Ollama there; if it is gone for good: `sollol nodes remove {}`",
                      node.name)}});
  }
  if (usable == 0) {
    out.front().mends = {"see the lines below"};
    return out;
  }
  if (facts.scan) {
    note_unlisted(*facts.scan, out);
    note_hidden(*facts.scan, out);
  }
  note_loopback_only(facts, out);
  return out;
}

Findings check_entries(const Facts& facts) {
  Findings out;
  for (const std::string& mistake : facts.mistakes)
    out.push_back({"entries", Level::warn, mistake, {"correct that entry"}});
  for (const EntryFact& entry : facts.entries) {
    if (entry.answer == EntryFact::Answer::node) continue;
    out.push_back({"entries",
                   Level::warn,
                   fmt::format("{} names {}: {}", entry.where, entry.url, trouble_of(entry)),
                   {take_out(entry.where, entry.url) + ", or start Ollama there"}});
  }
  if (!out.empty()) return out;
  if (facts.entries.empty())
    return {{"entries", Level::ok, "no file or variable names a node", {}}};
  return {{"entries",
           Level::ok,
           fmt::format("{} named by files and variables, and all answer",
                       counted(facts.entries.size(), "node")),
           {}}};
}

Findings check_duplicates(const Facts& facts) {
  Findings out;
  const auto both_here = [](const auto& a, const auto& b) {
    return a.on_this_machine == b.on_this_machine;
  };
  const auto same = [&](const auto& a, const auto& b) {
    if (!both_here(a, b)) return false;
    if (a.on_this_machine) return same_server(a.addresses, b.addresses, facts.own);
    return same_server(a.addresses, b.addresses, {});
  };
  // Of two names for one server the one that only this machine understands goes.
  const auto goes = [](const auto& node) {
    return !node.addresses.empty() && is_loopback(node.addresses.front().ip);
  };
  std::vector<bool> told(facts.nodes.size());
  for (std::size_t i = 0; i < facts.nodes.size(); ++i) {
    for (std::size_t j = i + 1; j < facts.nodes.size(); ++j) {
      if (told[j] || !same(facts.nodes[i], facts.nodes[j])) continue;
      told[j] = true;
      const bool first = goes(facts.nodes[i]);
      const NodeFact& extra = facts.nodes[first ? i : j];
      const NodeFact& stays = facts.nodes[first ? j : i];
      out.push_back({"duplicates",
                     Level::warn,
                     fmt::format("{} ({}) and {} ({}) are one server, counted as two nodes",
                                 extra.name, extra.url, stays.name, stays.url),
                     {fmt::format("`sollol nodes remove {}`, and take it out of where it is named "
                                  "({})",
                                  extra.name, extra.origin.empty() ? "not known" : extra.origin)}});
    }
  }
  // What a gateway has taken from a file is told once.
  for (std::size_t i = 0; out.empty() && i < facts.entries.size(); ++i) {
    for (std::size_t j = i + 1; j < facts.entries.size(); ++j) {
      const EntryFact& a = facts.entries[i];
      const EntryFact& b = facts.entries[j];
      if (a.url == b.url || !same(a, b)) continue;
      const EntryFact& extra = goes(a) ? a : b;
      const EntryFact& stays = goes(a) ? b : a;
      out.push_back({"duplicates",
                     Level::warn,
                     fmt::format("{} ({}) and {} ({}) name one server", extra.url, extra.where,
                                 stays.url, stays.where),
                     {take_out(extra.where, extra.url)}});
    }
  }
  if (!out.empty()) return out;
  const auto machines = facts.locality.machines.size();
  const std::string nodes = counted(facts.nodes.size(), "node");
  if (machines > 0 && facts.nodes.size() > machines) {
    return {
        {"duplicates",
         Level::note,
         fmt::format("{} on {}; each is a server of its own", nodes, counted(machines, "machine")),
         {}}};
  }
  return {{"duplicates", Level::ok, "no server is counted twice", {}}};
}

}  // namespace sollol::doctor

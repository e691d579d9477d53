// Why no node is found.
#include <algorithm>

#include "doctor/checks.h"
#include "doctor/words.h"

namespace sollol::doctor {

namespace {

constexpr std::string_view check = "nodes";

bool is_everywhere(const std::string& ip) { return ip == "0.0.0.0" || ip == "::"; }

/// Whether something of this machine listens on that port for other machines, too.
bool listens_for_others(const OwnFact& own, std::uint16_t port) {
  return std::ranges::any_of(
      own.listeners, [port](const Address& at) { return at.port == port && !is_loopback(at.ip); });
}

/// An Ollama of this machine that others, or a look that leaves localhost out, cannot reach.
void tell_loopback_only(const Facts& facts, Findings& out) {
  for (const Address& at : facts.own.local_ollamas) {
    if (facts.own.reads_listeners && listens_for_others(facts.own, at.port)) continue;
    out.push_back({std::string(check),
                   Level::bad,
                   fmt::format("an Ollama on this machine listens on {} only, where no other "
                               "machine reaches it",
                               to_string(at)),
                   {std::string(listen_for_others),
                    fmt::format("to use it from this machine alone: `sollol up --node http://{}`",
                                to_string(at))}});
  }
}

/// Nodes that are there, and that nobody looks for.
void tell_not_looked_for(const ScanFact& scan, Findings& out) {
  if (scan.unlisted.empty()) return;
  std::vector<std::string> where;
  for (const Address& at : scan.unlisted) where.push_back(to_string(at));
  out.push_back(
      {std::string(check),
       Level::bad,
       fmt::format("nodes are there ({}) and are not looked for: auto_discover is off, or "
                   "the gateway was started with --node",
                   listed(where)),
       {"`sollol up` without `--node` and with `auto_discover = \"on\"` (`unset "
        "SOLLOL_AUTO_DISCOVER`)",
        fmt::format("or name them: `sollol up --node http://{}`", where.front())}});
}

void tell_other_port(const ScanFact& scan, Findings& out) {
  if (scan.elsewhere.empty()) return;
  std::vector<std::string> where;
  std::vector<std::uint16_t> ports;
  for (const Address& at : scan.elsewhere) {
    where.push_back(to_string(at));
    if (std::ranges::find(ports, at.port) == ports.end()) ports.push_back(at.port);
  }
  std::string wanted;
  for (const std::uint16_t port : scan.ports) wanted += fmt::format("{},", port);
  std::string flags;
  for (const std::uint16_t port : ports) flags += fmt::format(" --port {}", port);
  std::string joined;
  for (const std::uint16_t port : ports)
    joined += fmt::format("{}{}", joined.empty() ? "" : ",", port);
  out.push_back({std::string(check),
                 Level::bad,
                 fmt::format("Ollama answers at {}; only {} was looked at", listed(where),
                             ports_text(scan.ports)),
                 {fmt::format("`sollol up --discovery-ports {}{}` (`sollol discover{}` shows them)",
                              wanted, joined, flags)}});
}

void tell_firewall(const ScanFact& scan, Findings& out) {
  if (scan.dropping.empty()) return;
  const auto port = scan.ports.empty() ? 11434 : scan.ports.front();
  out.push_back(
      {std::string(check),
       Level::bad,
       fmt::format(
           "{} known on this link and {} connections to {} time out ({}): a firewall drops "
           "them",
           counted(scan.dropping.size(), "machine") + (scan.dropping.size() == 1 ? " is" : " are"),
           scan.dropping.size() == 1 ? "lets" : "let", ports_text(scan.ports),
           listed(scan.dropping)),
       {fmt::format("on those that run Ollama: `sudo ufw allow {}/tcp`, or `sudo firewall-cmd "
                    "--permanent --add-port={}/tcp && sudo firewall-cmd --reload`",
                    port, port)}});
}

void tell_refusing(const ScanFact& scan, Findings& out) {
  if (scan.refusing.empty()) return;
  out.push_back({std::string(check),
                 Level::bad,
                 fmt::format("{} and refuse{} {} ({}): no Ollama runs there, or it listens on "
                             "127.0.0.1 only, or a firewall rejects it",
                             scan.refusing.size() == 1
                                 ? std::string("1 machine is there")
                                 : fmt::format("{} machines are there", scan.refusing.size()),
                             scan.refusing.size() == 1 ? "s" : "", ports_text(scan.ports),
                             listed(scan.refusing)),
                 {std::string(listen_for_others)}});
}

void tell_wrong_subnet(const Facts& facts, Findings& out) {
  std::vector<std::string> ranges;
  for (const RangeFact& range : facts.scan->ranges) ranges.push_back(range.network);
  for (const EntryFact& entry : facts.entries) {
    if (entry.near || entry.addresses.empty() || entry.answer == EntryFact::Answer::node) continue;
    out.push_back(
        {std::string(check),
         Level::bad,
         fmt::format("{} names {}, which is outside the networks of this machine ({}) and does not "
                     "answer",
                     entry.where, entry.url, ranges.empty() ? "none" : listed(ranges)),
         {fmt::format("join this machine to the network of {}, or correct the address in {}",
                      entry.addresses.front().ip, entry.where)}});
  }
  for (const SkippedFact& skipped : facts.scan->skipped) {
    const std::string network = skipped.network.substr(0, skipped.network.find(' '));
    out.push_back(
        {std::string(check),
         Level::note,
         fmt::format("{} was not looked at: {}", skipped.network, skipped.reason),
         {fmt::format("if the nodes are there: `sollol up --discovery-subnets {}`, or name "
                      "one with `--node http://HOST:11434`",
                      network)}});
  }
  if (ranges.empty() && !facts.scan->named) {
    out.push_back({std::string(check),
                   Level::bad,
                   "this machine has no private network in which nodes could be looked for",
                   {"connect it, or name the nodes: `sollol up --node http://HOST:11434`"}});
  }
}

void tell_nothing_here(const Facts& facts, Findings& out) {
  const auto port = facts.scan->ports.empty() ? std::uint16_t{11434} : facts.scan->ports.front();
  const bool listened = std::ranges::any_of(facts.own.listeners,
                                            [port](const Address& at) { return at.port == port; });
  if (!facts.own.reads_listeners || listened || !facts.own.local_ollamas.empty()) return;
  if (facts.scan->named && !std::ranges::any_of(facts.scan->ranges, [](const RangeFact& range) {
        return is_loopback(range.network);
      })) {
    return;
  }
  out.push_back(
      {std::string(check),
       Level::bad,
       fmt::format("nothing listens on port {} of this machine", port),
       {"to make it a node: `curl -fsSL https://ollama.com/install.sh | sh`, then `ollama "
        "serve`"}});
}

/// Everything else on the port, so that nobody wonders.
void tell_others(const ScanFact& scan, Findings& out) {
  for (const OtherFact& other : scan.others) {
    if (other.what == OtherFact::What::gateway) continue;
    out.push_back({std::string(check),
                   Level::note,
                   fmt::format("{} is no Ollama: {}", to_string(other.address),
                               other.what == OtherFact::What::silent
                                   ? "it accepts connections and says nothing"
                                   : other.says),
                   {}});
  }
}

}  // namespace

bool is_loopback(const std::string& ip) { return ip == "::1" || ip.starts_with("127."); }

bool same_server(const std::vector<Address>& a, const std::vector<Address>& b, const OwnFact& own) {
  for (const Address& one : a) {
    if (std::ranges::find(b, one) != b.end()) return true;
  }
  if (a.empty() || b.empty() || a.front().port != b.front().port) return false;
  return std::ranges::any_of(own.listeners, [&](const Address& at) {
    return is_everywhere(at.ip) && at.port == a.front().port;
  });
}

Findings why_none(const Facts& facts) {
  Findings out;
  tell_loopback_only(facts, out);
  if (!facts.scan) {
    if (out.empty())
      out.push_back({std::string(check),
                     Level::bad,
                     "no node is known",
                     {"`sollol discover`, or `sollol nodes add http://HOST:11434`"}});
    return out;
  }
  if (!facts.scan->unlisted.empty()) {
    out.clear();
    tell_not_looked_for(*facts.scan, out);
    return out;
  }
  tell_other_port(*facts.scan, out);
  tell_firewall(*facts.scan, out);
  tell_refusing(*facts.scan, out);
  tell_wrong_subnet(facts, out);
  tell_nothing_here(facts, out);
  const bool explained = std::ranges::any_of(out, needs_mending);
  if (!explained) {
    out.push_back({std::string(check),
                   Level::bad,
                   fmt::format("no machine answers on {} in {} addresses",
                               ports_text(facts.scan->ports), facts.scan->tried),
                   {"are the nodes on another network? `sollol discover --subnet NETWORK`; on "
                    "another port? `--port PORT`; else start one: `OLLAMA_HOST=0.0.0.0 ollama "
                    "serve`"}});
  }
  tell_others(*facts.scan, out);
  return out;
}

}  // namespace sollol::doctor

// Checks of this machine and of the look at its networks: descriptors, the port, slow discovery.
#include <algorithm>

#include "doctor/checks.h"
#include "doctor/words.h"

namespace sollol::doctor {

namespace {

double seconds(Duration duration) { return std::chrono::duration<double>(duration).count(); }

/// The networks in which nobody lives.
void tell_dead_ranges(const ScanFact& scan, const Rules& rules, Findings& out) {
  std::string others;
  for (const RangeFact& range : scan.ranges) {
    if (range.answered > 0) others += (others.empty() ? "" : ",") + range.network;
  }
  for (const RangeFact& range : scan.ranges) {
    if (range.answered > 0 || range.addresses < rules.dead_range_min) continue;
    out.push_back(
        {"discovery",
         Level::warn,
         fmt::format("{} ({}): none of its {} addresses gives a sign of life", range.network,
                     range.source, range.addresses),
         {others.empty()
              ? std::string("look elsewhere: `discovery.subnets` in sollol.toml, or "
                            "`auto_discover = \"off\"` and `--node` for each node")
              : fmt::format("leave it out: `sollol up --discovery-subnets {}`", others)}});
  }
}

}  // namespace

Findings check_discovery(const Facts& facts, const Rules& rules) {
  if (!facts.scan) return {{"discovery", Level::note, "the network was not looked at", {}}};
  const ScanFact& scan = *facts.scan;
  Findings out;
  const std::string took = fmt::format("a look at {} addresses and ports takes {:.2f} s",
                                       scan.tried, seconds(scan.took));
  const bool slow = scan.took > rules.slow_scan;
  if (slow && scan.timeout > rules.usual_timeout) {
    out.push_back(
        {"discovery",
         Level::warn,
         fmt::format("{}: each address may take {:.1f} s to answer", took, seconds(scan.timeout)),
         {fmt::format("`--discovery-timeout {:.1f}`, `discovery.timeout_s = {:.1f}` in "
                      "sollol.toml",
                      seconds(rules.usual_timeout), seconds(rules.usual_timeout))}});
  }
  if (slow) tell_dead_ranges(scan, rules, out);
  for (const OtherFact& other : scan.others) {
    if (!slow || other.what != OtherFact::What::silent) continue;
    out.push_back({"discovery",
                   Level::note,
                   fmt::format("{} accepts connections and says nothing: it is waited for",
                               to_string(other.address)),
                   {}});
  }
  if (scan.unsent > 0) {
    out.push_back(
        {"discovery",
         Level::warn,
         fmt::format("{} addresses were not tried: no file descriptor was left", scan.unsent),
         {"`ulimit -n 65536`, or `LimitNOFILE=65536` in the unit"}});
  }
  if (std::ranges::any_of(out, needs_mending)) return out;
  out.insert(out.begin(), {"discovery", slow ? Level::note : Level::ok, took, {}});
  return out;
}

Findings check_files(const Facts& facts, const Rules& rules) {
  const OwnFact& own = facts.own;
  // A stream takes two descriptors; the gateway itself needs some, too.
  constexpr std::uint64_t spare = 200;
  const std::uint64_t clients = own.descriptors_max > spare ? (own.descriptors_max - spare) / 2 : 0;
  if (clients >= own.connections) {
    return {{"files",
             Level::ok,
             fmt::format("{} file descriptors: enough for {} clients at once", own.descriptors_max,
                         own.connections),
             {}}};
  }
  const std::uint64_t wanted = own.connections * 2 + spare;
  return {{"files",
           own.descriptors_max < rules.descriptors_min ? Level::bad : Level::warn,
           fmt::format("a process may open {} files, which serves about {} clients at once; "
                       "limits.connections is {}",
                       own.descriptors_max, clients, own.connections),
           {fmt::format("`LimitNOFILE={}` in the unit, or `* hard nofile {}` in "
                        "/etc/security/limits.conf and log in again",
                        wanted, wanted),
            fmt::format("to expect fewer: `limits.connections = {}` in sollol.toml", clients)}}};
}

Findings check_port(const Facts& facts) {
  const OwnFact& own = facts.own;
  const std::string at = to_string(own.listen);
  const std::string who =
      own.holder_process.empty() ? std::string() : fmt::format(", {}", own.holder_process);
  switch (own.holder) {
    case PortHolder::nobody:
      return {{"port", Level::ok, fmt::format("{} is free for the gateway", at), {}}};
    case PortHolder::gateway:
      return {{"port", Level::ok, fmt::format("{} is served by a SOLLOL gateway{}", at, who), {}}};
    case PortHolder::ollama:
      return {
          {"port",
           facts.gateway.state == GatewayFact::State::answers ? Level::note : Level::bad,
           fmt::format("{}, where the gateway is to listen, is taken by an Ollama{}", at, who),
           {fmt::format("give the gateway another port: `sollol up --listen 127.0.0.1:{}`, and "
                        "clients `export OLLAMA_HOST=127.0.0.1:{}`",
                        own.listen.port + 1, own.listen.port + 1),
            fmt::format("move that Ollama: `OLLAMA_HOST=127.0.0.1:{} ollama serve`, and `sollol "
                        "up --node http://127.0.0.1:{}`",
                        own.listen.port + 2, own.listen.port + 2)}}};
    case PortHolder::other:
      break;
  }
  return {
      {"port",
       facts.gateway.state == GatewayFact::State::answers ? Level::note : Level::bad,
       fmt::format("{}, where the gateway is to listen, is taken by another program{}", at, who),
       {fmt::format("end it, or give the gateway another port: `sollol up --listen 127.0.0.1:{}`",
                    own.listen.port + 1)}}};
}

}  // namespace sollol::doctor

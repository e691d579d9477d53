#include "agent/processes.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <set>
#include <string_view>

namespace sollol::agent {
namespace {

constexpr std::uint16_t ollama_port = 11434;

struct Process {
  std::uint32_t pid = 0;
  std::uint32_t parent = 0;
  std::uint64_t ticks = 0;
};

struct Listening {
  std::string address;
  std::uint16_t port = 0;
  std::string inode;
};

std::vector<std::string_view> words(std::string_view text, char separator) {
  std::vector<std::string_view> all;
  while (!text.empty()) {
    const auto end = std::min(text.find(separator), text.size());
    if (end > 0) all.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return all;
}

template <class Number>
std::optional<Number> number(std::string_view text, int base = 10) {
  Number value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (failure != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

/// /proc/PID/stat: "12 (a name) S 1 …"; fields are counted as in proc(5).
std::optional<Process> read_process(const Roots& roots, const std::string& pid) {
  const auto text = read_text(roots.proc + "/" + pid + "/stat", 4096);
  const auto id = number<std::uint32_t>(pid);
  if (!text || !id) return std::nullopt;
  const auto name_end = text->rfind(')');
  if (name_end == std::string::npos) return std::nullopt;
  const auto fields = words(std::string_view(*text).substr(name_end + 1), ' ');
  constexpr std::size_t first = 3;  // the first behind the name
  if (fields.size() < 15 - first + 1) return std::nullopt;
  return Process{.pid = *id,
                 .parent = number<std::uint32_t>(fields[4 - first]).value_or(0),
                 .ticks = number<std::uint64_t>(fields[14 - first]).value_or(0) +
                          number<std::uint64_t>(fields[15 - first]).value_or(0)};
}

bool is_ollama_serve(const Roots& roots, std::uint32_t pid) {
  const auto line = read_text(roots.proc + "/" + std::to_string(pid) + "/cmdline", 4096);
  if (!line) return false;
  const auto arguments = words(*line, '\0');
  if (arguments.size() < 2) return false;
  const auto program = arguments[0].substr(arguments[0].rfind('/') + 1);
  return program == "ollama" && (arguments[1] == "serve" || arguments[1] == "start");
}

/// "0100007F" or 32 digits: words of the machine's byte order, as the kernel prints them.
std::string address_of(std::string_view hex) {
  std::array<std::uint32_t, 4> parts{};
  const std::size_t count = hex.size() / 8;
  if (count != 1 && count != 4) return {};
  for (std::size_t i = 0; i < count; ++i)
    parts[i] = number<std::uint32_t>(hex.substr(i * 8, 8), 16).value_or(0);
  std::array<char, INET6_ADDRSTRLEN> text{};
  inet_ntop(count == 1 ? AF_INET : AF_INET6, parts.data(), text.data(), text.size());
  return text.data();
}

/// The listening sockets in the network namespace of a process.
std::vector<Listening> listening_near(const Roots& roots, std::uint32_t pid) {
  std::vector<Listening> found;
  for (const auto* table : {"tcp", "tcp6"}) {
    const auto text = read_text(roots.proc + "/" + std::to_string(pid) + "/net/" + table, 8 << 20);
    if (!text) continue;
    for (const auto line : words(*text, '\n')) {
      const auto fields = words(line, ' ');
      constexpr std::string_view listens = "0A";
      if (fields.size() < 10 || fields[3] != listens) continue;
      const auto colon = fields[1].find(':');
      const auto port = colon == std::string_view::npos
                            ? std::nullopt
                            : number<std::uint16_t>(fields[1].substr(colon + 1), 16);
      if (port)
        found.push_back({address_of(fields[1].substr(0, colon)), *port,
                         "socket:[" + std::string(fields[9]) + "]"});
    }
  }
  return found;
}

std::set<std::string> sockets_of(const Roots& roots, std::uint32_t pid) {
  const auto folder = roots.proc + "/" + std::to_string(pid) + "/fd";
  std::set<std::string> sockets;
  for (const auto& name : names_in(folder, descriptors_looked_at_max)) {
    auto to = link_of(folder + "/" + name);
    if (to.starts_with("socket:[")) sockets.insert(std::move(to));
  }
  return sockets;
}

std::optional<std::map<std::string, std::string, std::less<>>> read_environment(const Roots& roots,
                                                                                std::uint32_t pid) {
  const auto text = read_text(roots.proc + "/" + std::to_string(pid) + "/environ");
  // Every server has an environment: an empty file is one that may not be read.
  if (!text || text->empty()) return std::nullopt;
  std::map<std::string, std::string, std::less<>> all;
  for (const auto entry : words(*text, '\0')) {
    const auto equals = entry.find('=');
    if (equals != std::string_view::npos)
      all.emplace(entry.substr(0, equals), entry.substr(equals + 1));
  }
  return all;
}

/// The port and host in OLLAMA_HOST as the server reads it.
void place_by_variable(OllamaProcess& server) {
  const auto variable = server.environment->find("OLLAMA_HOST");
  server.address = "127.0.0.1";
  server.port = ollama_port;
  if (variable == server.environment->end()) return;
  std::string_view text = variable->second;
  const auto blank = [](char c) { return c == ' ' || c == '"' || c == '\''; };
  while (!text.empty() && blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && blank(text.back())) text.remove_suffix(1);
  if (const auto scheme = text.find("://"); scheme != std::string_view::npos) {
    server.port = text.starts_with("https") ? 443 : 80;
    text.remove_prefix(scheme + 3);
  }
  text = text.substr(0, text.find('/'));
  if (text.empty()) return;
  const auto colon = text.rfind(':');
  const bool bare_v6 = !text.starts_with('[') && std::ranges::count(text, ':') > 1;
  const bool with_port = colon != std::string_view::npos && !bare_v6 && !text.ends_with(']');
  if (with_port) {
    if (const auto port = number<std::uint16_t>(text.substr(colon + 1))) server.port = *port;
    text = text.substr(0, colon);
  }
  if (text.starts_with('[') && text.ends_with(']')) text = text.substr(1, text.size() - 2);
  server.address = text.empty() ? "0.0.0.0" : std::string(text);
}

/// Fills in where the server listens.
void place(const Roots& roots, OllamaProcess& server, bool only_one) {
  const auto near = listening_near(roots, server.pid);
  const auto sockets = sockets_of(roots, server.pid);
  const auto mine =
      std::ranges::find_if(near, [&](const Listening& one) { return sockets.contains(one.inode); });
  if (mine != near.end()) {
    server.address = mine->address;
    server.port = mine->port;
  } else if (server.environment) {
    place_by_variable(server);
  } else if (only_one) {
    const auto usual = std::ranges::find(near, ollama_port, &Listening::port);
    if (usual == near.end()) return;
    server.address = usual->address;
    server.port = usual->port;
  }
}

void read_machine_ticks(const Roots& roots, ProcessTable& table) {
  const auto text = read_text(roots.proc + "/stat", 64 << 10);
  if (!text || !text->starts_with("cpu ")) return;
  const auto fields = words(std::string_view(*text).substr(4, text->find('\n') - 4), ' ');
  // user nice system idle iowait irq softirq steal; guests are in user already.
  for (std::size_t i = 0; i < std::min<std::size_t>(fields.size(), 8); ++i) {
    const auto ticks = number<std::uint64_t>(fields[i]).value_or(0);
    table.all_ticks += ticks;
    if (i != 3 && i != 4) table.busy_ticks += ticks;
  }
}

/// Finds for each process the server that it descends from, if any.
void find_families(const std::unordered_map<std::uint32_t, Process>& all, ProcessTable& table) {
  constexpr int generations_max = 64;
  std::set<std::uint32_t> servers;
  for (const auto& server : table.servers) servers.insert(server.pid);
  for (const auto& [pid, process] : all) {
    std::uint32_t at = pid;
    for (int i = 0; i < generations_max && at > 1; ++i) {
      if (servers.contains(at)) {
        table.server_of.emplace(pid, at);
        table.ollama_ticks += process.ticks;
        break;
      }
      const auto above = all.find(at);
      at = above == all.end() ? 0 : above->second.parent;
    }
  }
}

}  // namespace

ProcessTable read_processes(const Roots& roots) {
  ProcessTable table;
  std::unordered_map<std::uint32_t, Process> all;
  const auto names = names_in(roots.proc, processes_max);
  table.cut_short = names.size() == processes_max;
  for (const auto& name : names) {
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto process = read_process(roots, name);
    if (!process) continue;  // it has ended meanwhile
    all.emplace(process->pid, *process);
    if (table.servers.size() < servers_max && is_ollama_serve(roots, process->pid))
      table.servers.push_back({.pid = process->pid});
  }
  const auto our_network = link_of(roots.proc + "/self/ns/net");
  for (auto& server : table.servers) {
    const auto network = link_of(roots.proc + "/" + std::to_string(server.pid) + "/ns/net");
    server.own_network = !network.empty() && !our_network.empty() && network != our_network;
    server.environment = read_environment(roots, server.pid);
    place(roots, server, table.servers.size() == 1);
  }
  find_families(all, table);
  read_machine_ticks(roots, table);
  return table;
}

}  // namespace sollol::agent

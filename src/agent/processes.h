#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "agent/roots.h"

namespace sollol::agent {

/// An `ollama serve` that runs here.
struct OllamaProcess {
  std::uint32_t pid = 0;
  std::uint16_t port = 0;    // 0: not known
  std::string address = {};  // empty: not known
  bool own_network = false;  // another network namespace than ours
  /// What it was started with; nothing when this user may not read it.
  std::optional<std::map<std::string, std::string, std::less<>>> environment = {};
};

/// One look at the running processes.
struct ProcessTable {
  std::vector<OllamaProcess> servers = {};
  /// The `ollama serve` that each process of Ollama's, runners included, descends from.
  std::unordered_map<std::uint32_t, std::uint32_t> server_of = {};
  std::uint64_t ollama_ticks = 0;  // processor time that these have used
  std::uint64_t busy_ticks = 0;    // and that of the whole machine
  std::uint64_t all_ticks = 0;     // with the idle time
  bool cut_short = false;          // more than `processes_max` run
};

inline constexpr std::size_t processes_max = 65536;
inline constexpr std::size_t servers_max = 64;
inline constexpr std::size_t descriptors_looked_at_max = 4096;  // of one server

/// Reads /proc: a few small files of each process. O(processes); any thread.
///
/// Where a server listens is told by its sockets where this user may see them, else by its
/// OLLAMA_HOST; else, when it is the only one and something listens on Ollama's own port, that is
/// it; else it is not known.
ProcessTable read_processes(const Roots& roots = {});

}  // namespace sollol::agent

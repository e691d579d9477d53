#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::agent {

/// Where an agent listens unless told otherwise, and what it is asked.
inline constexpr std::uint16_t default_port = 11436;
inline constexpr std::string_view report_path = "/sollol/agent/v1/report";

/// One machine's identity and means. What is not known is empty, 0 or nothing.
struct Machine {
  std::string id = {};       // keyed hash of /etc/machine-id; equal for clones of one disk image
  std::string boot_id = {};  // keyed hash of the kernel's boot id: one running kernel, one value
  std::string hostname = {};
  std::uint32_t cores = 0;
  std::uint64_t memory_total = 0;  // bytes
  std::uint64_t memory_available = 0;
  std::vector<std::string> addresses = {};  // IP literals of its interfaces, loopback left out
  std::optional<double> load = {};          // of one minute
  std::optional<double> cpu_busy = {};      // 0 to 1 of all cores, since the report before
  std::optional<double> cpu_foreign = {};   // the part of it that is not Ollama's
  friend bool operator==(const Machine&, const Machine&) = default;
};

/// A process that has memory on a GPU.
struct GpuProcess {
  std::uint32_t pid = 0;
  std::optional<std::uint64_t> memory = {};       // bytes
  std::optional<std::uint32_t> utilisation = {};  // percent
  bool ollama = false;  // of an Ollama server here, or of a runner that it started
  friend bool operator==(const GpuProcess&, const GpuProcess&) = default;
};

struct Gpu {
  std::string uuid = {};  // as *_VISIBLE_DEVICES takes it: "GPU-…"
  std::string name = {};
  std::string vendor = {};         // "nvidia" or "amd"
  std::uint64_t memory_total = 0;  // bytes
  std::uint64_t memory_free = 0;
  std::optional<std::uint32_t> utilisation = {};  // percent
  std::vector<GpuProcess> processes = {};
  bool processes_known = false;
  std::optional<std::uint64_t> foreign_memory = {};       // bytes, by other programs than Ollama
  std::optional<std::uint32_t> foreign_utilisation = {};  // percent, likewise
  friend bool operator==(const Gpu&, const Gpu&) = default;
};

/// An Ollama server on the agent's machine.
struct LocalNode {
  std::uint32_t pid = 0;
  std::uint16_t port = 0;    // 0: not known
  std::string address = {};  // where it listens: "0.0.0.0", "127.0.0.1"; empty: not known
  bool own_network = false;  // in a network namespace of its own: the port is a container's
  bool gpus_known = false;   // whether `gpus` is all that it may use
  std::vector<std::string> gpus = {};         // UUIDs
  std::vector<std::string> gpus_in_use = {};  // where it has memory at present
  friend bool operator==(const LocalNode&, const LocalNode&) = default;
};

/// Whether somebody sits at the machine.
struct Owner {
  std::optional<bool> in_use = {};
  std::optional<std::uint64_t> idle_s = {};  // since the last input that could be seen
  std::uint32_t sessions = 0;                // local and active ones
  friend bool operator==(const Owner&, const Owner&) = default;
};

/// All that an agent tells.
struct AgentReport {
  std::string agent = {};  // program and version
  Machine machine = {};
  std::vector<Gpu> gpus = {};
  std::vector<LocalNode> nodes = {};
  Owner owner = {};
  std::vector<std::string> notes = {};  // what could not be found out, and why
  friend bool operator==(const AgentReport&, const AgentReport&) = default;
};

/// The server that listens at a port of the machine itself, or null: one inside a container is
/// none, since its port is not the machine's.
const LocalNode* find_node(const AgentReport& report, std::uint16_t port);

/// The GPUs that a node works with as far as told: those that it may use, else those that it uses
/// now.
const std::vector<std::string>& devices_of(const LocalNode& node);

/// Bounds of a report that came over the network; what goes beyond them is dropped.
struct ReportLimits {
  std::size_t bytes_max = 1 << 20;
  std::size_t gpus_max = 64;
  std::size_t nodes_max = 256;
  std::size_t addresses_max = 256;
  std::size_t processes_max = 256;  // of one GPU
  std::size_t notes_max = 16;
  std::size_t text_max = 256;  // bytes of any text
};

/// The JSON text of `GET /sollol/agent/v1/report`.
std::string to_json(const AgentReport& report);

/// Reads a report of an untrusted machine: fields that are missing or of another kind are as not
/// known, texts with control characters or beyond a limit too; unknown fields are passed over.
/// Error: bad_reply when it is larger than allowed, no JSON object, or of another version.
Result<AgentReport> parse_report(std::string_view json, const ReportLimits& limits = {});

/// The report as a few lines for a person.
std::string to_text(const AgentReport& report);

}  // namespace sollol::agent

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "agent/report.h"
#include "base/result.h"

namespace sollol::agent {

/// One Ollama per GPU of one machine.
struct MultiGpuOptions {
  std::uint16_t base_port = 11434;  // the first GPU's; each further one the next
  std::string listen = "0.0.0.0";   // an IP literal
  std::string address = {};         // by which other machines reach this one; an IP literal or name
  std::string host = {};            // the operator's word for this machine
  std::string models = "/usr/share/ollama/.ollama/models";  // shared by all
  std::string program = "/usr/local/bin/ollama";
  std::string user = "ollama";
  std::string prefix = "ollama-gpu";  // of the units' names: ollama-gpu0.service
};

struct GpuUnit {
  std::string file = {};  // "ollama-gpu0.service"
  std::string text = {};
  std::string name = {};  // of the node: "box-gpu0"
  std::string url = {};
  std::uint16_t port = 0;
  std::string uuid = {};
};

inline constexpr std::size_t units_max = 64;

/// A unit for each GPU, in order. Error: bad_input when there is no GPU, one is named twice, a
/// UUID, path, name or port cannot stand in a unit.
Result<std::vector<GpuUnit>> plan_units(const std::vector<Gpu>& gpus,
                                        const MultiGpuOptions& options);

/// A GPU as a person names it: "GPU-1f2e…", or "amd:GPU-…" for AMD's. Error: bad_input.
Result<Gpu> parse_gpu(std::string_view text);

}  // namespace sollol::agent

#include "agent/multi_gpu.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>
#include <utility>

namespace sollol::agent {
namespace {

/// Names, paths and addresses: nothing that systemd would read as a quote, a specifier or a space.
bool is_plain(std::string_view text) {
  const auto plain = [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("-._/:@").contains(static_cast<char>(c));
  };
  return !text.empty() && text.size() <= 255 && std::ranges::all_of(text, plain);
}

std::string bracketed(const std::string& host) {
  return host.contains(':') ? "[" + host + "]" : host;
}

std::string unit_text(const Gpu& gpu, std::uint16_t port, const MultiGpuOptions& options) {
  std::string_view variable = "CUDA_VISIBLE_DEVICES";
  std::string_view other = "ROCR_VISIBLE_DEVICES";
  if (gpu.vendor == "amd") std::swap(variable, other);
  return fmt::format(
      "# One Ollama for one GPU. Written by `sollol multi-gpu`.\n"
      "[Unit]\n"
      "Description=Ollama on {uuid}\n"
      "After=network-online.target\n"
      "Wants=network-online.target\n"
      "# Ollama's own unit would take all GPUs.\n"
      "Conflicts=ollama.service\n"
      "\n"
      "[Service]\n"
      "ExecStart={program} serve\n"
      "User={user}\n"
      "Restart=always\n"
      "RestartSec=3\n"
      "Environment=OLLAMA_HOST={listen}:{port}\n"
      "Environment=OLLAMA_MODELS={models}\n"
      "# An Ollama that starts removes what no manifest names: another's download, for instance.\n"
      "Environment=OLLAMA_NOPRUNE=1\n"
      "Environment={variable}={uuid}\n"
      "# None of the other make's.\n"
      "Environment={other}=-1\n"
      "\n"
      "[Install]\n"
      "WantedBy=multi-user.target\n",
      fmt::arg("uuid", gpu.uuid), fmt::arg("program", options.program),
      fmt::arg("user", options.user), fmt::arg("listen", bracketed(options.listen)),
      fmt::arg("port", port), fmt::arg("models", options.models), fmt::arg("variable", variable),
      fmt::arg("other", other));
}

Result<void> check(const std::vector<Gpu>& gpus, const MultiGpuOptions& options) {
  if (gpus.empty()) {
    return std::unexpected(
        bad_input("no GPU found; name them with --gpus UUID,UUID (`nvidia-smi -L` lists them)"));
  }
  if (gpus.size() > units_max || options.base_port + gpus.size() - 1 > 65535 ||
      options.base_port == 0) {
    return std::unexpected(bad_input(fmt::format(
        "{} ports from {} on do not fit; choose another --base-port, and at most {} GPUs",
        gpus.size(), options.base_port, units_max)));
  }
  const std::pair<std::string_view, std::string_view> words[] = {
      {"--listen", options.listen}, {"--address", options.address}, {"--host", options.host},
      {"--models", options.models}, {"--ollama", options.program},  {"--user", options.user},
      {"--prefix", options.prefix}};
  for (const auto& [flag, value] : words) {
    if (!is_plain(value)) {
      return std::unexpected(bad_input(fmt::format(
          "{} \"{}\": only letters, digits and -._/:@ can stand in a unit", flag, value)));
    }
  }
  if (options.prefix.contains('/'))
    return std::unexpected(bad_input("--prefix is a part of a file's name: no slash"));
  return {};
}

}  // namespace

Result<std::vector<GpuUnit>> plan_units(const std::vector<Gpu>& gpus,
                                        const MultiGpuOptions& options) {
  if (const auto checked = check(gpus, options); !checked) return std::unexpected(checked.error());
  std::set<std::string_view> seen;
  std::vector<GpuUnit> units;
  for (std::size_t i = 0; i < gpus.size(); ++i) {
    const auto& gpu = gpus[i];
    if (!is_plain(gpu.uuid)) return std::unexpected(bad_input("no GPU's UUID: " + gpu.uuid));
    if (!seen.insert(gpu.uuid).second)
      return std::unexpected(bad_input(gpu.uuid + " is named twice"));
    const auto port = static_cast<std::uint16_t>(options.base_port + i);
    units.push_back({.file = fmt::format("{}{}.service", options.prefix, i),
                     .text = unit_text(gpu, port, options),
                     .name = fmt::format("{}-gpu{}", options.host, i),
                     .url = fmt::format("http://{}:{}", bracketed(options.address), port),
                     .port = port,
                     .uuid = gpu.uuid});
  }
  return units;
}

Result<Gpu> parse_gpu(std::string_view text) {
  Gpu gpu{.vendor = "nvidia"};
  if (const auto colon = text.find(':'); colon != std::string_view::npos) {
    gpu.vendor = text.substr(0, colon);
    text.remove_prefix(colon + 1);
  }
  gpu.uuid = text;
  const bool known_vendor = gpu.vendor == "nvidia" || gpu.vendor == "amd";
  const auto rest = text.substr(std::min<std::size_t>(text.size(), 4));
  const auto in_uuid = [](unsigned char c) { return std::isxdigit(c) != 0 || c == '-'; };
  if (!known_vendor || !text.starts_with("GPU-") || rest.size() < 4 || rest.size() > 64 ||
      !std::ranges::all_of(rest, in_uuid)) {
    return std::unexpected(bad_input(fmt::format(
        "\"{}\" is no GPU; write GPU-… as `nvidia-smi -L` prints it, or amd:GPU-…", text)));
  }
  return gpu;
}

}  // namespace sollol::agent

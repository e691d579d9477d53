#include "agent/collector.h"

#include <algorithm>
#include <utility>

#include "agent/machine.h"
#include "agent/visible_devices.h"
#include "base/version.h"

namespace sollol::agent {
namespace {

void attribute_processes(const ProcessTable& table, Gpu& gpu) {
  if (!gpu.processes_known) return;
  std::uint64_t memory = 0;
  std::uint32_t busy = 0;
  bool memory_told = true;
  bool busy_told = true;
  bool others = false;
  bool ours = false;
  for (auto& process : gpu.processes) {
    process.ollama = table.server_of.contains(process.pid);
    ours = ours || process.ollama;
    if (process.ollama) continue;
    others = true;
    memory += process.memory.value_or(0);
    memory_told = memory_told && process.memory.has_value();
    busy += process.utilisation.value_or(0);
    busy_told = busy_told && process.utilisation.has_value();
  }
  if (memory_told) gpu.foreign_memory = memory;
  if (!others || gpu.utilisation == 0)
    gpu.foreign_utilisation = 0;  // drivers keep no samples of processes that rest
  else if (busy_told)
    gpu.foreign_utilisation = std::min(busy, 100u);
  else if (!ours)
    gpu.foreign_utilisation = gpu.utilisation;
}

LocalNode to_node(const OllamaProcess& server, const ProcessTable& table,
                  const std::vector<Gpu>& gpus) {
  LocalNode node{.pid = server.pid,
                 .port = server.port,
                 .address = server.address,
                 .own_network = server.own_network};
  if (server.environment) {
    auto visible = visible_gpus(*server.environment, gpus);
    // Where no GPU could be seen at all, that nothing is named does not mean that it has none.
    node.gpus_known = visible.has_value() && (!gpus.empty() || !visible->empty());
    if (visible) node.gpus = *std::move(visible);
  }
  for (const auto& gpu : gpus) {
    const auto is_its = [&](const GpuProcess& process) {
      const auto family = table.server_of.find(process.pid);
      return family != table.server_of.end() && family->second == server.pid;
    };
    if (std::ranges::any_of(gpu.processes, is_its)) node.gpus_in_use.push_back(gpu.uuid);
  }
  return node;
}

}  // namespace

Collector::Collector(Roots roots, const GpuLibraries& libraries)
    : roots_(std::move(roots)), gpus_(libraries, roots_), owner_(roots_) {}

const AgentReport& Collector::report(TimePoint now, WallTime wall_now) {
  if (!last_ || now - made_ >= refresh_interval) {
    last_ = look(now, wall_now);
    made_ = now;
  }
  return *last_;
}

AgentReport Collector::look(TimePoint now, WallTime wall_now) {
  AgentReport report{.agent = "sollol " + std::string(version)};
  report.machine = read_machine(roots_);
  auto reading = gpus_.read();
  report.gpus = std::move(reading.gpus);
  report.notes = std::move(reading.notes);
  auto table = read_processes(roots_);
  if (table.cut_short)
    report.notes.emplace_back("more processes than are looked at; Ollama may be missing");
  const auto unreadable = [](const OllamaProcess& one) { return !one.environment.has_value(); };
  if (std::ranges::any_of(table.servers, unreadable))
    report.notes.emplace_back(
        "another user's Ollama: its settings cannot be read; run the agent as root or as its user");
  attribute(table, report);
  report.owner = owner_.read(now, wall_now);
  add_cpu(report.machine, table);
  before_ = std::move(table);
  return report;
}

void Collector::add_cpu(Machine& machine, const ProcessTable& table) {
  if (!before_ || table.all_ticks <= before_->all_ticks) return;
  const auto all = static_cast<double>(table.all_ticks - before_->all_ticks);
  const auto since = [](std::uint64_t now, std::uint64_t then) {
    return static_cast<double>(now - std::min(now, then));
  };
  const double busy = since(table.busy_ticks, before_->busy_ticks);
  machine.cpu_busy = std::min(busy / all, 1.0);
  // A runner that has ended takes its time with it.
  if (table.ollama_ticks < before_->ollama_ticks) return;
  const double ollama = since(table.ollama_ticks, before_->ollama_ticks);
  machine.cpu_foreign = std::clamp((busy - ollama) / all, 0.0, 1.0);
}

void attribute(const ProcessTable& table, AgentReport& report) {
  for (auto& gpu : report.gpus) attribute_processes(table, gpu);
  for (const auto& server : table.servers)
    report.nodes.push_back(to_node(server, table, report.gpus));
}

}  // namespace sollol::agent

#include "watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace sollol::bench {
namespace {

namespace fs = std::filesystem;

std::string contents(const fs::path& file) {
  std::ifstream in(file);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

std::vector<fs::path> threads_of(pid_t process) {
  std::vector<fs::path> threads;
  std::error_code gone;
  for (const auto& entry : fs::directory_iterator(fmt::format("/proc/{}/task", process), gone)) {
    threads.push_back(entry.path());
  }
  return threads;
}

std::vector<pid_t> with_children(std::span<const pid_t> processes) {
  std::vector<pid_t> all(processes.begin(), processes.end());
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (const auto& thread : threads_of(all[i])) {
      std::istringstream children(contents(thread / "children"));
      for (pid_t child = 0; children >> child;) all.push_back(child);
    }
  }
  return all;
}

std::chrono::milliseconds from_ticks(std::uint64_t ticks) {
  return std::chrono::milliseconds(ticks * 1000 / static_cast<std::uint64_t>(sysconf(_SC_CLK_TCK)));
}

void add_cpu(pid_t process, ProcessUse& use) {
  for (const auto& thread : threads_of(process)) {
    std::istringstream schedule(contents(thread / "schedstat"));
    std::uint64_t ran_ns = 0;
    if (schedule >> ran_ns) use.cpu += std::chrono::nanoseconds(ran_ns);
  }
  const auto stat = contents(fmt::format("/proc/{}/stat", process));
  const auto name_end = stat.rfind(')');  // the name may hold spaces
  if (name_end == std::string::npos) return;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  for (int field = 3; field < 14; ++field) fields >> skipped;
  std::uint64_t user = 0;
  std::uint64_t system = 0;
  if (!(fields >> user >> system)) return;
  use.user += from_ticks(user);
  use.system += from_ticks(system);
}

void add_memory(pid_t process, ProcessUse& use) {
  std::istringstream rollup(contents(fmt::format("/proc/{}/smaps_rollup", process)));
  for (std::string line; std::getline(rollup, line);) {
    std::istringstream words(line);
    std::string key;
    std::uint64_t kib = 0;
    if (!(words >> key >> kib)) continue;
    if (key == "Rss:") use.rss_kib += kib;
    if (key == "Pss:") use.pss_kib += kib;
  }
}

}  // namespace

ProcessUse sample_cpu(std::span<const pid_t> processes) {
  ProcessUse use;
  for (const pid_t process : with_children(processes)) add_cpu(process, use);
  return use;
}

ProcessUse sample_memory(std::span<const pid_t> processes) {
  ProcessUse use;
  for (const pid_t process : with_children(processes)) add_memory(process, use);
  return use;
}

}  // namespace sollol::bench

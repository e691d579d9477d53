#pragma once

#include <filesystem>
#include <fstream>
#include <string>

#include "agent/roots.h"
#include "discovery/temporary_folder.h"

namespace sollol::agent {

/// A machine that is a folder: /proc, /sys, /etc, /run and /dev of a test's own.
class FakeMachine {
 public:
  FakeMachine() {
    for (const auto* root : {"proc", "sys", "etc", "run", "dev"})
      std::filesystem::create_directories(folder_ / root);
  }

  Roots roots() const {
    return {.proc = folder_ / "proc",
            .sys = folder_ / "sys",
            .etc = folder_ / "etc",
            .run = folder_ / "run",
            .dev = folder_ / "dev"};
  }

  void write(const std::string& path, std::string_view text) const {
    const std::filesystem::path whole(folder_ / path);
    std::filesystem::create_directories(whole.parent_path());
    std::ofstream(whole, std::ios::binary) << text;
  }

  void link(const std::string& path, const std::string& to) const {
    const std::filesystem::path whole(folder_ / path);
    std::filesystem::create_directories(whole.parent_path());
    std::filesystem::create_symlink(to, whole);
  }

  struct Process {
    int pid = 0;
    int parent = 1;
    std::string command = {};      // words separated by blanks
    std::string environment = {};  // lines NAME=value; empty: it may not be read
    int ticks = 0;
  };

  void run(const Process& process) const {
    const auto at = "proc/" + std::to_string(process.pid);
    write(at + "/stat", std::to_string(process.pid) + " (a (b) c) S " +
                            std::to_string(process.parent) + " 1 1 0 -1 4194560 1 0 0 0 " +
                            std::to_string(process.ticks) + " 0 0 0 20 0 1 0 100 1000 10\n");
    write(at + "/cmdline", nul_for(' ', process.command));
    if (!process.environment.empty()) write(at + "/environ", nul_for('\n', process.environment));
  }

  /// The process has this listening socket: address and port as the kernel prints them.
  void listens(int pid, const std::string& local, int inode) const {
    const auto at = "proc/" + std::to_string(pid);
    write(at + "/net/tcp",
          "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when "
          "retrnsmt   uid  timeout inode\n"
          "   0: 0100007F:1234 00000000:0000 0A 00000000:00000000 00:00000000 "
          "00000000     0        0 1 1 0 100 0 0 10 0\n"
          "   1: " +
              local +
              " 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999 "
              "       0 " +
              std::to_string(inode) + " 1 0 100 0 0 10 0\n");
    link(at + "/fd/0", "/dev/null");
    link(at + "/fd/3", "socket:[" + std::to_string(inode) + "]");
  }

 private:
  static std::string nul_for(char separator, std::string text) {
    for (char& c : text)
      if (c == separator) c = '\0';
    return text + '\0';
  }

  TemporaryFolder folder_;
};

}  // namespace sollol::agent

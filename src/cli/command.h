#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace sollol::cli {

/// Exit codes of every command (design §1).
enum ExitCode : int { exit_done = 0, exit_failed = 1, exit_wrong_usage = 2, exit_no_node = 3 };

/// What the chosen command runs; returns the exit code.
using Action = std::function<int()>;

/// Each command registers its flags on `root` and, when the user chose it, stores what to run in
/// `chosen`.
void add_up_command(CLI::App& root, Action& chosen);
void add_bench_command(CLI::App& root, Action& chosen);
void add_replay_command(CLI::App& root, Action& chosen);
void add_sim_command(CLI::App& root, Action& chosen);
void add_discover_command(CLI::App& root, Action& chosen);
void add_doctor_command(CLI::App& root, Action& chosen);
void add_nodes_command(CLI::App& root, Action& chosen);
void add_models_command(CLI::App& root, Action& chosen);
void add_status_command(CLI::App& root, Action& chosen);
void add_explain_command(CLI::App& root, Action& chosen);
void add_run_command(CLI::App& root, Action& chosen);
void add_batch_command(CLI::App& root, Action& chosen);
void add_keys_command(CLI::App& root, Action& chosen);
void add_import_command(CLI::App& root, Action& chosen);
void add_agent_command(CLI::App& root, Action& chosen);
void add_multi_gpu_command(CLI::App& root, Action& chosen);

}  // namespace sollol::cli

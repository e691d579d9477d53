#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>
#include <string>
#include <vector>

#include "base/version.h"
#include "cli/command.h"

namespace {

constexpr std::string_view about =
    "SOLLOL turns the machines that run Ollama into one inference service: one port that speaks "
    "Ollama's, OpenAI's and\n"
    "Anthropic's API and sends every request where it will finish first.\n\n"
    "Start here:\n"
    "  sollol up --node http://192.168.1.20:11434 --node http://192.168.1.21:11434\n"
    "  sollol up --demo            no Ollama at hand? a simulated fleet to try it on\n"
    "  sollol run llama3.2 \"Why is the sky blue?\"\n";

/// The command that was named last, as deep as the words were understood.
const CLI::App& deepest(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? app : deepest(*chosen.back());
}

/// What was wrong and what there is, in the words of the command that it was said to.
std::string wrong_usage(const CLI::App* app, const CLI::Error& error) {
  const CLI::App& command = deepest(*app);
  std::string name = command.get_name();
  for (const CLI::App* above = command.get_parent(); above != nullptr; above = above->get_parent())
    name = above->get_name() + " " + name;
  std::string problem = error.what();
  if (error.get_name() == "RequiredError" && command.get_require_subcommand_min() > 0) {
    std::string known;
    for (const CLI::App* one : command.get_subcommands([](const CLI::App*) { return true; }))
      known += (known.empty() ? "" : ", ") + one->get_name();
    const std::vector<std::string> words = app->remaining(true);
    problem = words.empty() ? "say which command" : "'" + words.front() + "' is no command of it";
    problem += ": " + known;
  }
  return name + ": " + problem + "\nMore: " + name + " --help\n";
}

}  // namespace

int main(int argc, char** argv) {
  using namespace sollol::cli;
  CLI::App app{std::string(about), "sollol"};
  app.set_version_flag("--version", std::string("sollol ") + sollol::version);
  app.require_subcommand(1);
  app.failure_message(wrong_usage);
  Action chosen;
  add_up_command(app, chosen);
  add_discover_command(app, chosen);
  add_doctor_command(app, chosen);
  add_nodes_command(app, chosen);
  add_models_command(app, chosen);
  add_status_command(app, chosen);
  add_explain_command(app, chosen);
  add_run_command(app, chosen);
  add_batch_command(app, chosen);
  add_keys_command(app, chosen);
  add_import_command(app, chosen);
  add_agent_command(app, chosen);
  add_multi_gpu_command(app, chosen);
  add_sim_command(app, chosen);
  add_bench_command(app, chosen);
  add_replay_command(app, chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    const int code = app.exit(e);
    return code == 0 ? exit_done : exit_wrong_usage;
  }
  try {
    return chosen();
  } catch (const std::exception& e) {
    std::cerr << "sollol: " << e.what() << "\n";
    return exit_failed;
  }
}

#include <CLI/CLI.hpp>
#include <exception>
#include <iostream>

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

}  // namespace

int main(int argc, char** argv) {
  using namespace sollol::cli;
  CLI::App app{std::string(about), "sollol"};
  app.set_version_flag("--version", std::string("sollol ") + sollol::version);
  app.require_subcommand(1);
  app.failure_message(CLI::FailureMessage::help);
  Action chosen;
  add_up_command(app, chosen);
  add_nodes_command(app, chosen);
  add_status_command(app, chosen);
  add_run_command(app, chosen);
  add_keys_command(app, chosen);
  add_import_command(app, chosen);
  add_sim_command(app, chosen);
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

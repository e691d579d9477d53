#include <fmt/format.h>

#include <cstdio>
#include <filesystem>
#include <memory>

#include "cli/command.h"
#include "cli/config_table.h"
#include "discovery/files.h"
#include "discovery/import.h"

namespace sollol::cli {
namespace {

enum class Overwrite : std::uint8_t { refuse, allow };

struct ImportArguments {
  std::string file;
  std::string output = "-";
  bool force = false;  // as CLI11 fills it
};

int fail(std::string_view message) {
  fmt::print(stderr, "sollol import: {}\n", message);
  return exit_failed;
}

/// Drops what sollol.toml would refuse, for instance a limit beyond ours, with a note; the rest
/// then loads.
void keep_valid(discovery::Imported& imported) {
  std::erase_if(imported.settings, [&](const discovery::ImportedSetting& setting) {
    Settings scratch;
    const auto* row = find_setting(setting.key);
    const auto value = std::visit([](const auto& plain) { return Value(plain); }, setting.value);
    const auto set = row == nullptr ? Result<void>(std::unexpected(bad_input("no such setting")))
                                    : set_value(scratch, *row, value);
    if (!set) imported.left_out.push_back(fmt::format("{}: {}", setting.key, set.error().detail));
    return !set;
  });
}

int write_output(const std::string& path, std::string_view toml, Overwrite overwrite) {
  if (path == "-") {
    fmt::print("{}", toml);
    return std::fflush(stdout) == 0 ? exit_done : fail("cannot write to standard output");
  }
  if (overwrite == Overwrite::refuse && std::filesystem::exists(path)) {
    return fail(
        fmt::format("{} is there already; give another --output, or --force to replace it", path));
  }
  const auto written = discovery::write_file_atomically(path, toml);
  if (!written) return fail(written.error().detail);
  fmt::print(stderr, "Wrote {}. Start the gateway on it: sollol up --config {}\n", path, path);
  return exit_done;
}

int run_import(const ImportArguments& arguments) {
  const auto text = discovery::read_file(arguments.file);
  if (!text) return fail(text.error().detail);
  auto imported = discovery::import_settings(*text, arguments.file);
  if (!imported) return fail(imported.error().detail);
  keep_valid(*imported);
  const auto name = std::filesystem::path(arguments.file).filename().string();
  const auto written = write_output(arguments.output, discovery::to_toml(*imported, name),
                                    arguments.force ? Overwrite::allow : Overwrite::refuse);
  if (written != exit_done) return written;
  fmt::print(stderr, "{}: {} nodes, {} settings taken over; {} things left out{}\n",
             imported->format, imported->nodes.size(), imported->settings.size(),
             imported->left_out.size(), imported->left_out.empty() ? "." : ":");
  for (const auto& note : imported->left_out) fmt::print(stderr, "  {}\n", note);
  return exit_done;
}

}  // namespace

void add_import_command(CLI::App& root, Action& chosen) {
  auto arguments = std::make_shared<ImportArguments>();
  auto* command =
      root.add_subcommand("import", "Turn the configuration of another gateway into a sollol.toml");
  command->add_option("FILE", arguments->file, "The file to read")->required();
  command->add_option("-o,--output", arguments->output, "Where to write; - is standard output")
      ->type_name("FILE")
      ->default_str("-");
  command->add_flag("--force", arguments->force, "Replace the output file if it is there already");
  command->footer(
      "Reads the YAML file of Olla (olla.yaml), LiteLLM (config.yaml with a model_list) or "
      "llama-swap\n"
      "(config.yaml with models or peers); which one it is shows in the content. Nodes, priorities "
      "and\n"
      "the settings that SOLLOL has too are taken over. The rest is listed, with the reason.\n\n"
      "Example:\n"
      "  sollol import olla.yaml --output sollol.toml\n"
      "  sollol up --config sollol.toml\n");
  command->callback(
      [arguments, &chosen] { chosen = [arguments] { return run_import(*arguments); }; });
}

}  // namespace sollol::cli

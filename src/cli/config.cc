#include "cli/config.h"

#include <fmt/format.h>

#include <charconv>

#include "cli/config_table.h"
#include "discovery/files.h"

namespace sollol::cli {
namespace {

/// The file to read and its text; an empty path when there is none.
struct Found {
  std::string path;
  std::string text;
};
Result<Found> find_config(const Environment& environment,
                          const std::optional<std::string>& wanted) {
  if (wanted) {
    const auto path = discovery::expand_home(*wanted, environment);
    auto text = discovery::read_file(path);
    if (!text) return std::unexpected(text.error());
    return Found{path, *std::move(text)};
  }
  for (auto& path : config_candidates(environment)) {
    auto text = discovery::read_file(path);
    if (text) return Found{std::move(path), *std::move(text)};
    if (text.error().kind != ErrorKind::not_found) return std::unexpected(text.error());
  }
  return Found{};
}

void note(std::string& mistakes, std::string_view where, const Result<void>& outcome) {
  if (outcome) return;
  mistakes += fmt::format("{}{}: {}", mistakes.empty() ? "" : "\n", where, outcome.error().detail);
}

Result<void> apply_environment(Settings& settings, const Environment& environment) {
  std::string mistakes;
  for (const auto& setting : settings_table()) {
    const auto name = env_name(setting);
    const auto value = environment.get(name);
    if (value && !value->empty()) note(mistakes, name, set_text(settings, setting, *value));
  }
  if (mistakes.empty()) return {};
  return std::unexpected(bad_input(std::move(mistakes)));
}

Result<void> apply_flags(Settings& settings, const FlagValues& flags) {
  std::string mistakes;
  for (const auto& [key, value] : flags) {
    const auto* setting = find_setting(key);
    if (setting == nullptr)
      note(mistakes, key, Result<void>(std::unexpected(bad_input("no such setting"))));
    else
      note(mistakes, flag_name(*setting), set_text(settings, *setting, value));
  }
  if (mistakes.empty()) return {};
  return std::unexpected(bad_input(std::move(mistakes)));
}

}  // namespace

Result<LoadedSettings> load_settings(const Environment& environment, const LoadOptions& options) {
  auto found = find_config(environment, options.config_file);
  if (!found) return std::unexpected(found.error());
  LoadedSettings loaded{{}, std::move(found->path)};
  if (!loaded.file.empty()) {
    const auto read = apply_toml(loaded.settings, found->text, loaded.file);
    if (!read) return std::unexpected(read.error());
  }
  const auto from_environment = apply_environment(loaded.settings, environment);
  if (!from_environment) return std::unexpected(from_environment.error());
  const auto from_flags = apply_flags(loaded.settings, options.flags);
  if (!from_flags) return std::unexpected(from_flags.error());
  return loaded;
}

std::vector<std::string> config_candidates(const Environment& environment) {
  std::vector<std::string> paths;
  const auto xdg = environment.get("XDG_CONFIG_HOME").value_or("");
  const auto home = environment.get("HOME").value_or("");
  if (!xdg.empty())
    paths.push_back(xdg + "/sollol/sollol.toml");
  else if (!home.empty())
    paths.push_back(home + "/.config/sollol/sollol.toml");
  paths.emplace_back("/etc/sollol/sollol.toml");
  return paths;
}

Result<ListenAddress> parse_listen(std::string_view text) {
  const auto fail = [&] {
    return std::unexpected(
        bad_input(fmt::format("\"{}\" is no address to listen at; write 127.0.0.1:11434, "
                              "[::1]:11434, or :11434 for all interfaces",
                              text)));
  };
  ListenAddress address;
  auto host = text;
  std::string_view port;
  const auto colon = text.rfind(':');
  const bool bare_v6 = !text.starts_with('[') && text.find(':') != colon;
  const bool closed_last = text.ends_with(']');
  if (colon != std::string_view::npos && !bare_v6 && !closed_last) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
    const auto [stop, bad] = std::from_chars(port.data(), port.data() + port.size(), address.port);
    if (bad != std::errc{} || stop != port.data() + port.size()) return fail();
  } else {
    address.port = discovery::default_port;
  }
  if (host.empty() && port.empty()) return fail();
  if (host.empty()) host = "0.0.0.0";
  // The rules for a node's host are ours too; only the addresses of all interfaces keep their
  // meaning here.
  const bool everywhere = host == "0.0.0.0" || host == "[::]" || host == "::";
  if (everywhere) {
    address.host = host == "0.0.0.0" ? "0.0.0.0" : "::";
    return address;
  }
  const auto node = discovery::parse_node_url(host);
  if (!node || !node->path_prefix.empty() || host.find('/') != std::string_view::npos)
    return fail();
  address.host = node->host;
  return address;
}

}  // namespace sollol::cli

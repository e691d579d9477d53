// sollol keys: the file of API keys.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <memory>

#include "cli/command.h"
#include "cli/config.h"
#include "discovery/files.h"
#include "gateway/keys.h"

namespace sollol::cli {

namespace json = boost::json;
using gateway::KeyRecord;

namespace {

struct KeysArguments {
  std::string config;
  std::string file;  // --keys-file
  bool as_json = false;
  std::string name;
  std::vector<std::string> models;
  std::string priority = "normal";
  std::string rate;
  std::uint32_t concurrency = 0;
  bool admin = false;
  bool manage = false;
};

int fail(std::string_view message, ExitCode code = exit_failed) {
  fmt::print(stderr, "sollol keys: {}\n", message);
  return code;
}

/// The keys file: the flag, else what the settings say.
Result<std::string> keys_path(const KeysArguments& arguments) {
  const ProcessEnvironment environment;
  if (!arguments.file.empty()) return discovery::expand_home(arguments.file, environment);
  LoadOptions load;
  if (!arguments.config.empty()) load.config_file = arguments.config;
  const auto loaded = load_settings(environment, load);
  if (!loaded) return std::unexpected(loaded.error());
  if (loaded->settings.keys_file.empty()) {
    return std::unexpected(
        bad_input("no keys file is configured: name one with --keys-file FILE, or set keys_file in "
                  "sollol.toml"));
  }
  return discovery::expand_home(loaded->settings.keys_file, environment);
}

Result<std::vector<KeyRecord>> read_keys(const std::string& path) {
  const auto text = discovery::read_file(path);
  if (!text && text.error().kind == ErrorKind::not_found) return std::vector<KeyRecord>();
  if (!text) return std::unexpected(text.error());
  return gateway::parse_keys(*text, path);
}

/// Only its owner may read the file, from its first moment on.
Result<void> write_keys(const std::string& path, const std::vector<KeyRecord>& keys) {
  const mode_t before = ::umask(0077);
  auto written = discovery::write_file_atomically(path, gateway::keys_text(keys));
  ::umask(before);
  if (written) ::chmod(path.c_str(), 0600);
  return written;
}

/// `60`, `60/min`: requests a minute.
std::optional<std::uint32_t> parse_rate(std::string_view text) {
  if (text.empty()) return 0;
  for (const std::string_view unit : {"/minute", "/min", "/m"}) {
    if (!text.ends_with(unit)) continue;
    text.remove_suffix(unit.size());
    break;
  }
  std::uint32_t rate = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), rate);
  if (bad != std::errc{} || end != text.data() + text.size() || rate == 0) return std::nullopt;
  return rate;
}

std::string_view priority_of(const KeyRecord& key) {
  return key.urgency == cluster::Urgency::interactive ? "high"
         : key.urgency == cluster::Urgency::batch     ? "low"
                                                      : "normal";
}

json::object key_json(const KeyRecord& key) {
  return {{"id", key.id},
          {"name", key.name},
          {"models", json::value_from(key.models)},
          {"priority", priority_of(key)},
          {"rate_per_minute", key.rate_per_minute},
          {"concurrency", key.concurrency},
          {"manage", key.may_manage()},
          {"admin", key.admin}};
}

constexpr std::string_view take_up =
    "A running gateway takes it up when it reloads: SIGHUP, or `systemctl reload sollol`.\n";

int add_key(const KeysArguments& arguments) {
  const auto path = keys_path(arguments);
  if (!path) return fail(path.error().detail, exit_wrong_usage);
  auto keys = read_keys(*path);
  if (!keys) return fail(keys.error().detail);
  if (std::ranges::find(*keys, arguments.name, &KeyRecord::name) != keys->end())
    return fail(fmt::format("a key called '{}' exists in {}", arguments.name, *path));
  const auto rate = parse_rate(arguments.rate);
  if (!rate) return fail("--rate: expected requests a minute, as 60/min", exit_wrong_usage);
  KeyRecord key;
  key.name = arguments.name;
  key.models = arguments.models;
  if (arguments.priority == "high") key.urgency = cluster::Urgency::interactive;
  if (arguments.priority == "low") key.urgency = cluster::Urgency::batch;
  key.rate_per_minute = *rate;
  key.concurrency = arguments.concurrency;
  key.manage = arguments.manage;
  key.admin = arguments.admin;
  const std::string token = gateway::make_token(key);
  keys->push_back(key);
  // What would not be read again is not written.
  if (const auto good = gateway::parse_keys(gateway::keys_text({&key, 1}), "the new key"); !good)
    return fail(good.error().detail, exit_wrong_usage);
  if (const auto written = write_keys(*path, *keys); !written) return fail(written.error().detail);
  if (arguments.as_json) {
    json::object out = key_json(key);
    out["key"] = token;
    fmt::print("{}\n", json::serialize(out));
    return exit_done;
  }
  fmt::print("{}\n", token);
  fmt::print(stderr, "This is key '{}', shown once: keep it. Its hash is in {}.\n{}", key.name,
             *path, take_up);
  return exit_done;
}

int list_keys(const KeysArguments& arguments) {
  const auto path = keys_path(arguments);
  if (!path) return fail(path.error().detail, exit_wrong_usage);
  const auto keys = read_keys(*path);
  if (!keys) return fail(keys.error().detail);
  if (arguments.as_json) {
    json::array all;
    for (const KeyRecord& key : *keys) all.push_back(key_json(key));
    fmt::print("{}\n", json::serialize(json::object{{"keys", std::move(all)}}));
    return exit_done;
  }
  fmt::print("{:<16}  {:<20} {:<8} {:>8} {:>11} {:<7} {}\n", "ID", "NAME", "PRIORITY", "RATE/MIN",
             "CONCURRENCY", "MAY", "MODELS");
  const auto limit = [](std::uint32_t n) { return n == 0 ? std::string("-") : std::to_string(n); };
  for (const KeyRecord& key : *keys) {
    fmt::print(
        "{:<16}  {:<20} {:<8} {:>8} {:>11} {:<7} {}\n", key.id, key.name, priority_of(key),
        limit(key.rate_per_minute), limit(key.concurrency),
        key.admin    ? "admin"
        : key.manage ? "manage"
                     : "use",
        key.models.empty() ? std::string("all") : fmt::format("{}", fmt::join(key.models, ",")));
  }
  return exit_done;
}

int remove_key(const KeysArguments& arguments) {
  const auto path = keys_path(arguments);
  if (!path) return fail(path.error().detail, exit_wrong_usage);
  auto keys = read_keys(*path);
  if (!keys) return fail(keys.error().detail);
  const auto removed = std::erase_if(*keys, [&](const KeyRecord& key) {
    return key.name == arguments.name || key.id == arguments.name;
  });
  if (removed == 0)
    return fail(
        fmt::format("no key is called '{}'; `sollol keys list` lists them", arguments.name));
  if (const auto written = write_keys(*path, *keys); !written) return fail(written.error().detail);
  fmt::print("removed {}\n{}", arguments.name, take_up);
  return exit_done;
}

}  // namespace

void add_keys_command(CLI::App& root, Action& chosen) {
  CLI::App* keys = root.add_subcommand("keys", "The API keys of a gateway: add, list, remove");
  keys->description(
      "Keeps the file of API keys that the setting keys_file names. With it, a gateway asks every "
      "request for a key.\n\n"
      "Examples:\n  sollol keys add alice --models 'llama3.2,qwen*' --rate 60/min\n"
      "  sollol keys add operator --admin\n  sollol keys list");
  auto arguments = std::make_shared<KeysArguments>();
  keys->add_option("--config", arguments->config, "Read settings from this file")
      ->type_name("FILE");
  keys->add_option("--keys-file", arguments->file, "The keys file; default: the setting keys_file")
      ->type_name("FILE");
  keys->add_flag("--json", arguments->as_json, "Print JSON");
  keys->require_subcommand(1);
  keys->fallthrough();

  CLI::App* add = keys->add_subcommand("add", "Make a key and print it, once");
  add->add_option("name", arguments->name, "Whose it is: for lists and logs")->required();
  add->add_option("--models", arguments->models, "The models it may use; `*` for any text")
      ->delimiter(',')
      ->type_name("A,B,...");
  add->add_option("--priority", arguments->priority, "The most urgent class it may ask for")
      ->check(CLI::IsMember({"high", "normal", "low"}));
  add->add_option("--rate", arguments->rate, "Requests a minute: 60/min");
  add->add_option("--concurrency", arguments->concurrency, "Requests at once");
  add->add_flag("--manage", arguments->manage, "May pull, create, copy, push and delete models");
  add->add_flag("--admin", arguments->admin, "May do everything, /sollol/v1 and /metrics included");
  add->callback([&chosen, arguments] { chosen = [arguments] { return add_key(*arguments); }; });

  keys->add_subcommand("list", "List the keys")->callback([&chosen, arguments] {
    chosen = [arguments] { return list_keys(*arguments); };
  });
  CLI::App* remove = keys->add_subcommand("remove", "Take a key out of force");
  remove->add_option("name", arguments->name, "The key's name or id")->required();
  remove->callback(
      [&chosen, arguments] { chosen = [arguments] { return remove_key(*arguments); }; });
}

}  // namespace sollol::cli

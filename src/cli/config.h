#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/environment.h"
#include "base/result.h"
#include "base/time.h"
#include "discovery/node_spec.h"
#include "discovery/source.h"

namespace sollol::cli {

using namespace std::chrono_literals;

/// Requests that wait for a node.
struct QueueSettings {
  std::uint64_t max_waiting = 1024;
  Duration max_wait = 300s;
  std::uint64_t max_waiting_per_client = 256;
};

/// What one client may take.
struct LimitSettings {
  std::uint64_t head_bytes = 65536;
  std::uint64_t headers = 128;
  Duration head_timeout = 10s;
  Duration idle_timeout = 75s;
  std::uint64_t intent_body_bytes = 67108864;
  std::uint64_t unpacked_body_bytes = 20971520;
  std::uint64_t requests_total_bytes = 1073741824;
  Duration body_timeout = 300s;
  std::uint64_t connections = 20000;
  Duration body_idle_timeout = 60s;
};

/// Connections to nodes.
struct UpstreamSettings {
  Duration connect_timeout = 2s;
  Duration response_timeout = 0s;  // 0: none
  std::uint64_t idle_connections = 64;
  Duration idle_timeout = 60s;
  Duration head_timeout = 30s;
  std::uint64_t record_bytes = 16777216;
  std::uint64_t answer_bytes = 1073741824;
};

struct RetrySettings {
  std::uint64_t attempts = 2;
  std::uint64_t budget_percent = 20;
};

/// Second tries in parallel, where the first is unusually late.
struct HedgeSettings {
  std::string enabled = "off";
  std::uint64_t budget_percent = 5;
  Duration delay_min = 100ms;
  std::uint64_t tokens_max = 64;
};

/// Loads of models.
struct LoadSettings {
  std::string owner = "gateway";  // or "request"
  Duration timeout = 1800s;
  std::uint64_t thrash_loads = 5;
  Duration thrash_window = 600s;
};

/// Which models are in the memory of which nodes.
struct ModelsSettings {
  std::string placement = "advised";  // or "off", "automatic"
  std::uint64_t hot_per_hour = 12;
  std::uint64_t utilisation_percent = 70;
  Duration pause = 600s;
  std::uint64_t loads_at_once = 2;
  Duration interval = 5s;
};

/// Answers that come piece by piece.
struct StreamSettings {
  Duration heartbeat = 10s;  // 0: none
  std::string resume = "on";
  std::uint64_t resume_body_bytes = 1048576;
  std::uint64_t resume_text_bytes = 262144;
  std::string stall_detection = "on";
  Duration stall_timeout = 0s;  // 0: learnt, from stall_min to stall_max
  Duration stall_min = 10s;
  Duration stall_max = 120s;
};

/// Health checks and outlier ejection.
struct HealthSettings {
  Duration interval = 500ms;
  Duration suspect_after = 400ms;
  Duration timeout = 2s;
  Duration tags_interval = 10s;
  Duration ps_interval = 2s;
  Duration ps_timeout = 10s;
  std::uint64_t failures_to_eject = 2;
  Duration ejection_base = 1s;
  Duration ejection_max = 60s;
  std::uint64_t error_rate_percent = 50;
  std::uint64_t window_requests = 20;
  std::uint64_t list_bytes = 33554432;
  std::uint64_t models_per_node = 10000;
};

/// Stopping.
struct DrainSettings {
  Duration timeout = 30s;
  Duration idle_grace = 1s;
};

struct LogSettings {
  std::string level = "info";
  std::string access = "on";  // "on", "off" or the path of a file
  std::string node_errors = "off";
};

struct CorsSettings {
  std::vector<std::string> origins = {};
};

/// TLS of the listening side, and whom https nodes are trusted by.
struct TlsSettings {
  std::string cert = {};
  std::string key = {};
  std::string ca = {};
  Duration handshake_timeout = 10s;
};

struct AccessSettings {
  std::vector<std::string> node_networks = {};
  std::vector<std::string> hosts = {};
};

/// Looking for nodes on the network.
struct DiscoverySettings {
  Duration timeout = 500ms;
  Duration interval = 60s;
  Duration forget = 3600s;
  std::vector<std::string> ports = {"11434"};
  std::vector<std::string> subnets = {};
  std::string exclude_localhost = "off";
  std::string discover_all_nodes = "on";
  std::string auto_resolve_docker = "on";
  std::vector<std::string> sources = {discovery::source_names.begin(),
                                      discovery::source_names.end()};
  std::string save = "off";
  std::string announce = "on";
  Duration wake_interval = 30s;
  Duration wake_time = 60s;
};

/// Measuring which nodes slow each other.
struct LocalitySettings {
  std::string passive = "on";
  std::uint64_t remember_days = 30;
  std::uint64_t measure_requests = 600;
  std::uint64_t measure_tokens = 256;
  Duration measure_work = 1s;
  Duration measure_timeout = 60s;
  Duration measure_time = 900s;
};

/// Asking the agents on the nodes' machines.
struct AgentSettings {
  std::uint64_t port = 11436;
  std::string token_file = {};
  Duration interval = 5s;
  Duration timeout = 2s;
  std::string pause_for_owner = "off";
  Duration owner_idle = 300s;
};

/// Everything a user can set, with its default. config_table.h says what each means.
struct Settings {
  std::string listen = "127.0.0.1:11434";
  std::string io = "io_uring";
  std::uint64_t workers = 0;  // 0: as many as cores
  std::string policy = "expected_completion";
  std::uint64_t slots = 0;  // 0: learnt
  std::string node_file = "~/.synapticllamas_nodes.json";
  std::string state_file = "$XDG_STATE_HOME/sollol/state-{port}.db";
  Duration state_interval = 10s;
  QueueSettings queue = {};
  LimitSettings limits = {};
  UpstreamSettings upstream = {};
  RetrySettings retry = {};
  HedgeSettings hedge = {};
  LoadSettings load = {};
  ModelsSettings models = {};
  std::string auto_pull = "off";
  std::vector<std::string> pin_num_ctx = {};  // "MODEL=TOKENS"
  StreamSettings stream = {};
  HealthSettings health = {};
  LogSettings log = {};
  CorsSettings cors = {};
  DrainSettings drain = {};
  TlsSettings tls = {};
  std::string keys_file = {};
  AccessSettings access = {};
  std::string auto_discover = "on";
  DiscoverySettings discovery = {};
  LocalitySettings locality = {};
  AgentSettings agents = {};
  std::vector<discovery::NodeSpec> nodes = {};  // [[nodes]] of sollol.toml
};

/// Values given by flags, by key: {"queue.max_waiting", "10"}.
using FlagValues = std::map<std::string, std::string, std::less<>>;

struct LoadOptions {
  std::optional<std::string> config_file = {};  // --config; must exist
  FlagValues flags = {};
};

struct LoadedSettings {
  Settings settings;
  std::string file;  // the sollol.toml that was read; empty when there was none
};

/// Built-in defaults, then the first sollol.toml found, then SOLLOL_* variables, then flags; the
/// later wins.
///
/// Error: bad_input with every mistake of the failing stage, one a line, each naming place, key and
/// mend; not_found when the file of --config is missing.
Result<LoadedSettings> load_settings(const Environment& environment,
                                     const LoadOptions& options = {});

/// Where sollol.toml is looked for, first first: $XDG_CONFIG_HOME (else ~/.config), then /etc.
std::vector<std::string> config_candidates(const Environment& environment);

/// Applies the text of a sollol.toml over `settings`; `path` is for messages. Errors as
/// load_settings.
Result<void> apply_toml(Settings& settings, std::string_view text, std::string_view path);

/// An address to listen at.
struct ListenAddress {
  std::string host;        // a numeric address without brackets, or `localhost`
  std::uint16_t port = 0;  // 0: any free one
  friend bool operator==(const ListenAddress&, const ListenAddress&) = default;
};

/// Parses `host:port`, `host`, `[v6]:port`, or `:port` for all interfaces; no port means 11434.
Result<ListenAddress> parse_listen(std::string_view text);

}  // namespace sollol::cli

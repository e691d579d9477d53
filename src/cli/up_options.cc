#include "cli/up_options.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "discovery/environment_nodes.h"
#include "discovery/files.h"
#include "discovery/node_file.h"
#include "gateway/nodes.h"
#include "net/address.h"

namespace sollol::cli {

Result<KnownNodes> known_nodes(const Settings& settings, const UpArguments& arguments,
                               const Environment& environment) {
  KnownNodes known;
  discovery::NodeSources sources;
  for (const std::string& flag : arguments.nodes) {
    auto node = discovery::parse_node_flag(flag);
    if (!node) return std::unexpected(node.error());
    sources.flags.push_back(std::move(*node));
  }
  const auto heard = discovery::Sources::parse(settings.discovery.sources);
  if (!heard) return std::unexpected(heard.error());
  if (heard->has(discovery::Source::config)) sources.config = settings.nodes;
  known.discover = settings.auto_discover == "on" && arguments.nodes.empty() && !arguments.demo;
  const bool node_file = arguments.use_node_file && heard->has(discovery::Source::node_file);
  if (node_file && !settings.node_file.empty()) {
    const auto path = discovery::expand_home(settings.node_file, environment);
    auto file = discovery::NodeFile::load(path);
    if (file) {
      (known.discover ? known.written : sources.node_file) = file->nodes();
      known.mistakes = file->warnings();
    } else if (file.error().kind != ErrorKind::not_found) {
      known.mistakes.push_back(file.error().detail);
    }
  }
  discovery::EnvironmentNodes from_environment = discovery::nodes_from_environment(environment);
  if (heard->has(discovery::Source::ollama_host))
    sources.ollama_host = from_environment.ollama_host;
  if (heard->has(discovery::Source::config)) sources.base_urls = from_environment.base_urls;
  std::ranges::move(from_environment.warnings, std::back_inserter(known.warnings));
  known.nodes = discovery::merge_nodes(sources);

  // OLLAMA_HOST often names this very gateway, for the clients of the same shell: it is no node
  // then.
  if (const auto listen = parse_listen(settings.listen)) {
    std::erase_if(known.nodes, [&](const discovery::NodeSpec& node) {
      const bool loopback =
          node.host == "localhost" || node.host.starts_with("127.") || node.host == "::1";
      const bool everywhere = listen->host == "0.0.0.0" || listen->host == "::";
      const bool same =
          node.port == listen->port && (node.host == listen->host || (everywhere && loopback));
      if (same)
        known.warnings.push_back(node.url + " (" + node.origin +
                                 ") is this gateway's own address: left out");
      return same;
    });
  }
  return known;
}

namespace {

/// "llama3*=8192"
Result<gateway::ContextPin> parse_pin(std::string_view text) {
  constexpr std::uint32_t num_ctx_min = 4;  // of Ollama's
  const std::size_t equals = text.rfind('=');
  gateway::ContextPin pin{.models = std::string(text.substr(0, equals))};
  if (equals != std::string_view::npos && equals > 0) {
    const char* const end = text.data() + text.size();
    const auto [stop, bad] = std::from_chars(text.data() + equals + 1, end, pin.num_ctx);
    if (bad == std::errc{} && stop == end && pin.num_ctx >= num_ctx_min) return pin;
  }
  return std::unexpected(bad_input(fmt::format(
      "pin_num_ctx: '{}' is no model and number of tokens from {}; write llama3.2=8192 or "
      "qwen*=32768",
      text, num_ctx_min)));
}

}  // namespace

Result<gateway::Options> gateway_options(const Settings& settings) {
  gateway::Options options;
  const auto listen = parse_listen(settings.listen);
  if (!listen) return std::unexpected(listen.error());
  options.listen = {listen->host == "localhost" ? "127.0.0.1" : listen->host, listen->port};
  options.workers = settings.workers > 0 ? static_cast<std::uint32_t>(settings.workers)
                                         : std::max(1u, std::thread::hardware_concurrency());
  options.io = settings.io == "io_uring" ? gateway::Io::io_uring : gateway::Io::epoll;
  const auto policy = routing::parse_policy(settings.policy);
  if (!policy) return std::unexpected(policy.error());
  options.policy = *policy;
  options.queue = {
      .waiting_max = static_cast<std::uint32_t>(settings.queue.max_waiting),
      .waiting_per_client_max = static_cast<std::uint32_t>(settings.queue.max_waiting_per_client),
      .wait_max = settings.queue.max_wait};
  options.client = {
      .head = {.bytes_max = settings.limits.head_bytes, .fields_max = settings.limits.headers},
      .head_timeout = settings.limits.head_timeout,
      .idle_timeout = settings.limits.idle_timeout,
      .stall_timeout = settings.limits.body_idle_timeout,
      .body_max = settings.limits.intent_body_bytes,
      .body_timeout = settings.limits.body_timeout,
      .unpacked_max = settings.limits.unpacked_body_bytes,
      .requests_total_max = settings.limits.requests_total_bytes,
      .connections_max = static_cast<std::uint32_t>(settings.limits.connections)};
  options.upstream.connect_timeout = settings.upstream.connect_timeout;
  options.upstream.response_timeout = settings.upstream.response_timeout;
  options.upstream.idle_connections_max =
      static_cast<std::uint32_t>(settings.upstream.idle_connections);
  options.upstream.idle_timeout = settings.upstream.idle_timeout;
  options.upstream.head_timeout = settings.upstream.head_timeout;
  options.upstream.record_max = settings.upstream.record_bytes;
  options.upstream.answer_max = settings.upstream.answer_bytes;
  options.retry = {.attempts_max = static_cast<std::uint32_t>(settings.retry.attempts),
                   .budget_percent = static_cast<std::uint32_t>(settings.retry.budget_percent)};
  options.hedge = {.enabled = settings.hedge.enabled == "on",
                   .budget_percent = static_cast<std::uint32_t>(settings.hedge.budget_percent),
                   .delay_min = settings.hedge.delay_min,
                   .tokens_max = static_cast<std::uint32_t>(settings.hedge.tokens_max)};
  options.load.owner = settings.load.owner == "gateway" ? gateway::LoadOptions::Owner::gateway
                                                        : gateway::LoadOptions::Owner::request;
  options.load.timeout = settings.load.timeout;
  options.load.thrash = {.loads_max = static_cast<std::uint32_t>(settings.load.thrash_loads),
                         .window = settings.load.thrash_window};
  using Placing = gateway::ResidencyOptions::Mode;
  options.residency = {
      .mode = settings.models.placement == "automatic" ? Placing::automatic
              : settings.models.placement == "advised" ? Placing::advised
                                                       : Placing::off,
      .auto_pull = settings.auto_pull == "on",
      .limits = {.hot_per_hour = static_cast<double>(settings.models.hot_per_hour),
                 .utilisation = static_cast<double>(settings.models.utilisation_percent) / 100,
                 .pause = settings.models.pause,
                 .loads_at_once = static_cast<std::uint32_t>(settings.models.loads_at_once)},
      .interval = settings.models.interval};
  for (const std::string& text : settings.pin_num_ctx) {
    auto pin = parse_pin(text);
    if (!pin) return std::unexpected(pin.error());
    options.context_pins.push_back(*std::move(pin));
  }
  options.stream.heartbeat = settings.stream.heartbeat;
  options.resume = {.enabled = settings.stream.resume == "on",
                    .body_max = settings.stream.resume_body_bytes,
                    .text_max = settings.stream.resume_text_bytes};
  options.stall = {.enabled = settings.stream.stall_detection == "on",
                   .fixed = settings.stream.stall_timeout,
                   .least = settings.stream.stall_min,
                   .most = settings.stream.stall_max};
  options.probe.interval = settings.health.interval;
  options.probe.timeout = settings.health.timeout;
  options.probe.tags_interval = settings.health.tags_interval;
  options.probe.ps_interval = settings.health.ps_interval;
  options.probe.ps_timeout = settings.health.ps_timeout;
  options.probe.body_max = settings.health.list_bytes;
  options.probe.models_max = settings.health.models_per_node;
  options.health.suspect_after = settings.health.suspect_after;
  options.health.dead_after = settings.health.timeout;
  options.health.failures_to_eject = static_cast<unsigned>(settings.health.failures_to_eject);
  options.health.ejection_base = settings.health.ejection_base;
  options.health.ejection_max = settings.health.ejection_max;
  options.health.error_rate_percent = static_cast<unsigned>(settings.health.error_rate_percent);
  options.health.window_requests = static_cast<unsigned>(settings.health.window_requests);
  options.drain = {.timeout = settings.drain.timeout, .idle_grace = settings.drain.idle_grace};
  options.state.interval = settings.state_interval;
  options.locality = {
      .passive = settings.locality.passive == "on",
      .remember = std::chrono::hours(24) * static_cast<int>(settings.locality.remember_days),
      .requests_max = static_cast<std::uint32_t>(settings.locality.measure_requests),
      .tokens_max = static_cast<std::uint32_t>(settings.locality.measure_tokens),
      .work = settings.locality.measure_work,
      .request_timeout = settings.locality.measure_timeout,
      .time_max = settings.locality.measure_time};
  options.agents = {
      .port = static_cast<std::uint16_t>(settings.agents.port),
      .token_file = discovery::expand_home(settings.agents.token_file, ProcessEnvironment()),
      .interval = settings.agents.interval,
      .timeout = settings.agents.timeout,
      .pause_for_owner = settings.agents.pause_for_owner == "on",
      .owner_idle = settings.agents.owner_idle};
  options.discovery.interval = settings.discovery.interval;
  options.discovery.forget_after = settings.discovery.forget;
  options.discovery.scan.timeout = settings.discovery.timeout;
  options.discovery.scan.subnets = settings.discovery.subnets;
  options.discovery.announce = settings.discovery.announce == "on";
  options.discovery.wake = {.interval = settings.discovery.wake_interval,
                            .time = settings.discovery.wake_time};
  options.discovery.save = settings.discovery.save == "on";
  options.discovery.scan.exclude_localhost = settings.discovery.exclude_localhost == "on";
  options.discovery.scan.discover_all_nodes = settings.discovery.discover_all_nodes == "on";
  options.discovery.scan.auto_resolve_docker = settings.discovery.auto_resolve_docker == "on";
  const auto sources = discovery::Sources::parse(settings.discovery.sources);
  if (!sources) return std::unexpected(bad_input("discovery.sources: " + sources.error().detail));
  options.discovery.scan.sources = *sources;
  options.discovery.scan.ports.clear();
  for (const std::string& text : settings.discovery.ports) {
    std::uint16_t port = 0;
    const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), port);
    if (bad != std::errc{} || end != text.data() + text.size() || port == 0)
      return std::unexpected(
          bad_input("discovery.ports: '" + text + "' is no port from 1 to 65535"));
    options.discovery.scan.ports.push_back(port);
  }
  options.cors_origins = settings.cors.origins;
  options.tls = {.certificate_file = settings.tls.cert,
                 .key_file = settings.tls.key,
                 .ca_file = settings.tls.ca,
                 .handshake_timeout = settings.tls.handshake_timeout};
  options.access.keys_file = discovery::expand_home(settings.keys_file, ProcessEnvironment());
  options.access.hosts = settings.access.hosts;
  for (const std::string& text : settings.access.node_networks) {
    auto network = net::Network::parse(text);
    if (!network)
      return std::unexpected(bad_input("access.node_networks: " + network.error().detail));
    options.access.node_networks.push_back(*network);
  }
  options.access_log = settings.log.access == "on"    ? gateway::AccessLog::to_stderr
                       : settings.log.access == "off" ? gateway::AccessLog::off
                                                      : gateway::AccessLog::to_file;
  options.access_log_file = settings.log.access;
  options.log_node_errors = settings.log.node_errors == "on";
  return options;
}

std::string state_path(const Settings& settings, const Address& listen,
                       const Environment& environment) {
  constexpr std::string_view state_home = "$XDG_STATE_HOME";
  constexpr std::string_view port = "{port}";
  if (settings.state_file == "off") return {};
  std::string path = settings.state_file;
  if (path.starts_with(state_home)) {
    const std::string home = environment.get("XDG_STATE_HOME").value_or("");
    path = (home.empty() ? "~/.local/state" : home) + path.substr(state_home.size());
  }
  if (const std::size_t at = path.find(port); at != std::string::npos) {
    if (listen.port == 0) return {};
    path.replace(at, port.size(), std::to_string(listen.port));
  }
  path = discovery::expand_home(path, environment);
  return path.starts_with('~') ? std::string() : path;
}

Result<Plan> make_plan(const Environment& environment, const LoadOptions& load,
                       const UpArguments& arguments) {
  auto loaded = load_settings(environment, load);
  if (!loaded) return std::unexpected(loaded.error());
  auto options = gateway_options(loaded->settings);
  if (!options) return std::unexpected(options.error());
  auto known = known_nodes(loaded->settings, arguments, environment);
  if (!known) return std::unexpected(known.error());
  for (discovery::NodeSpec& node : known->nodes) {
    if (!node.slots && loaded->settings.slots > 0)
      node.slots = static_cast<std::uint32_t>(loaded->settings.slots);
  }
  options->discovery.enabled = known->discover;
  for (const discovery::NodeSpec& node : known->written)
    options->discovery.known.push_back(gateway::to_node_info(node));
  if (arguments.use_node_file && !loaded->settings.node_file.empty())
    options->node_file = discovery::expand_home(loaded->settings.node_file, environment);
  options->state.file = state_path(loaded->settings, options->listen, environment);
  return Plan{std::move(*options),     std::move(known->nodes),    loaded->settings.log.level,
              std::move(loaded->file), std::move(known->warnings), std::move(known->mistakes)};
}

}  // namespace sollol::cli

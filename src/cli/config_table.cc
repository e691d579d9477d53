#include "cli/config_table.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cassert>
#include <charconv>
#include <cmath>
#include <utility>

#include "discovery/text.h"

namespace sollol::cli {
namespace {

constexpr double a_day_s = 86400;

std::vector<Setting> make_table() {
  using S = Settings;
  return {
      {"listen", [](S& s) -> Field { return &s.listen; },
       "Address and port to serve at; `:11434` serves on all interfaces."},
      {"workers", [](S& s) -> Field { return &s.workers; },
       "Threads that serve requests; 0 means one for each core.", 0, 1024},
      {"io",
       [](S& s) -> Field { return &s.io; },
       "How sockets are served: `io_uring` costs less CPU, and falls back to epoll where the "
       "kernel "
       "does not allow it (before 6.1, and in containers that forbid it).",
       0,
       0,
       {"epoll", "io_uring"}},
      {"policy",
       [](S& s) -> Field { return &s.policy; },
       "How a node is chosen among those of the best available priority. `sollol bench policies` "
       "compares them; `lmetric`, `peak_ewma` and `points` are those of other load balancers.",
       0,
       0,
       {"expected_completion", "fastest", "least_connections", "lmetric", "peak_ewma", "points",
        "power_of_two", "priority", "random", "round_robin"}},
      {"slots", [](S& s) -> Field { return &s.slots; },
       "Requests sent at once to one node for one model; 0 learns it. A node's own `slots` goes "
       "before it.",
       0, 1000000},
      {"node_file", [](S& s) -> Field { return &s.node_file; },
       "The JSON file of nodes; a missing one is no error."},
      {"state_file", [](S& s) -> Field { return &s.state_file; },
       "Where nodes that were added or drained at run time, and learnt speeds, are kept over a "
       "restart; `off` keeps nothing. `$XDG_STATE_HOME` is `~/.local/state` where it is not set; "
       "`{port}` is the port served."},
      {"state_interval_s", [](S& s) -> Field { return &s.state_interval; },
       "It is written at most this often, and at the end.", 0.1, a_day_s},
      {"queue.max_waiting", [](S& s) -> Field { return &s.queue.max_waiting; },
       "Requests that may wait for a node; one more is answered 503.", 0, 1e6},
      {"queue.max_wait_s", [](S& s) -> Field { return &s.queue.max_wait; },
       "Longest wait for a node, then 503.", 0.001, a_day_s},
      {"queue.max_waiting_per_client",
       [](S& s) -> Field { return &s.queue.max_waiting_per_client; },
       "Requests of one client that may wait.", 0, 1e6},
      {"limits.head_bytes", [](S& s) -> Field { return &s.limits.head_bytes; },
       "Largest request line and headers together; more is answered 431.", 1024, 16777216},
      {"limits.headers", [](S& s) -> Field { return &s.limits.headers; },
       "Most header fields of one request.", 8, 4096},
      {"limits.head_timeout_s", [](S& s) -> Field { return &s.limits.head_timeout; },
       "Longest time a client may take over a request's headers.", 0.001, a_day_s},
      {"limits.idle_timeout_s", [](S& s) -> Field { return &s.limits.idle_timeout; },
       "A client's connection without a request is closed after this.", 0.001, a_day_s},
      {"limits.intent_body_bytes", [](S& s) -> Field { return &s.limits.intent_body_bytes; },
       "Largest inference request; it is read whole to learn its model. Uploads of blobs have no "
       "limit.",
       1024, 1e12},
      {"limits.unpacked_body_bytes", [](S& s) -> Field { return &s.limits.unpacked_body_bytes; },
       "Largest request body after decompression (`Content-Encoding: zstd` on OpenAI's and "
       "Anthropic's routes).",
       1024, 1e12},
      {"limits.requests_total_bytes", [](S& s) -> Field { return &s.limits.requests_total_bytes; },
       "Memory that the requests of all clients may take; a request that would need more is "
       "answered 503.",
       1048576, 1e15},
      {"limits.body_timeout_s", [](S& s) -> Field { return &s.limits.body_timeout; },
       "Longest time a client may take over an inference request's body.", 0.001, a_day_s},
      {"limits.connections", [](S& s) -> Field { return &s.limits.connections; },
       "Client connections open at once; at that number, the one that has waited longest for a "
       "request makes room.",
       1, 1e7},
      {"limits.body_idle_timeout_s", [](S& s) -> Field { return &s.limits.body_idle_timeout; },
       "Longest pause of a client inside a request's body, and longest time in which it takes "
       "nothing of its answer.",
       0.001, a_day_s},
      {"upstream.connect_timeout_s", [](S& s) -> Field { return &s.upstream.connect_timeout; },
       "Longest time to connect to a node.", 0.001, a_day_s},
      {"upstream.response_timeout_s", [](S& s) -> Field { return &s.upstream.response_timeout; },
       "Longest wait for the start of a node's answer; 0 means none, since loading a model may "
       "take minutes.",
       0, a_day_s},
      {"upstream.idle_connections", [](S& s) -> Field { return &s.upstream.idle_connections; },
       "Idle connections kept for each worker and node.", 0, 65536},
      {"upstream.idle_timeout_s", [](S& s) -> Field { return &s.upstream.idle_timeout; },
       "An idle connection to a node is closed after this.", 0, a_day_s},
      {"upstream.head_timeout_s", [](S& s) -> Field { return &s.upstream.head_timeout; },
       "Longest time a node may take over an answer's headers from their first byte, and longest "
       "pause inside an answer that is no stream.",
       0.001, a_day_s},
      {"upstream.record_bytes", [](S& s) -> Field { return &s.upstream.record_bytes; },
       "Longest line of a node's stream; a longer one ends it.", 1024, 1e12},
      {"upstream.answer_bytes", [](S& s) -> Field { return &s.upstream.answer_bytes; },
       "Longest answer of a node that is no stream; a longer one is cut off.", 1024, 1e15},
      {"retry.attempts", [](S& s) -> Field { return &s.retry.attempts; },
       "Further nodes tried for a request when one fails.", 0, 16},
      {"retry.budget_percent", [](S& s) -> Field { return &s.retry.budget_percent; },
       "Retries allowed, in percent of requests, so that a failing fleet is not flooded.", 0, 100},
      {"hedge.enabled",
       [](S& s) -> Field { return &s.hedge.enabled; },
       "Whether an embedding or a short answer that is not streamed is asked of a second node too "
       "when the first is unusually late; the first answer counts, the other request is cancelled.",
       0,
       0,
       {"on", "off"}},
      {"hedge.budget_percent", [](S& s) -> Field { return &s.hedge.budget_percent; },
       "Second requests allowed, in percent of those that may have one.", 0, 100},
      {"hedge.delay_min_s", [](S& s) -> Field { return &s.hedge.delay_min; },
       "No node is late before this; else what is usual for it and the model decides.", 0.001,
       a_day_s},
      {"hedge.tokens_max", [](S& s) -> Field { return &s.hedge.tokens_max; },
       "Longest answer, in tokens as expected, that is short in this sense.", 0, 1e6},
      {"load.owner",
       [](S& s) -> Field { return &s.load.owner; },
       "Who has a node load a model: the `gateway`, once for all who wait for it and whatever they "
       "do meanwhile, or each `request` by itself.",
       0,
       0,
       {"gateway", "request"}},
      {"load.timeout_s", [](S& s) -> Field { return &s.load.timeout; },
       "A load of the gateway's that takes longer has failed.", 1, 7 * a_day_s},
      {"load.thrash_loads", [](S& s) -> Field { return &s.load.thrash_loads; },
       "Loads that undo each other at one node are told of when they are more than this within "
       "`load.thrash_window_s` and no other node could take them; 0 never tells.",
       0, 250},
      {"load.thrash_window_s", [](S& s) -> Field { return &s.load.thrash_window; },
       "The time over which they are counted, and after which they are logged again.", 1, a_day_s},
      {"models.placement",
       [](S& s) -> Field { return &s.models.placement; },
       "Whether the gateway sees to it that hot models are in the memory of as many nodes as their "
       "demand needs: `advised` only tells what should be loaded where, `automatic` does it.",
       0,
       0,
       {"off", "advised", "automatic"}},
      {"models.hot_per_hour", [](S& s) -> Field { return &s.models.hot_per_hour; },
       "A model that is asked for so often in an hour is hot.", 1, 1e6},
      {"models.utilisation_percent", [](S& s) -> Field { return &s.models.utilisation_percent; },
       "When its requests use more than this share of the places that it has, one more node "
       "should load it.",
       1, 100},
      {"models.pause_s", [](S& s) -> Field { return &s.models.pause; },
       "A model is loaded or pulled at a node without being asked for at most this often; where it "
       "did not last, twice as long.",
       1, 7 * a_day_s},
      {"models.loads_at_once", [](S& s) -> Field { return &s.models.loads_at_once; },
       "Most such loads at once in the fleet; there is never more than one at a node.", 1, 1e4},
      {"models.interval_s", [](S& s) -> Field { return &s.models.interval; },
       "How often it is looked at.", 0.05, a_day_s},
      {"auto_pull",
       [](S& s) -> Field { return &s.auto_pull; },
       "Whether nodes may be had pull a model that is wanted on more nodes than have it.",
       0,
       0,
       {"on", "off"}},
      {"pin_num_ctx", [](S& s) -> Field { return &s.pin_num_ctx; },
       "Contexts that models are always loaded with, whatever requests ask for: `MODEL=TOKENS`, "
       "where `*` in the name stands for any text; the first that matches."},
      {"stream.heartbeat_s", [](S& s) -> Field { return &s.stream.heartbeat; },
       "A stream that waits for its first token gets an empty record this often, so that nobody "
       "takes it for dead; 0 means never.",
       0, a_day_s},
      {"stream.resume",
       [](S& s) -> Field { return &s.stream.resume; },
       "Whether a stream that its node broke off goes on at another node with the same model.",
       0,
       0,
       {"on", "off"}},
      {"stream.resume_body_bytes", [](S& s) -> Field { return &s.stream.resume_body_bytes; },
       "Largest request that is kept for that while its answer streams.", 0, 1e12},
      {"stream.resume_text_bytes", [](S& s) -> Field { return &s.stream.resume_text_bytes; },
       "Longest answer that is kept for that.", 0, 1e12},
      {"stream.stall_detection",
       [](S& s) -> Field { return &s.stream.stall_detection; },
       "Whether a node that falls silent between two tokens is given up.",
       0,
       0,
       {"on", "off"}},
      {"stream.stall_timeout_s", [](S& s) -> Field { return &s.stream.stall_timeout; },
       "The silence after which it is; 0 learns it for each model and node.", 0, a_day_s},
      {"stream.stall_min_s", [](S& s) -> Field { return &s.stream.stall_min; },
       "The shortest silence that is learnt.", 0.01, a_day_s},
      {"stream.stall_max_s", [](S& s) -> Field { return &s.stream.stall_max; },
       "The longest, and what holds while nothing is known.", 0.01, a_day_s},
      {"health.interval_s", [](S& s) -> Field { return &s.health.interval; },
       "Pace of the check whether a node is alive.", 0.01, a_day_s},
      {"health.suspect_after_s", [](S& s) -> Field { return &s.health.suspect_after; },
       "A check unanswered for this long makes its node the last resort.", 0.01, a_day_s},
      {"health.timeout_s", [](S& s) -> Field { return &s.health.timeout; },
       "Longest wait for the answer to that check.", 0.01, a_day_s},
      {"health.tags_interval_s", [](S& s) -> Field { return &s.health.tags_interval; },
       "Pace of asking a node which models it has.", 0.01, a_day_s},
      {"health.ps_interval_s", [](S& s) -> Field { return &s.health.ps_interval; },
       "Pace of asking a node which models are loaded.", 0.01, a_day_s},
      {"health.ps_timeout_s", [](S& s) -> Field { return &s.health.ps_timeout; },
       "Longest wait for that list; a slow one never ejects a node.", 0.01, a_day_s},
      {"health.failures_to_eject", [](S& s) -> Field { return &s.health.failures_to_eject; },
       "Failures in a row after which a node gets no requests for a time.", 1, 1000},
      {"health.ejection_base_s", [](S& s) -> Field { return &s.health.ejection_base; },
       "That time at first; it doubles with each further failure.", 0.01, a_day_s},
      {"health.ejection_max_s", [](S& s) -> Field { return &s.health.ejection_max; },
       "The most it grows to.", 0.01, a_day_s},
      {"health.error_rate_percent", [](S& s) -> Field { return &s.health.error_rate_percent; },
       "Share of failed requests that ejects a node as well.", 1, 100},
      {"health.window_requests", [](S& s) -> Field { return &s.health.window_requests; },
       "Latest requests of a node over which that share is taken.", 1, 100000},
      {"health.list_bytes", [](S& s) -> Field { return &s.health.list_bytes; },
       "Largest `/api/tags` or `/api/ps` that is read from a node; a larger one is not used.", 1024,
       1e9},
      {"health.models_per_node", [](S& s) -> Field { return &s.health.models_per_node; },
       "Most models one node may list; a longer list is not used.", 1, 1e6},
      {"drain.timeout_s", [](S& s) -> Field { return &s.drain.timeout; },
       "Longest time that requests under way may take to finish when the gateway stops; then they "
       "end with an error.",
       0, a_day_s},
      {"drain.idle_grace_s", [](S& s) -> Field { return &s.drain.idle_grace; },
       "A connection without a request stays open for this long then: a request that is on its way "
       "is still answered.",
       0, a_day_s},
      {"log.level",
       [](S& s) -> Field { return &s.log.level; },
       "What is logged: this and all that is graver.",
       0,
       0,
       {"trace", "debug", "info", "warn", "error", "off"}},
      {"log.access", [](S& s) -> Field { return &s.log.access; },
       "The log of requests: `on` (with the other messages), `off`, or the path of a file."},
      {"log.node_errors",
       [](S& s) -> Field { return &s.log.node_errors; },
       "Whether logs repeat what nodes say in errors, which may quote prompts.",
       0,
       0,
       {"off", "on"}},
      {"cors.origins", [](S& s) -> Field { return &s.cors.origins; },
       "Web origins allowed besides those that Ollama allows (this machine, apps); `*` allows "
       "all."},
      {"tls.cert", [](S& s) -> Field { return &s.tls.cert; },
       "PEM file of the certificate and its chain: with `tls.key` it makes the gateway speak "
       "HTTPS."},
      {"tls.key", [](S& s) -> Field { return &s.tls.key; },
       "PEM file of the certificate's key, without a passphrase."},
      {"tls.ca", [](S& s) -> Field { return &s.tls.ca; },
       "PEM file of authorities that https nodes may be certified by, besides the system's."},
      {"tls.handshake_timeout_s", [](S& s) -> Field { return &s.tls.handshake_timeout; },
       "Longest time a client may take over its TLS handshake.", 0.001, a_day_s},
      {"keys_file", [](S& s) -> Field { return &s.keys_file; },
       "The file of API keys that `sollol keys` keeps; with it every request needs a key."},
      {"access.node_networks", [](S& s) -> Field { return &s.access.node_networks; },
       "The only networks where nodes added over HTTP may be, as `10.0.0.0/8`. None: anywhere but "
       "link-local, multicast and cloud metadata addresses."},
      {"access.hosts", [](S& s) -> Field { return &s.access.hosts; },
       "Host names that requests to a gateway on a loopback address may name, besides those that "
       "Ollama accepts; `*` allows all."},
      {"auto_discover",
       [](S& s) -> Field { return &s.auto_discover; },
       "Whether nodes are looked for on this machine and its private networks; not where `--node` "
       "names some. `true` and `false` will do too.",
       0,
       0,
       {"on", "off"}},
      {"discovery.timeout_s", [](S& s) -> Field { return &s.discovery.timeout; },
       "How long an address may take to accept a connection, and again to answer.", 0.01, 60},
      {"discovery.interval_s", [](S& s) -> Field { return &s.discovery.interval; },
       "Time between two looks at the network, more or less a fifth.", 1, a_day_s},
      {"discovery.forget_s", [](S& s) -> Field { return &s.discovery.forget; },
       "A node that was found and has not been there for so long is forgotten.", 1, 365 * a_day_s},
      {"discovery.ports", [](S& s) -> Field { return &s.discovery.ports; },
       "Ports that are looked at."},
      {"discovery.subnets", [](S& s) -> Field { return &s.discovery.subnets; },
       "The only networks that are looked at, as `192.168.1.0/24`. None: those of this machine's "
       "interfaces, none larger than a /20."},
      {"discovery.exclude_localhost",
       [](S& s) -> Field { return &s.discovery.exclude_localhost; },
       "Leaves out what listens on 127.0.0.1 alone.",
       0,
       0,
       {"on", "off"}},
      {"discovery.discover_all_nodes",
       [](S& s) -> Field { return &s.discovery.discover_all_nodes; },
       "Whether each look goes on after the first node that it finds.",
       0,
       0,
       {"on", "off"}},
      {"discovery.auto_resolve_docker",
       [](S& s) -> Field { return &s.discovery.auto_resolve_docker; },
       "Whether Docker and Podman, where their sockets can be read, are asked at which addresses "
       "and ports of this machine their containers are reached.",
       0,
       0,
       {"on", "off"}},
      {"discovery.sources", [](S& s) -> Field { return &s.discovery.sources; },
       "Who may name nodes, or addresses to look at; what is left out of the list is not heard."},
      {"discovery.wake_interval_s", [](S& s) -> Field { return &s.discovery.wake_interval; },
       "Least time between two magic packets to one node with `wake = true`.", 1, a_day_s},
      {"discovery.wake_time_s", [](S& s) -> Field { return &s.discovery.wake_time; },
       "How long such a node may take from a magic packet to its first answer: a request that "
       "another node takes sooner wakes none, and one that does not come in time is let be for ten "
       "times as long.",
       1, a_day_s},
      {"locality.passive",
       [](S& s) -> Field { return &s.locality.passive; },
       "Whether normal traffic shows which nodes slow each other, without a request more.",
       0,
       0,
       {"on", "off"}},
      {"locality.remember_days", [](S& s) -> Field { return &s.locality.remember_days; },
       "What was measured of two nodes is forgotten after so long.", 0, 3650},
      {"locality.measure_requests", [](S& s) -> Field { return &s.locality.measure_requests; },
       "Most requests of one `sollol nodes measure`.", 1, 1e6},
      {"locality.measure_tokens", [](S& s) -> Field { return &s.locality.measure_tokens; },
       "Most tokens of one such request.", 8, 4096},
      {"locality.measure_work_s", [](S& s) -> Field { return &s.locality.measure_work; },
       "How long such a request should take.", 0.05, 60},
      {"locality.measure_timeout_s", [](S& s) -> Field { return &s.locality.measure_timeout; },
       "How long it may take, then it has failed.", 1, a_day_s},
      {"locality.measure_time_s", [](S& s) -> Field { return &s.locality.measure_time; },
       "Longest time of one `sollol nodes measure`.", 1, a_day_s},
      {"discovery.announce",
       [](S& s) -> Field { return &s.discovery.announce; },
       "Whether the gateway tells its links of itself by mDNS, where Avahi runs and it listens "
       "beyond this machine.",
       0,
       0,
       {"on", "off"}},
      {"agents.port", [](S& s) -> Field { return &s.agents.port; },
       "Where `sollol agent` listens on the nodes' machines. 0: agents are not asked.", 0, 65535},
      {"agents.token_file", [](S& s) -> Field { return &s.agents.token_file; },
       "The file with the token that the agents know. Without it only agents on this machine are "
       "asked."},
      {"agents.interval_s", [](S& s) -> Field { return &s.agents.interval; },
       "Time between two questions to an agent.", 0.05, a_day_s},
      {"agents.timeout_s", [](S& s) -> Field { return &s.agents.timeout; },
       "How long an agent may take to answer.", 0.01, 60},
      {"agents.pause_for_owner",
       [](S& s) -> Field { return &s.agents.pause_for_owner; },
       "Whether a node takes nothing new while somebody works at its machine.",
       0,
       0,
       {"on", "off"}},
      {"agents.owner_idle_s", [](S& s) -> Field { return &s.agents.owner_idle; },
       "Whoever has given no input for so long no longer works there.", 1, a_day_s},
      {"discovery.save",
       [](S& s) -> Field { return &s.discovery.save; },
       "Writes what is found into the node file, marked as found, and takes it out again when "
       "it is forgotten. What a person wrote there stays as it is.",
       0,
       0,
       {"on", "off"}},
  };
}

template <class... Visitors>
struct Overloaded : Visitors... {
  using Visitors::operator()...;
};

std::unexpected<Error> expected(const Setting& setting, std::string_view got) {
  return std::unexpected(
      bad_input(fmt::format("expected {}, got {}", expected_text(setting), got)));
}

bool in_range(const Setting& setting, double number) {
  return number >= setting.min && number <= setting.max;
}

Result<void> set_listen(std::string& target, const std::string& text) {
  const auto address = parse_listen(text);
  if (!address) return std::unexpected(address.error());
  target = text;
  return {};
}

std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    auto diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const auto change = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = std::exchange(row[j], std::min({change, row[j] + 1, row[j - 1] + 1}));
    }
  }
  return row[b.size()];
}

std::string_view last_part(std::string_view key) { return key.substr(key.rfind('.') + 1); }

}  // namespace

std::span<const Setting> settings_table() {
  static const std::vector<Setting> table = make_table();
  return table;
}

std::string env_name(const Setting& setting) {
  std::string name = fmt::format("SOLLOL_{}", setting.key);
  for (char& c : name)
    c = c == '.' ? '_' : c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return name;
}

std::string flag_name(const Setting& setting) {
  std::string key(setting.key);
  if (key.ends_with("_s")) key.resize(key.size() - 2);
  std::ranges::replace_if(key, [](char c) { return c == '.' || c == '_'; }, '-');
  return "--" + key;
}

std::string default_text(const Setting& setting) {
  Settings defaults;
  return std::visit(
      Overloaded{
          [](const std::string* text) { return fmt::format("\"{}\"", *text); },
          [](const std::uint64_t* count) { return fmt::format("{}", *count); },
          [](const Duration* time) { return fmt::format("{:g}", to_seconds(*time)); },
          [](const std::vector<std::string>* list) { return fmt::format("{}", *list); },
      },
      setting.field(defaults));
}

std::string full_help(const Setting& setting) {
  if (setting.choices.empty()) return std::string(setting.help);
  return fmt::format("{} One of `{}`.", setting.help, fmt::join(setting.choices, "`, `"));
}

std::string expected_text(const Setting& setting) {
  Settings defaults;
  const auto range = [&] {
    return fmt::format("from {:.12g} to {:.12g}", setting.min, setting.max);
  };
  return std::visit(
      Overloaded{
          [&](const std::string*) {
            if (setting.choices.empty()) return std::string("text in quotes");
            return fmt::format("one of {}", fmt::join(setting.choices, ", "));
          },
          [&](const std::uint64_t*) { return "a whole number " + range(); },
          [&](const Duration*) { return "seconds " + range(); },
          [&](const std::vector<std::string>*) { return std::string("a list of texts"); },
      },
      setting.field(defaults));
}

bool is_switch(const Setting& setting) {
  return setting.choices == std::vector<std::string_view>{"on", "off"};
}

namespace {

/// `on` or `off` for the other words that people write for them; empty for any other word.
std::string switch_word(std::string_view text) {
  const std::string word = discovery::to_lower(text);
  if (word == "true" || word == "yes" || word == "1") return "on";
  if (word == "false" || word == "no" || word == "0") return "off";
  return {};
}

}  // namespace

Result<void> set_value(Settings& settings, const Setting& setting, const Value& value) {
  const auto* text = std::get_if<std::string>(&value);
  const auto* whole = std::get_if<std::int64_t>(&value);
  const auto* list = std::get_if<std::vector<std::string>>(&value);
  const auto number = whole != nullptr                        ? static_cast<double>(*whole)
                      : std::holds_alternative<double>(value) ? std::get<double>(value)
                                                              : std::nan("");
  const auto got = text != nullptr   ? fmt::format("\"{}\"", *text)
                   : list != nullptr ? "a list"
                                     : fmt::format("{}", number);
  const auto field = setting.field(settings);
  const std::string switched = text != nullptr && is_switch(setting) ? switch_word(*text) : "";
  if (!switched.empty()) text = &switched;
  if (auto* const* target = std::get_if<std::string*>(&field)) {
    if (text == nullptr) return expected(setting, got);
    if (setting.key == "listen") return set_listen(**target, *text);
    const auto& choices = setting.choices;
    if (!choices.empty() && std::ranges::find(choices, *text) == choices.end())
      return expected(setting, got);
    Settings defaults;
    const bool may_be_empty = std::get<std::string*>(setting.field(defaults))->empty();
    if (text->empty() && !may_be_empty) return expected(setting, "an empty one");
    **target = *text;
  } else if (auto* const* count = std::get_if<std::uint64_t*>(&field)) {
    if (whole == nullptr || !in_range(setting, number)) return expected(setting, got);
    **count = static_cast<std::uint64_t>(*whole);
  } else if (auto* const* time = std::get_if<Duration*>(&field)) {
    if (!in_range(setting, number)) return expected(setting, got);  // no number is in no range
    **time = from_seconds(number);
  } else {
    if (list == nullptr) return expected(setting, got);
    *std::get<std::vector<std::string>*>(field) = *list;
  }
  return {};
}

Result<void> set_text(Settings& settings, const Setting& setting, std::string_view text) {
  const auto trimmed = discovery::trim(text);
  const auto field = setting.field(settings);
  const auto* const end = trimmed.data() + trimmed.size();
  if (std::holds_alternative<std::string*>(field))
    return set_value(settings, setting, std::string(trimmed));
  if (std::holds_alternative<std::vector<std::string>*>(field)) {
    std::vector<std::string> list;
    for (const auto part : discovery::split(trimmed, ',')) {
      if (const auto item = discovery::trim(part); !item.empty()) list.emplace_back(item);
    }
    return set_value(settings, setting, list);
  }
  std::int64_t whole = 0;
  if (const auto [stop, bad] = std::from_chars(trimmed.data(), end, whole);
      bad == std::errc{} && stop == end) {
    return set_value(settings, setting, whole);
  }
  double number = 0;
  if (const auto [stop, bad] = std::from_chars(trimmed.data(), end, number);
      bad == std::errc{} && stop == end) {
    return set_value(settings, setting, number);
  }
  return expected(setting, fmt::format("\"{}\"", trimmed));
}

const Setting* find_setting(std::string_view key) {
  const auto found = std::ranges::find(settings_table(), key, &Setting::key);
  return found == settings_table().end() ? nullptr : &*found;
}

std::string nearest_key(std::string_view key, std::span<const std::string_view> known) {
  const auto distance = [key](std::string_view other) {
    return std::min(edit_distance(key, other), 1 + edit_distance(last_part(key), last_part(other)));
  };
  assert(!known.empty());
  return std::string(*std::ranges::min_element(known, {}, distance));
}

std::string settings_markdown() {
  std::string text = "| key | default | variable | meaning |\n|---|---|---|---|\n";
  for (const auto& setting : settings_table()) {
    text += fmt::format("| `{}` | `{}` | `{}` | {} |\n", setting.key, default_text(setting),
                        env_name(setting), full_help(setting));
  }
  return text;
}

}  // namespace sollol::cli

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "api/content_coding.h"
#include "api/listing.h"
#include "base/address.h"
#include "base/time.h"
#include "cluster/health.h"
#include "cluster/snapshot.h"
#include "cluster/thrash.h"
#include "cluster/wake.h"
#include "discovery/scan_plan.h"
#include "gateway/published.h"
#include "http/head.h"
#include "net/network.h"
#include "routing/hedge.h"
#include "routing/policy.h"
#include "routing/residency.h"

namespace sollol::gateway {

using namespace std::chrono_literals;

struct QueueOptions {
  std::uint32_t waiting_max = 1024;
  std::uint32_t waiting_per_client_max = 256;
  Duration wait_max = 300s;
};

struct ClientOptions {
  http::HeadLimits head;
  Duration head_timeout = 10s;       // first byte of a head to its blank line
  Duration idle_timeout = 75s;       // a kept connection without a request
  Duration stall_timeout = 60s;      // a client that neither sends its body nor reads its answer
  std::size_t body_max = 64u << 20;  // a body that is read whole to learn its model
  Duration body_timeout = 300s;      // longest time to receive such a body
  std::size_t unpacked_max = api::unpacked_max_default;  // of a compressed body
  std::uint64_t requests_total_max = 1ull << 30;         // bytes of all requests that are held
  std::uint32_t connections_max = 20000;
};

struct UpstreamOptions {
  Duration connect_timeout = 2s;
  Duration response_timeout{};  // request sent to first byte; zero: none, since a cold load is
                                // minutes of silence
  std::uint32_t idle_connections_max = 64;  // per worker and node
  Duration idle_timeout = 60s;
  http::HeadLimits head;
  Duration head_timeout = 30s;            // of an answer: first byte of its head to the blank line
  std::size_t record_max = 16u << 20;     // one line or event of a stream
  std::uint64_t answer_max = 1ull << 30;  // an answer that is no stream
};

struct RetryOptions {
  std::uint32_t attempts_max = 2;  // tries after the first
  std::uint32_t budget_percent = 20;
};

/// Continuing streams that broke off at another node.
struct ResumeOptions {
  bool enabled = true;
  std::size_t body_max = 1 << 20;    // a larger request is not kept for it
  std::size_t text_max = 256 << 10;  // nor a longer answer
};

/// Nodes that fall silent between two tokens.
struct StallOptions {
  bool enabled = true;
  Duration fixed{};      // zero: learnt, within
  Duration least = 10s;  // and
  Duration most = 120s;
};

struct ProbeOptions {
  Duration interval = 500ms;
  Duration timeout = 2s;
  Duration tags_interval = 10s;
  Duration ps_interval = 2s;
  Duration ps_timeout = 10s;
  Duration resolve_interval = 30s;
  std::size_t body_max = 32u << 20;  // of /api/tags and the like
  std::size_t models_max = api::models_max_default;
};

/// How the gateway ends what it has begun when it stops.
struct DrainOptions {
  Duration timeout = 30s;    // what runs longer ends with its API's error
  Duration idle_grace = 1s;  // a connection without a request stays open for this long: a request
                             // that is on its way is still answered
};

/// Looking for nodes on the network while the gateway runs.
struct DiscoveryOptions {
  bool enabled = false;
  discovery::ScanOptions scan;
  Duration interval = 60s;        // more or less a fifth
  Duration forget_after = 3600s;  // of a node that was found and is not there any more
  cluster::WakeOptions wake;      // machines that sleep
  bool save = false;              // what is found into the node file
  bool announce = false;          // ourselves, where others than this machine can reach us
  /// Nodes to be used when none is found at first, and what is to be known of those that are.
  std::vector<cluster::NodeInfo> known;
};

/// Measuring which nodes slow each other.
struct LocalityOptions {
  bool passive = true;                          // judge normal traffic too
  Duration remember = std::chrono::hours{720};  // what was found
  // Of one measurement on request; whoever asks for it may want less, never more.
  std::uint32_t requests_max = 600;
  std::uint32_t tokens_max = 256;  // of one request
  Duration work = 1s;              // that one request should take
  Duration request_timeout = 60s;
  Duration time_max = 900s;
};

/// Asking the agents on the nodes' machines (docs/agent.md).
struct AgentOptions {
  std::uint16_t port = 11436;  // 0: they are not asked
  std::string token_file;      // empty: only agents on this machine are asked, without a token
  Duration interval = 5s;
  Duration timeout = 2s;
  bool pause_for_owner = false;  // a node whose owner works at the machine takes nothing new
  Duration owner_idle = 300s;    // without input for so long, they are away
};

/// Where what was learnt and what was changed at run time outlives the process.
struct StateOptions {
  std::string file;  // empty: nowhere
  Duration interval = 10s;
};

struct LoadOptions {
  enum class Owner : std::uint8_t { gateway, request };
  Owner owner = Owner::gateway;  // gateway: once for all who wait, whatever they do meanwhile
  Duration timeout = 1800s;      // a load that takes longer has failed
  cluster::ThrashLimits thrash;  // from where on loads that undo each other are told
};

/// Which models are in the memory of which nodes.
struct ResidencyOptions {
  enum class Mode : std::uint8_t {
    off,        // nothing but what an operator asks for
    advised,    // what would be done is told
    automatic,  // and done
  };
  Mode mode = Mode::advised;
  bool auto_pull = false;  // a node may be had pull what is missing
  routing::ResidencyLimits limits;
  Duration interval = 5s;  // between two plans
};

/// Models that are always loaded with one context, whatever their clients ask for.
struct ContextPin {
  std::string models;  // a name, or a pattern in which `*` stands for any text
  std::uint32_t num_ctx = 0;
};

/// TLS of the listening side, on when both files are named, and whom https nodes are trusted by.
struct TlsOptions {
  std::string certificate_file;
  std::string key_file;
  std::string ca_file;  // trusted besides the system's store
  Duration handshake_timeout = 10s;
};

/// Who may do what.
struct AccessOptions {
  std::string keys_file;                    // empty: no keys are asked for
  std::vector<net::Network> node_networks;  // where nodes added over HTTP may be; see may_connect
  std::vector<std::string> hosts;           // names in Host, beside those that Ollama accepts
};

struct StreamOptions {
  Duration heartbeat = 10s;  // between empty records to a stream that waits; zero: none
};

/// How sockets are served: through epoll, or through io_uring where the kernel has it.
enum class Io : std::uint8_t { epoll, io_uring };

enum class AccessLog : std::uint8_t { off, to_stderr, to_file };

struct Options {
  Address listen{"127.0.0.1", 11434};
  std::uint32_t workers = 1;
  Io io = Io::io_uring;
  routing::Policy policy = routing::Policy::expected_completion;
  QueueOptions queue;
  ClientOptions client;
  UpstreamOptions upstream;
  RetryOptions retry;
  routing::HedgeOptions hedge;
  LoadOptions load;
  ResidencyOptions residency;
  std::vector<ContextPin> context_pins;  // the first that a model matches
  StreamOptions stream;
  ResumeOptions resume;
  StallOptions stall;
  ProbeOptions probe;
  cluster::HealthOptions health;
  std::vector<cluster::NodeInfo> nodes;
  std::string node_file;                  // nodes are saved there; empty: nowhere
  std::vector<std::string> cors_origins;  // beside those that Ollama always allows
  AccessLog access_log = AccessLog::to_stderr;
  std::string access_log_file;
  std::size_t decisions_kept = 256;  // per worker, for /sollol/v1/decisions
  TlsOptions tls;
  AccessOptions access;
  bool log_node_errors = false;  // whether logs repeat what nodes say, which may quote prompts
  DrainOptions drain;
  StateOptions state;
  DiscoveryOptions discovery;
  LocalityOptions locality;
  AgentOptions agents;
};

/// The options in force, published whole by a reload. A request takes one version at its start.
using OptionsSource = Published<Options>;
using OptionsReader = PublishedReader<Options>;

}  // namespace sollol::gateway

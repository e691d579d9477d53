#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "agent/report.h"
#include "base/address.h"
#include "base/time.h"
#include "gateway/options.h"
#include "locality/facts.h"

namespace sollol::gateway {

/// What the agent on a node's machine last told, and what follows from it for that node.
struct AgentSight {
  std::string ip;  // of the node, when the agent was asked
  TimePoint told_at{};
  agent::AgentReport report;
  const agent::LocalNode* node = nullptr;  // of the report; null: not told apart
  bool paused = false;                     // the owner's rule holds
  double slowdown = 1;                     // by other programs
};

/// How near a node is to the gateway: it decides where its agent is asked.
enum class Nearness : std::uint8_t { loopback, this_machine, elsewhere };

/// Where the agent of the machine with this node's address is asked; nothing: nowhere.
///
/// A loopback address is asked itself, one of our own or of our containers at 127.0.0.1. Any other
/// must be private, and is asked only with a token; where a node was named over HTTP, it must be
/// allowed as the node's own address must. Pure.
struct AgentWay {
  std::string_view ip;
  Nearness near = Nearness::elsewhere;
  bool has_token = false;
  bool over_http = false;
  std::span<const net::Network> allowed = {};  // access.node_networks
};
std::optional<Address> agent_address(const AgentWay& way, std::uint16_t port);

/// Takes a report for the node at a port of its machine. Null when it tells of no server that may
/// be this node: then the address is another machine's, a router's that forwards the port.
std::shared_ptr<const AgentSight> make_sight(std::string ip, std::uint16_t port,
                                             agent::AgentReport report, const AgentOptions& rules,
                                             TimePoint now);

/// For the grouping of nodes.
locality::AgentFacts facts_of(const AgentSight& sight);

/// How many times as long work takes for what other programs use: 1 / (1 - their share), at most 5.
///
/// The share of a GPU is its foreign utilisation, or half of its memory that others hold where that
/// is more: a resting game leaves less room, not less speed. A node's is the largest among the GPUs
/// that it uses now, else the least among those that it may use. The processors' share counts whole
/// without a GPU, and for a quarter beside one. Ours: it orders nodes, it promises no time.
double foreign_slowdown(const agent::AgentReport& report, const agent::LocalNode* node);

/// Whether the machine's owner works there, by the rule: input within `owner_idle`, or, where no
/// input can be seen, a session in use.
bool owner_works(const agent::Owner& owner, Duration owner_idle);

}  // namespace sollol::gateway

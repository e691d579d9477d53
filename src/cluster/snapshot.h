#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/address.h"
#include "base/ids.h"
#include "base/string_hash.h"
#include "cluster/live.h"

namespace sollol::cluster {

/// What is configured about a node.
struct NodeInfo {
  std::string name;
  std::string url;   // canonical, as shown to people
  std::string host;  // of the url: goes into the Host field
  std::uint16_t port = 11434;
  std::string path_prefix;    // "" or "/prefix"
  std::uint32_t tier = 0;     // `priority` in files and flags: lower is tried first
  std::uint32_t slots = 0;    // concurrent requests per model; 0: learn
  std::string machine = {};   // the operator's word on where it runs: `host` in files and flags
  std::string device = {};    // and on which of that machine's devices
  std::string wake_mac = {};  // a magic packet to it wakes the machine; empty: nothing does
  std::vector<Address> alternatives = {};  // more ways to it, tried after the addresses of `host`
  std::string origin;  // where it came from: "flag", "node file", "OLLAMA_HOST" …
};

/// The node's `host:port`, as its Host field must say (reference §1).
std::string host_field(const NodeInfo& info);

/// Whether TLS is spoken there: the URL's scheme is https.
inline bool uses_tls(const NodeInfo& info) noexcept { return info.url.starts_with("https://"); }

/// A model that a node has, as far as routing needs it.
struct ModelRecord {
  std::string key;   // canonical router key (reference §3)
  std::string name;  // display form
  std::string digest;
  std::uint64_t size_bytes = 0;
  bool remote = false;  // a stub for a model of Ollama's cloud: nothing is ever loaded for it
  double weights = 0;   // how many; 0: not told
};

/// Where a node is, as far as that is known.
struct NodePlace {
  std::string machine = {};  // for people; empty: not grouped yet
  std::string device = {};   // within the machine; "unknown" where nothing tells
  friend bool operator==(const NodePlace&, const NodePlace&) = default;
};

struct Node {
  NodeId id;
  NodeInfo info;
  std::string host_field;          // "host:port" for the Host header
  std::vector<Address> addresses;  // resolved, tried in order; empty: not resolved yet
  std::shared_ptr<NodeLive> live;
  NodePlace place = {};
  std::shared_ptr<SharedLoad> device_load = {};   // null: no other node is on its device
  std::shared_ptr<SharedLoad> machine_load = {};  // null: none on another device of its machine
};

/// One model on one node.
struct Replica {
  std::size_t node;  // index into Snapshot::nodes
  std::shared_ptr<ReplicaLive> live;
  std::string digest;
  std::uint64_t size_bytes = 0;
  bool remote = false;
  double weights = 0;  // how many, as told or by the size; 0: unknown
};

struct Model {
  ModelId id;
  std::uint64_t key_hash = 0;  // equal in every process of one build
  std::string key;
  std::string name;
  std::vector<Replica> replicas = {};  // of better tiers first
  std::size_t best_tier_count = 0;     // of them, those of the best tier
  std::shared_ptr<ModelLive> live = {};
};

/// One immutable view of the cluster: which nodes there are and what they have. What changes by the
/// second (health, in-flight, rates) lives behind the `live` pointers and is read at the moment of
/// choosing.
struct Snapshot {
  std::uint64_t version = 0;
  std::vector<Node> nodes;
  std::unordered_map<std::string, Model, StringHash, std::equal_to<>> models;

  const Model* find_model(std::string_view key) const {
    const auto it = models.find(key);
    return it == models.end() ? nullptr : &it->second;
  }
  const Node* find_node(std::string_view name) const {
    for (const Node& node : nodes) {
      if (node.info.name == name || node.info.url == name) return &node;
    }
    return nullptr;
  }
  const Node* find_node(NodeId id) const {
    for (const Node& node : nodes) {
      if (node.id == id) return &node;
    }
    return nullptr;
  }
};

}  // namespace sollol::cluster

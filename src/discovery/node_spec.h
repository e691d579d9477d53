#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace sollol::discovery {

/// Where Ollama listens unless told otherwise.
inline constexpr std::uint16_t default_port = 11434;

/// One node as a person or a file named it: where it is, what it is called, how it is preferred.
struct NodeSpec {
  std::string name = {};    // unique after merge_nodes(); no control character, no comma
  std::string url = {};     // canonical: scheme://host:port[/prefix], IPv6 in brackets
  std::string scheme = {};  // "http" or "https"
  std::string host = {};    // lower case; IPv6 without brackets
  std::uint16_t port = 0;
  std::string path_prefix = {};  // "" or "/a/b": put before every path that is asked of the node
  std::uint32_t priority = 0;    // lower is preferred
  std::optional<std::uint32_t> slots = {};  // concurrent requests per model; none: learnt
  std::string physical_host = {};  // the operator's word on the machine it runs on; empty: not said
  std::string device = {};         // and on the device that it works with: equal words, one thing
  std::string mac = {};     // of its machine's card, as net::parse_mac gives it; empty: not said
  bool wake = false;        // a magic packet to it wakes the machine when it sleeps
  std::string origin = {};  // who named it: "flag", "node file <path>", "sollol.toml", ...
  friend bool operator==(const NodeSpec&, const NodeSpec&) = default;
};

/// The parts of a node's address before they are checked.
struct NodeAddress {
  std::string scheme = "http";
  std::string host;
  std::uint16_t port = default_port;
  std::string path_prefix = {};
};

/// What `http://host` without a port means: Ollama's port, as people write it, or 80, as the web
/// has it.
enum class MissingPort : std::uint8_t { ollama, web };

/// A node from its address: host checked and lower-cased, `0.0.0.0` and `::` taken as loopback,
/// name derived.
Result<NodeSpec> make_node(NodeAddress address);

/// Parses `http://host:port/prefix`, `https://host`, `host`, `host:port`, `[v6]:port` or a bare v6
/// address.
///
/// No scheme means http. No port means 11434, and 443 for https. A path of just `/v1` or `/api` is
/// dropped: it is the address of an API, not of a node. Error: bad_input, naming the value and the
/// mend.
Result<NodeSpec> parse_node_url(std::string_view text, MissingPort missing = MissingPort::ollama);

/// Parses the value of `--node`:
/// `URL[,name=NAME][,priority=N][,slots=N][,host=MACHINE][,device=DEVICE][,mac=MAC][,wake=true]`.
/// The origin is "flag".
Result<NodeSpec> parse_node_flag(std::string_view text);

/// The name when it can stand in a header, a flag and a metric: 1 to 128 bytes of UTF-8, no control
/// character, no comma. Blanks around it are dropped.
Result<std::string> parse_node_name(std::string_view text);

/// The same for another word about a node; `field` is what an error calls it: "host", "device".
Result<std::string> parse_node_label(std::string_view text, std::string_view field);

/// Whether it says how to wake what is to be woken. Error: bad_input, naming `wake` and the mend.
Result<void> check_wake(const NodeSpec& node);

/// What two descriptions of one node have in common: host:port and prefix, `localhost` counting as
/// 127.0.0.1.
std::string address_key(const NodeSpec& node);

/// Gives the second node called `gpu` the name `gpu-2` (or the next free number). Keeps the order.
void unique_names(std::vector<NodeSpec>& nodes);

/// The nodes of each source, each in its own order.
struct NodeSources {
  std::vector<NodeSpec> flags = {};
  std::vector<NodeSpec> config = {};  // [[nodes]] of sollol.toml
  std::vector<NodeSpec> node_file = {};
  std::optional<NodeSpec> ollama_host = {};
  std::vector<NodeSpec> base_urls = {};  // OLLAMA_BASE_URLS
};

/// One list, each address once. The first description of an address in the order of the fields
/// above wins, since the later ones carry ever less than an address; the node that OLLAMA_HOST
/// names comes first. Names are unique.
std::vector<NodeSpec> merge_nodes(const NodeSources& sources);

}  // namespace sollol::discovery

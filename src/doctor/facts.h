#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/address.h"
#include "base/time.h"

namespace sollol::doctor {

/// One model of a node's store, and what a gateway has learnt of it there.
struct ModelFact {
  std::string key{};  // canonical name
  std::string digest{};
  std::string modified_at{};       // RFC 3339
  bool remote = false;             // of Ollama's cloud
  double service_s = 0;            // a request takes so long; 0: not known
  double decode_tokens_per_s = 0;  // 0: not known
};

/// One model in a node's memory.
struct LoadedFact {
  std::string key{};
  std::uint32_t context_length = 0;  // 0: not told
  std::uint64_t size_bytes = 0;
  std::uint64_t vram_bytes = 0;
  bool sizes_known = false;
};

/// One node, as the gateway or a look at the network has it.
struct NodeFact {
  std::string name{};
  std::string url{};
  std::string origin{};              // "node file <path>", "discovered" ...
  std::vector<Address> addresses{};  // at which it is reached, the one in use first
  bool on_this_machine = false;      // at loopback or one of our own addresses
  bool usable = true;
  std::string trouble{};  // why it is not usable
  std::string version{};  // empty: not known
  std::vector<ModelFact> models{};
  std::vector<LoadedFact> loaded{};
  Duration round_trip{};                  // zero: not known
  std::optional<Duration> clock_ahead{};  // its clock before ours; negative: behind
  std::string process{};  // "ssh": who listens there, where it is this machine and may be seen
};

/// A node that a file, a setting or a variable names.
struct EntryFact {
  enum class Answer : std::uint8_t { node, no_ollama, refused, silent, unresolved };
  std::string url{};
  std::string where{};               // "node file ~/.synapticllamas_nodes.json", "OLLAMA_HOST"
  std::vector<Address> addresses{};  // resolved
  Answer answer = Answer::node;
  bool on_this_machine = false;
  bool near = true;  // in a network of one of this machine's interfaces
};

struct RangeFact {
  std::string network{};  // "192.168.1.0/24"
  std::string source{};   // "eth0", "--subnet"
  std::uint64_t addresses = 0;
  std::uint64_t answered = 0;  // of other machines: those that gave any sign of life
};
struct SkippedFact {
  std::string network{};
  std::string reason{};
};
/// An open port that is no node.
struct OtherFact {
  enum class What : std::uint8_t { gateway, other, silent };
  Address address{};
  What what = What::other;
  std::string says{};
};

/// One look at the network.
struct ScanFact {
  std::vector<std::uint16_t> ports{};
  Duration timeout{};
  Duration took{};
  std::uint64_t tried = 0;
  std::uint64_t unsent = 0;  // no descriptor was left for them
  bool excludes_localhost = false;
  bool named = false;  // only networks that were named
  std::vector<RangeFact> ranges{};
  std::vector<SkippedFact> skipped{};
  std::vector<OtherFact> others{};
  std::vector<std::string> refusing{};  // machines that are there and refuse the ports
  std::vector<std::string> dropping{};  // machines that are there and let connections time out
  std::vector<Address> unlisted{};      // nodes that the gateway does not, or would not, have
  std::vector<Address> elsewhere{};     // Ollamas at ports that were not asked for
};

/// What locality says, with nodes by name.
struct MachineFact {
  std::string id{};
  std::vector<std::string> nodes{};
  std::size_t independent = 1;  // nodes known to work without slowing each other
};
struct SharedFact {
  std::string kind{};  // "operator_host", "contention" ...
  std::string a{}, b{};
  bool joins = false;
  std::string text{};
};
struct LocalityFact {
  std::vector<MachineFact> machines{};
  std::vector<SharedFact> evidence{};
  bool parallel = false;
  std::string reason{};
};

/// Who has the port that the gateway is to listen on.
enum class PortHolder : std::uint8_t { nobody, gateway, ollama, other };

/// Of the machine that the doctor runs on.
struct OwnFact {
  std::vector<Address> listeners{};      // all TCP ports that are listened on
  std::vector<Address> local_ollamas{};  // Ollamas that answer at 127.0.0.1
  Address listen{};                      // where the gateway is to listen
  PortHolder holder = PortHolder::nobody;
  std::string holder_process{};       // "ollama (pid 812)"; empty: may not be seen
  std::uint64_t descriptors_max = 0;  // how many a process may have
  std::uint64_t connections = 0;      // limits.connections: clients at once
  bool reads_listeners = true;        // whether the system told them
};

/// The gateway that was asked.
struct GatewayFact {
  enum class State : std::uint8_t { none, answers, silent, refuses_us, foreign };
  State state = State::none;
  std::string url{};
  std::string detail{};
  std::vector<std::string> thrashing{};  // loads that undo each other, each with its mend
};

/// All that the checks know. Plain data, gathered by somebody else.
struct Facts {
  GatewayFact gateway{};
  std::vector<NodeFact> nodes{};
  std::vector<EntryFact> entries{};
  std::vector<std::string> mistakes{};  // in files and variables that name nodes
  std::optional<ScanFact> scan{};       // none: the network was not looked at
  std::string scan_trouble{};           // why not, when it should have been
  LocalityFact locality{};
  OwnFact own{};
};

}  // namespace sollol::doctor

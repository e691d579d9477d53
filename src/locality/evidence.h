#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sollol::locality {

/// What a conclusion rests on, strongest first (docs/locality.md says why).
enum class EvidenceKind : std::uint8_t {
  operator_host,      // the configuration's `host`
  operator_device,    // the configuration's `device`
  machine_id,         // agents
  boot_id,            // agents
  gpu_uuid,           // agents
  address,            // one address, several ports
  this_machine,       // loopback, or an address of our own
  mac,                // one hardware address on our link
  container_network,  // a bridge of this machine
  model_store,        // one store, to the nanosecond
  contention,         // measured
  hostname,           // proves nothing
};
/// "machine_id": for JSON and metrics.
std::string_view name(EvidenceKind kind) noexcept;

/// What it speaks of.
enum class Scope : std::uint8_t { host, device };
std::string_view name(Scope scope) noexcept;

/// What became of it.
enum class Standing : std::uint8_t {
  joins,      // put the two together: nothing stronger had
  agrees,     // they were together already
  separates,  // keeps the two apart, against the signs that name it
  overruled,  // by stronger evidence
  hint,       // not enough by itself
};
std::string_view name(Standing standing) noexcept;

/// One piece about two nodes. A sign that many nodes show is told between the first and each other.
struct Evidence {
  EvidenceKind kind;
  Scope scope = Scope::host;
  std::size_t a, b;  // indexes of the facts
  Standing standing;
  double confidence = 1;                      // less only where it was measured
  std::string text;                           // for people: "both are at 10.0.0.5"
  std::optional<std::size_t> overruled_by{};  // index of what separates; set when overruled
};

}  // namespace sollol::locality

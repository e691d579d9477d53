#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/random.h"
#include "base/result.h"
#include "sim/spec.h"

namespace sollol::sim {

/// Which fault meets a request: the first of the list that its scope, chance and count allow.
class Faults {
 public:
  Faults(std::vector<FaultSpec> specs, std::uint64_t seed)
      : specs_(std::move(specs)), random_(seed) {}

  void set(std::vector<FaultSpec> specs) { specs_ = std::move(specs); }
  /// `route`: whether the request is an inference request; counts the fault as met.
  FaultSpec draw(FaultScope route);
  /// A fault that a connection meets, before any request: refuse, reset or starting.
  FaultSpec draw_connection();
  /// For `/api/ps` alone.
  FaultSpec draw_ps();
  bool refuses() const;

 private:
  template <class Predicate>
  FaultSpec draw_if(Predicate wanted);

  std::vector<FaultSpec> specs_;
  SeededRandom random_;
};

/// "die_after_tokens" and so on; nullopt for no known kind.
std::optional<FaultKind> fault_kind(std::string_view name);
std::string_view fault_name(FaultKind kind);
/// All kinds in one line, for messages.
std::string fault_names();

/// A fault as the command line writes it: "kind", or "kind:parameter" with the number or text that
/// the kind takes
/// ("die_after_tokens:20", "error:503", "slow:10", "slow_ps:12").
Result<FaultSpec> parse_fault(std::string_view text);

}  // namespace sollol::sim

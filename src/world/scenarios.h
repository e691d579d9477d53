#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "base/result.h"
#include "world/world.h"

namespace sollol::world {

struct ScenarioInfo {
  std::string_view name;
  std::string_view about;
};

/// The published set, in the order in which it is shown.
std::span<const ScenarioInfo> scenarios();

struct ScenarioOptions {
  std::uint64_t seed = 1;
  std::optional<std::size_t> requests;  // absent: the scenario's own number
  double load = 0.7;                    // of what the fleet could answer by its lower bound
};

/// Error: bad_input, listing the names.
Result<Scenario> make_scenario(std::string_view name, const ScenarioOptions& options);

/// Any fleet under Poisson arrivals with the ordinary mix.
Scenario ordinary(Fleet fleet, const ScenarioOptions& options);

}  // namespace sollol::world

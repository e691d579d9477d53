#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "locality/facts.h"

namespace sollol::gateway {

/// What somebody who asks for a measurement wants. Limits beyond LocalityOptions are cut to those.
struct MeasureWish {
  std::string model{};                                 // empty: on each node what is loaded
  enum class Cold : std::uint8_t { leave_out, load };  // nodes on which no model is loaded
  Cold cold = Cold::leave_out;
  std::optional<std::uint32_t> requests_max{};
  std::optional<std::uint32_t> tokens_max{};  // of one request
  std::optional<Duration> time_max{};
};

/// One request at a node alone, or one at each of two at the same time.
struct MeasuredProbe {
  std::string a{}, b{};           // b is empty: a alone
  double a_rate = 0, b_rate = 0;  // tokens per second; 0: nothing that counts
  std::size_t requests_so_far = 0;
  std::string problem{};  // why a rate does not count
};

/// What is known of one suspected pair at the end.
struct MeasuredPair {
  std::string a{}, b{};
  locality::Relation relation = locality::Relation::unknown;
  double confidence = 0;
  double slowdown = 1;      // 0: it follows from others and was not measured
  std::size_t samples = 0;  // of each node beside the other, the lesser number
  bool follows = false;     // from what was found of other pairs
  std::string problem{};    // why it could not be measured
};

/// A measurement under way, or the last one.
struct MeasureReport {
  bool began = false;  // false: there was none since the gateway started
  bool running = false;
  std::string ended{};  // why it ended before all was measured; empty: it did not
  std::size_t requests = 0, requests_max = 0;
  std::uint64_t tokens = 0;
  std::vector<MeasuredProbe> probes{};  // those that were asked for
  std::size_t probes_total = 0;
  std::vector<MeasuredPair> pairs{};
};

}  // namespace sollol::gateway

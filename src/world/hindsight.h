#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "world/world.h"

namespace sollol::world {

/// A request that a gateway has dealt with, as its log or its decisions tell of it.
struct Served {
  double at_s = 0;  // of arrival, from any origin
  std::string model{};
  std::string node{};
  std::string client{};
  std::string session{};  // empty: none
  std::uint32_t num_ctx = 0;
  std::uint32_t num_predict = 0;  // the longest answer that was asked for; 0: it was not said
  bool streamed = true;
  cluster::Urgency urgency = cluster::Urgency::normal;
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;
  double first_token_s = 0;  // from arrival; 0: not told
  double took_s = 0;         // from arrival to the last token
  // As the node measured it; 0: it did not.
  double load_s = 0;
  double prefill_s = 0;
  double decode_s = 0;
  bool answered = true;
};

/// The fleet as what it served shows it: which nodes have which models, how fast they are alone and
/// beside other streams, how long loads take, and as many places as were ever taken at once. What
/// no request has shown is as `NodeSpec` and `ReplicaSpec` have it. `served` is sorted by arrival.
Fleet fleet_seen(std::span<const Served> served);

/// The requests again. Error: bad_input: a model that the fleet has not.
Result<Workload> workload_again(std::span<const Served> served, const Fleet& fleet);

/// How it truly went, as far as was told.
Report as_it_was(std::span<const Served> served);

/// What a choice cost against the best node for that request alone, all else as it was.
struct Regret {
  std::uint32_t request = 0;  // index into what was served
  std::uint32_t chosen = 0;   // indices into the fleet's nodes
  std::uint32_t best = 0;     // `chosen` where no other would have been better
  double took_s = 0;          // simulated there
  double best_s = 0;          // and at the best; not longer
  double regret_s() const { return took_s - best_s; }
};

/// Plays what was served once with each request at its node, and once more for each other node that
/// has its model, with that one request there: so a better place counts the queue and the work that
/// were really there. The models that were loaded are loaded. Requests of nodes or models that the
/// fleet has not are left out. O(requests^2 x nodes).
std::vector<Regret> regrets(std::span<const Served> served, const Fleet& fleet);

}  // namespace sollol::world

#pragma once

#include <cstdint>

#include "base/ids.h"
#include "base/time.h"
#include "cluster/departures.h"
#include "cluster/health.h"
#include "cluster/speed.h"

namespace sollol::routing {

/// What a request of a model would find at a node.
enum class Warmth : std::uint8_t {
  cold,           // the model must be loaded
  other_options,  // loaded, but with other runner options: it must be reloaded (reference §14.3)
  warm,
};

/// What a node has in common with the one at which a request was tried first.
enum class Nearness : std::uint8_t { apart, same_machine, same_device };

/// A node as the policy sees it: plain data copied at the moment of choosing.
struct Candidate {
  NodeId node;
  std::uint32_t replica = 0;  // index among the model's, or the node's among all without a model
  std::uint32_t tier = 0;
  cluster::Availability availability = cluster::Availability::unknown;
  bool excluded = false;        // tried already for this request, or taken out by an operator
  bool wakeable = false;        // while it is down, a magic packet wakes it
  std::uint32_t in_flight = 0;  // requests of this model sent here and not finished
  std::uint32_t limit = 1;      // of those
  double left_s = 0;            // until those in flight will have ended, on average
  float left_doubt = 1;         // see cluster::Stay
  double awaited_s = 0;         // its next places are awaited by others, who will have them so long
  std::uint32_t node_in_flight = 0;  // requests of all models
  Warmth warmth = Warmth::cold;
  std::uint32_t device_in_flight = 0;   // requests at other nodes of its device
  std::uint32_t machine_in_flight = 0;  // at nodes on other devices of its machine
  float foreign_slowdown = 1;           // times as long as without other programs' work there
  bool full = false;                    // of models: loading one pushes another out
  double unused_s = 0;                  // since it was last used with its other options
  std::uint64_t size_bytes = 0;
  double weights = 0;        // of the model, how many
  double cached_tokens = 0;  // of this request's prompt, in the node's cache
  // Learnt; 0: unknown.
  double prefill_tokens_per_s = 0;
  double decode_tokens_per_s = 0;                                // of a stream alone
  double decode_share = cluster::TokenTime::share_guess;         // longer by this with each more
  double device_share = cluster::TokenTime::device_share_guess;  // and with each on its device
  double doubt = 0;          // standard deviation of the logarithm of what decides
  double prefill_prior = 0;  // what its other models make expect
  double decode_prior = 0;
  double load_prior_s = 0;
  double room_wait_s = 0;  // before a load: see cluster::waits_for_room
  double load_s = 0;
  double loading_for_s = 0;   // how long a load of the model has been under way
  double service_s = 0;       // of a whole request
  double peak_service_s = 0;  // the same, quick to follow slow ones: see cluster::note_peak
  TimePoint peak_at{};        // when that was measured
  double rtt_s = 0;
  Nearness nearness = Nearness::apart;  // told by survey_beside
};

/// Whether it takes requests, when it has room.
inline bool can_serve(const Candidate& c) noexcept {
  return !c.excluded && (c.availability == cluster::Availability::healthy ||
                         c.availability == cluster::Availability::trial);
}

/// Whether it would take requests, were it woken.
inline bool asleep(const Candidate& c) noexcept {
  return !c.excluded && c.wakeable && c.availability == cluster::Availability::down;
}

/// A request as the policy sees it.
struct RequestShape {
  double prompt_tokens = 0;
  double expected_tokens = 0;
  double length_spread = 0;  // of them: standard deviation of the logarithm; 0: told
  bool may_wait = false;     // for a place at a node that is full, where that ends sooner
  double waited_s = 0;       // so far
};

}  // namespace sollol::routing

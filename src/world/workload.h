#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/time.h"
#include "cluster/wait_queue.h"
#include "world/fleet.h"

namespace sollol::world {

/// One request that a client makes.
struct Request {
  Duration at{};  // after the start; ignored in a closed loop
  std::uint32_t model = 0;
  std::uint32_t client = 0;
  std::uint32_t session = 0;  // a conversation whose prompt grows; 0: none
  std::uint32_t num_ctx = 0;  // 0: not said
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;  // 0: an embedding
  std::uint32_t said_before = 0;    // of the prompt, in its conversation: a cache may hold it
  std::uint32_t num_predict = 0;    // the longest answer that it asks for; 0: it does not say
  bool streamed = true;             // else the client gets the answer whole, at its end
  cluster::Urgency urgency = cluster::Urgency::normal;
  std::optional<std::uint32_t> pinned{};  // to a node of the fleet, whatever the policy
};

struct Workload {
  std::vector<Request> requests{};  // in the order of `at`
  /// Closed loop: so many users, each of whom takes the next request when the last is answered. 0:
  /// requests come when their time has come.
  std::uint32_t users = 0;
};

/// What requests look like; each field is drawn by itself.
struct Mix {
  std::size_t requests = 20'000;
  double popularity = 0;  // of models: Zipf's exponent; 0: all alike
  std::uint32_t clients = 10;
  double prompt_median = 300, prompt_spread = 0.8;  // log-normal: the spread is of the logarithm
  double output_median = 120, output_spread = 0.8;
  std::uint32_t tokens_max = 4000;
  double told = 0;   // share of requests that tell the length of their answer
  double turns = 1;  // of a conversation on average; its prompt holds all that was said before
  bool urgencies = false;                // interactive, normal and batch work together
  std::vector<std::uint32_t> num_ctx{};  // what clients ask for, by turns; empty: nothing
};

/// Requests without their times. Equal seed, equal requests.
std::vector<Request> draw_requests(const Fleet& fleet, const Mix& mix, std::uint64_t seed);

enum class Arrivals : std::uint8_t {
  poisson,
  bursty,  // ten times as fast for a tenth of the time, and none for a long while
  at_once,
};

/// Gives requests their times, `per_s` on average.
void draw_times(std::vector<Request>& requests, Arrivals arrivals, double per_s,
                std::uint64_t seed);

/// Reads a trace: CSV with a line of names first: at_s, model, prompt_tokens and output_tokens, and
/// where wanted client, session, num_ctx, num_predict, told (1: num_predict is output_tokens),
/// streamed (0 or 1; 1 where it is not said) and urgency (interactive, normal, batch). Embeddings,
/// which have no tokens of output, are not streamed. Error: one line that names file, line, field
/// and mend.
Result<Workload> read_trace(std::string_view csv, std::string_view file, const Fleet& fleet);

}  // namespace sollol::world

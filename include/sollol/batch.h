#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sollol/call.h"
#include "sollol/failure.h"

namespace sollol {

enum class BatchOrder : std::uint8_t {
  input,     // results in the order of the lines
  finished,  // as they end
};

struct BatchOptions {
  std::string input;            // JSON Lines: a request each; blank lines are passed over
  std::string output;           // a result each; beside it stands OUTPUT.journal
  std::string endpoint = {};    // of lines that name none, "/v1/chat/completions"; empty: told by
                                // their fields
  std::size_t concurrency = 0;  // requests at once; 0: automatic
  std::optional<std::size_t> failures_max = {};  // more failed lines end the batch
  BatchOrder order = BatchOrder::input;
  bool retry_failed = false;  // lines that failed in an earlier run too
};

/// What a node did for a batch.
struct BatchShare {
  std::string node = {};
  std::size_t requests = 0;
  std::uint64_t output_tokens = 0;
};

/// How far a batch is.
struct BatchProgress {
  std::size_t lines = 0;
  std::size_t done = 0;     // of those, earlier runs' and failed ones included
  std::size_t failed = 0;   // of those that are done
  std::size_t resumed = 0;  // done by earlier runs
  std::size_t in_flight = 0;
  std::size_t hedges = 0;  // requests that were asked a second time at a free node
  double elapsed_s = 0;
  double lines_per_s = 0;               // of this run
  double left_s = -1;                   // expected; -1: nothing is known yet
  std::string width = {};               // how many at once, and why
  std::vector<BatchShare> shares = {};  // of this run, by name
};

/// What its owner wants of a batch.
enum class BatchWish : std::uint8_t {
  go_on,
  finish,   // start nothing more
  abandon,  // and leave what is in flight
};
/// Called some ten times a second, and whenever a request ends.
using BatchWatch = std::function<BatchWish(const BatchProgress&)>;

struct BatchReport {
  BatchProgress progress;
  std::string stopped;  // why it ended early; empty: all lines are done
};

/// Runs a batch over the nodes behind `start`, a pool's or a gateway client's, on the calling
/// thread: so wide as its nodes bear, the longest first, and at the end at whichever node is
/// soonest done. A request that fails in a way that may pass is made again; what stays wrong is the
/// line's result. Requests are sent with the lowest urgency: whatever else the gateway has to do
/// goes first.
///
/// Whatever ends the process, the same call goes on where it was; only what was in flight is asked
/// again. Failures: a file that cannot be used; an output of something else; no usable node
/// (`unreachable`). docs/batch.md has the forms of lines.
std::expected<BatchReport, Failure> run_batch(const BatchOptions& options, const CallStarter& start,
                                              const BatchWatch& watch = {});

}  // namespace sollol

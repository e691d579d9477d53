#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/node_model.h"

namespace sollol::sim {

/// What one node has seen and done since it was made.
struct NodeCounters {
  std::map<std::string, std::uint64_t, std::less<>> requests;  // by "POST /api/chat"
  std::uint64_t accepted = 0;                                  // connections
  std::uint64_t open = 0;                                      // connections now
  std::uint64_t in_flight = 0;                                 // inference requests now
  std::uint64_t max_in_flight = 0;
  std::uint64_t completed = 0;    // inference requests answered to their end
  std::uint64_t client_gone = 0;  // requests whose client left before the end
  std::uint64_t tokens = 0;       // generated
  std::uint64_t faults = 0;       // met by requests
  NodeTotals model;               // loads, evictions, ...
  std::uint64_t total() const;    // requests
  std::uint64_t of(std::string_view route) const;
};

/// A request as it came.
struct SeenRequest {
  std::string method;
  std::string path;
  std::string head;  // with its request line; names, order and case kept
  std::string body;  // empty for blobs
};

/// The counters of one node: written by the fleet's thread, read by any. `changed` is told of each
/// change.
class Recorder {
 public:
  explicit Recorder(std::function<void()> changed) : changed_(std::move(changed)) {}

  void update(const std::function<void(NodeCounters&)>& change);
  void saw(SeenRequest request);
  NodeCounters counters() const;
  std::vector<SeenRequest> requests() const;  // the last ones, oldest first

 private:
  mutable std::mutex mutex_;
  NodeCounters counters_;
  std::deque<SeenRequest> requests_;
  std::function<void()> changed_;
};

}  // namespace sollol::sim

#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <vector>

#include "base/time.h"
#include "routing/consider.h"

namespace sollol::gateway {

/// One choice of a node, kept for `GET /sollol/v1/decisions`.
struct DecisionRecord {
  WallTime when;
  std::string request_id;
  std::string model;
  std::string node;
  std::string reason;
  std::string explanation;  // of every candidate, when the request asked for it
  double cost_s = 0;        // what the policy expected; 0 when it does not estimate
  unsigned candidates = 0;
  unsigned attempt = 1;
  routing::Consideration considered{};
  /// What came of it.
  struct Answer {
    double took_s = 0;  // from the choice to the end of the answer; 0: not over, or not answered
    double load_s = 0;  // of it
    std::uint64_t prompt_tokens = 0;
    std::uint64_t output_tokens = 0;
  } answer{};
};

/// The last decisions of one worker, in a ring whose strings keep their memory. Locked because
/// people read it from another worker; the owner's lock is uncontended.
class DecisionLog {
 public:
  explicit DecisionLog(std::size_t kept) : ring_(kept) {}

  /// Its number.
  template <class Fill>
  std::size_t add(Fill&& fill) {
    if (ring_.empty()) return 0;
    const std::scoped_lock lock(mutex_);
    fill(ring_[next_ % ring_.size()]);
    return next_++;
  }
  /// What came of a decision, if it is still kept.
  void answered(std::size_t number, const DecisionRecord::Answer& answer) {
    const std::scoped_lock lock(mutex_);
    if (next_ - number <= ring_.size() && number < next_)
      ring_[number % ring_.size()].answer = answer;
  }
  std::vector<DecisionRecord> newest_first() const {
    const std::scoped_lock lock(mutex_);
    std::vector<DecisionRecord> records;
    const std::size_t count = next_ < ring_.size() ? next_ : ring_.size();
    for (std::size_t back = 1; back <= count; ++back)
      records.push_back(ring_[(next_ - back) % ring_.size()]);
    return records;
  }

 private:
  mutable std::mutex mutex_;
  std::vector<DecisionRecord> ring_;
  std::size_t next_ = 0;
};

}  // namespace sollol::gateway

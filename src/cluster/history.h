#pragma once

#include <cstdint>
#include <map>

#include "base/ids.h"
#include "base/recent_table.h"
#include "cluster/speed.h"

namespace sollol::cluster {

/// What a conversation left behind at the node that answered it last.
struct SessionTrace {
  NodeId node{0};
  std::uint32_t replica = 0;  // its index among the model's, then
  std::uint64_t turn = 0;     // of the replica's, when it was sent there
  std::uint32_t tokens = 0;   // of prompt and answer, which lie in the node's prompt cache
};

/// How long an answer will be.
struct ExpectedLength {
  double tokens = 0;
  double spread = 1;  // standard deviation of its logarithm: how far off that may be
};

/// What the gateway remembers of conversations and of how long answers are. Any thread.
class History {
 public:
  static constexpr std::size_t sessions_kept = 1 << 16;
  static constexpr std::size_t lengths_kept = 1 << 13;
  static constexpr double tokens_when_unknown = 128;  // a short answer

  std::optional<SessionTrace> session(std::uint64_t key) const { return sessions_.find(key); }
  void note_session(std::uint64_t key, const SessionTrace& trace) {
    sessions_.update(key, [&](SessionTrace& kept) { kept = trace; });
  }

  /// How many tokens an answer has that may have no more than `limit` (0: any number): by what the
  /// model gave this client, else anybody, before; or by how much of their limits this client's
  /// answers took, where that told more. `model`: its key_hash.
  ExpectedLength expected_length(std::uint64_t model, std::uint64_t client,
                                 std::uint64_t limit) const;
  void note_length(std::uint64_t model, std::uint64_t client, std::uint64_t limit, double tokens,
                   TimePoint now);

  /// The lengths of answers, and the parts of their limits, by keys that tell neither model nor
  /// client.
  std::map<std::uint64_t, KeptEstimate> lengths() const;
  void restore_lengths(const std::map<std::uint64_t, KeptEstimate>& lengths);

 private:
  RecentTable<SessionTrace> sessions_{sessions_kept};
  RecentTable<Estimate> lengths_{lengths_kept};
};

}  // namespace sollol::cluster

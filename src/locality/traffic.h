#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/time.h"
#include "locality/contention.h"

namespace sollol::locality {

/// One request that a node has finished, however it ended.
struct TrafficRecord {
  NodeId node{0};
  std::uint64_t kind = 0;      // rates of one kind may be compared: one model, options and size
  TimePoint began{}, ended{};  // sent to the node, answered by it
  TimePoint decode_began{};    // from here to `ended` it wrote tokens, when `tokens_per_s` is told
  double tokens_per_s = 0;     // 0: none that counts
  bool solo = false;           // nothing else of ours was at the node in all that time
};

struct TrafficRules {
  /// Stricter than for probes: what people send is not chosen to be compared.
  ContentionRules contention{.confidence = 0.999, .samples_min = 8};
  double beside_min = 0.9;                         // of a decode, to count as beside another
  Duration near = std::chrono::minutes(10);        // alone and beside are compared within
  Duration pending_max = std::chrono::minutes(5);  // until it is clear what its neighbours did
  Duration keep = std::chrono::hours(24);
  std::size_t records_max = 256;  // of a node that are kept to tell what it did when
  std::size_t kinds_max = 8;      // of a node
};

/// What two nodes are to each other, by what normal traffic showed.
struct TrafficVerdict {
  NodeId a, b;  // the lesser first
  Verdict verdict;
};

/// Judges which nodes slow each other by requests that others sent.
///
/// A request tells a node's rate *alone* when no neighbour worked while it wrote its tokens, and
/// *beside* a neighbour when that one wrote tokens nine tenths of that time, itself a single
/// request, and no other neighbour worked. Every other one is dropped, and so is one beside which
/// its own node had more to do: rates of unequal concurrency do not compare. Whether a neighbour
/// rested is known only once all that it had then is finished, so requests wait for their
/// judgement, `pending_max` at most. Rates alone and beside are compared when they are of one kind
/// and within `near` of each other, so that no slow change looks like a neighbour; and of both
/// nodes there must be enough, since foreign work at one looks like contention of one side.
///
/// All memory is bounded: per node `records_max` records, `kinds_max` kinds with
/// `contention.samples_max` rates alone and beside each neighbour. One thread; told the time.
class TrafficJudge {
 public:
  using Pair = std::pair<NodeId, NodeId>;

  explicit TrafficJudge(TrafficRules rules = {}) : rules_(rules) {}

  /// Who is whose neighbour, from now on. Of all other nodes everything is forgotten.
  void watch(const std::vector<Pair>& neighbours);
  bool watches(NodeId node) const { return nodes_.contains(node); }
  /// Records come in any order.
  void note(const TrafficRecord& record);
  /// All that was sent to the node before `at` is finished and noted.
  void settled(NodeId node, TimePoint at);
  /// Judges what can be judged by now.
  void advance(TimePoint now);
  /// What is sure, of pairs that had new rates since the last call.
  std::vector<TrafficVerdict> news();
  Verdict verdict(NodeId a, NodeId b) const;
  /// It is another node now, or serves in another way.
  void forget(NodeId node);
  /// Before `until`, nodes did what was not noted: nothing of that time is judged.
  void blind(TimePoint until);

 private:
  struct Rate {
    TimePoint when{};
    double tokens_per_s = 0;
  };
  using Rates = std::deque<Rate>;
  struct Kind {
    Rates alone{};
    std::map<NodeId, Rates> beside{};
    TimePoint used{};
  };
  struct Node {
    std::vector<NodeId> neighbours{};
    std::deque<TrafficRecord> records{};  // in the order noted
    std::deque<TrafficRecord> pending{};  // of them, those whose rate is not judged yet
    TimePoint settled{};
    TimePoint blind_until{};  // what it did before is not known any more
    std::map<std::uint64_t, Kind> kinds{};
  };
  enum class Outcome : std::uint8_t { wait, drop, alone, beside };
  struct Found {
    Outcome outcome = Outcome::wait;
    NodeId other{0};
  };

  Found judge_record(const Node& node, const TrafficRecord& record) const;
  void keep(Node& node, const TrafficRecord& record, const Found& found);
  void keep(Rates& rates, const TrafficRecord& record) const;
  std::pair<std::vector<double>, std::vector<double>> rates_of(NodeId node, NodeId other) const;

  TrafficRules rules_;
  std::map<NodeId, Node> nodes_;
  std::map<Pair, bool> changed_;
};

}  // namespace sollol::locality

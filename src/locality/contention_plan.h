#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/time.h"
#include "locality/contention.h"
#include "locality/grouping.h"

namespace sollol::locality {

/// Two nodes of which it is worth to know whether they slow each other; names, the lesser first.
using Pair = std::pair<std::string, std::string>;

/// What has been measured: some rates of each node alone, and of pairs beside each other. From
/// probes and from normal traffic alike. Keeps the last `samples_max` of each. One thread at a
/// time.
class Measurements {
 public:
  explicit Measurements(const ContentionRules& rules = {}) : rules_(rules) {}

  /// A rate that is not a positive number is passed over.
  void note_alone(const std::string& node, double tokens_per_s);
  /// The rate of `node` while `other` worked all the time.
  void note_beside(const std::string& node, const std::string& other, double tokens_per_s);
  /// The node is gone, or serves something else now.
  void forget(const std::string& node);

  std::span<const double> alone(const std::string& node) const;
  std::span<const double> beside(const std::string& node, const std::string& other) const;
  /// How many of alone(node) came after the first that is kept of the two beside each other.
  std::size_t fresh(const std::string& node, const Pair& pair) const;
  /// Once enough of a node's rates alone were taken along with the pair's, those and a few before
  /// count: what drifted in the meantime is no slowdown.
  Verdict verdict(const Pair& pair) const;
  /// How many tokens a request at this node should write (`num_predict`) so that it works about so
  /// long. Two that are sent at once then also end about together, as `beside` means; the one that
  /// ends later has worked alone for the rest, which makes its slowdown look smaller.
  std::uint32_t tokens_for(const std::string& node, Duration work) const;
  const ContentionRules& rules() const { return rules_; }

 private:
  struct Samples {
    std::vector<double> rates{};
    std::vector<std::uint64_t> when{};  // in the order of all samples
  };
  void keep(Samples& samples, double rate);

  ContentionRules rules_;
  std::uint64_t noted_ = 0;
  std::map<std::string, Samples> alone_;
  std::map<std::pair<std::string, std::string>, Samples> beside_;
};

/// The next thing to measure: one short request at `a` with its neighbours idle, or one at each of
/// `a` and `b` at the same time.
struct Probe {
  enum class Kind : std::uint8_t { alone, beside } kind = Kind::alone;
  std::string a{}, b{};  // b is empty for `alone`
  std::size_t requests() const { return kind == Kind::alone ? 1 : 2; }
};

/// How much a measurement may cost.
struct ProbeBudget {
  std::size_t requests_max = 600;  // of one measurement of a fleet
  std::size_t pairs_max = 256;     // that are suspected at all
};

/// The pairs worth measuring, most telling first: those that share a machine and of whose devices
/// nothing is known, then those that only a hint ties (equal stores before equal names), then those
/// whose signs were overruled. Others are not suspected of anything. O(pairs).
std::vector<Pair> suspects(const Grouping& grouping, const ProbeBudget& budget = {});

/// What to measure next; nullopt: all that can be decided is, or the budget is spent.
///
/// Pair after pair; alone and beside in turn, so that a slow drift meets both alike. A node's rates
/// alone serve all its pairs, until one is hard to decide: then they are taken anew. A pair is left
/// out when it follows from others: two nodes of one device are the same to every third, and so are
/// two of one machine to what was found elsewhere. `spent` is what this measurement has cost so
/// far.
std::optional<Probe> next_probe(std::span<const Pair> suspects, const Measurements& measurements,
                                std::size_t spent, const ProbeBudget& budget = {});

/// What `pair` is to each other because of what was found of the others, where it was not measured
/// to the end itself: see next_probe. Unknown when nothing follows.
Relation implied(std::span<const Pair> pairs, const Measurements& measurements, const Pair& pair);

/// The verdicts on the pairs, in the form that group() takes; undecided ones are left out.
std::vector<Contention> findings(std::span<const Pair> pairs, const Measurements& measurements);

}  // namespace sollol::locality

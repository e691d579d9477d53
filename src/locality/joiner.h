#pragma once

#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "locality/evidence.h"

namespace sollol::locality {

/// Something that several nodes show, and that speaks for their sharing a host or a device.
struct Sign {
  EvidenceKind kind;
  Scope scope = Scope::host;
  std::vector<std::size_t> nodes{};  // ascending, at least two
  std::string text{};
  double confidence = 1;
};

/// What tells nodes apart: two groups of nodes that both have labels, and none in common.
struct Labels {
  EvidenceKind kind;
  Scope scope = Scope::host;
  std::vector<std::set<std::string>> of{};  // by node; empty: no label
  std::string_view what{};                  // "the configuration names hosts"
};

/// Joins nodes by signs, strongest kind first, and logs what became of each. Independent of the
/// order of the signs within a call.
class Joiner {
 public:
  /// `log` outlives this.
  Joiner(std::size_t nodes, std::vector<Labels> labels, std::vector<Evidence>& log);

  /// Joins by signs of one kind, as far as labels of the kinds `apart` allow it.
  void join(std::span<const Sign> signs, std::span<const EvidenceKind> apart);
  std::size_t root(std::size_t node) const;

 private:
  struct Conflict {
    const Labels* labels;
    std::size_t a, b;  // nodes
  };

  std::optional<Conflict> conflict(const std::set<std::size_t>& roots,
                                   std::span<const EvidenceKind> apart) const;
  std::optional<Conflict> conflict_of(const Labels& labels,
                                      const std::set<std::size_t>& roots) const;
  std::set<std::size_t> roots_of(const Sign& sign) const;
  void note(const Sign& sign, const std::optional<Conflict>& conflict);
  std::size_t note_apart(const Conflict& conflict);
  void unite(std::size_t a, std::size_t b);

  std::vector<std::size_t> parent_;  // by node; always the least of its group
  std::vector<std::vector<std::size_t>> members_;
  std::vector<Labels> labels_;                                  // merged at the roots
  std::vector<std::vector<std::set<std::string>>> own_labels_;  // as given
  std::vector<Evidence>& log_;
  std::map<std::tuple<EvidenceKind, std::size_t, std::size_t>, std::size_t> apart_;  // in the log
};

}  // namespace sollol::locality

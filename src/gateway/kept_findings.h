#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "locality/facts.h"

namespace sollol::gateway {

/// By what a node that was measured is known again. Another version or none of its addresses left:
/// it is another node, or one that works differently.
struct NodeSign {
  std::string url{};
  std::vector<std::string> addresses{};  // IP literals; empty: not known yet
  std::string version{};                 // of Ollama; empty: not known yet
  bool operator==(const NodeSign&) const = default;
};

/// Whether `now` can still be what `then` was. What is not known contradicts nothing.
bool same_node(const NodeSign& then, const NodeSign& now);

/// How two nodes were found to share something, or not.
enum class MeasuredBy : std::uint8_t { request, traffic };
std::string_view name(MeasuredBy source) noexcept;
/// "same_device", "same_host", "independent", "unknown".
std::string_view name(locality::Relation relation) noexcept;
std::optional<locality::Relation> parse_relation(std::string_view text);

/// What was found of two nodes, with when and how.
struct KeptFinding {
  NodeSign a{}, b{};  // a's url is the lesser
  locality::Relation relation = locality::Relation::unknown;
  double confidence = 0;
  double slowdown = 1;  // 0: it follows from what was measured of others
  MeasuredBy source = MeasuredBy::request;
  WallTime when{};
  bool operator==(const KeptFinding&) const = default;
};

/// A finding about nodes that are there, with their names.
struct NamedFinding {
  std::string a, b;
  KeptFinding finding;
};

/// The findings that a gateway keeps, over restarts too: one of each pair. Told the time. One
/// thread.
class KeptFindings {
 public:
  static constexpr std::size_t findings_max = 1024;  // the oldest go

  /// Takes the place of what was known of the pair, but for this: what was measured on request is
  /// not replaced by what traffic showed. False: it was not taken up.
  bool note(KeptFinding finding);
  /// Forgets what is known of two nodes.
  void forget(std::string_view url_a, std::string_view url_b);
  /// Forgets what was found before `oldest`, and what speaks of a node that is another now.
  /// `sign_now`: of the node at a URL; nullopt when there is none at present, which proves nothing.
  void drop_stale(WallTime oldest,
                  const std::function<std::optional<NodeSign>(const std::string& url)>& sign_now);
  const std::vector<KeptFinding>& all() const noexcept { return findings_; }

 private:
  std::vector<KeptFinding> findings_;
};

}  // namespace sollol::gateway

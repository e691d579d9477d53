#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/time.h"
#include "doctor/facts.h"

namespace sollol::cli {

/// What a server says when it is asked as a node.
struct NodeAnswer {
  doctor::EntryFact::Answer answer = doctor::EntryFact::Answer::silent;
  bool from_gateway = false;         // it is a gateway of ours
  std::vector<Address> addresses{};  // of its host; empty: the name does not resolve
  std::string version{};
  std::vector<doctor::ModelFact> models{};
  std::vector<doctor::LoadedFact> loaded{};
  std::optional<Duration> clock_ahead{};  // by its Date field, to the second
  Duration took{};                        // of the first question, connecting included
};

/// Asks each of the servers at these URLs, some at once: /api/version, /api/tags, /api/ps. Each
/// question may take `timeout`. Blocks; the answers are in the order of the URLs.
std::vector<NodeAnswer> ask_nodes(std::span<const std::string> urls, Duration timeout);

}  // namespace sollol::cli

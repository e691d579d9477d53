#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sollol::sim {

/// The four parts of a model's name with the defaults filled in (reference/ollama-api.md §3).
/// The simulator reads names with code of its own, so that a mistake of the gateway's shows.
struct ModelName {
  std::string host = "registry.ollama.ai";
  std::string space = "library";
  std::string model;
  std::string tag = "latest";

  /// nullopt when Ollama would call the name invalid.
  static std::optional<ModelName> parse(std::string_view written);

  /// As `/api/tags` shows it: defaults left out, the tag always there.
  std::string display() const;
  /// The same for every spelling of one name.
  std::string key() const;
};

/// A name as an inference request gives it, without the `:local` that only says where it must run.
struct SourcedName {
  std::string_view name;
  bool conflict = false;  // it says `:local` and `:cloud`
};
SourcedName split_source(std::string_view written);

}  // namespace sollol::sim

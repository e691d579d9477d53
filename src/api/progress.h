#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "api/routes.h"

namespace sollol::api {

/// Merges what several nodes say about one pull, push, create, delete or copy into one answer for
/// Ollama's clients.
///
/// Progress of one digest is the sum over the nodes that report it and never goes back; every line
/// names its node in `sollol`, which clients ignore. No line says "success" or "error" before all
/// nodes are done, because clients stop at either. Not thread-safe.
class ProgressMerger {
 public:
  explicit ProgressMerger(std::vector<std::string> node_names,
                          Operation operation = Operation::pull);

  /// A line of a node's stream, or the body of its unstreamed answer. The lines to send on, each
  /// with its '\n'; may be none. What is not a JSON object is dropped.
  std::string feed(std::size_t node, std::string_view line);

  /// An answer without a body that says so (copy, delete).
  void node_succeeded(std::size_t node);

  /// The node answered with an error or could not be asked; its first outcome stands. A 404 of a
  /// copy or delete only means that this node does not have the model.
  void node_failed(std::size_t node, std::string_view message, int status = 500);

  /// The last line, once every node is done: success, or what failed where. A node without an
  /// outcome has failed.
  std::string finish();

  /// The answer to `stream:false`, and to copy and delete; after every node is done.
  int status_for_unstreamed() const;
  std::string body_for_unstreamed() const;

 private:
  enum class Outcome : std::uint8_t { pending, success, absent, failed };
  struct Node {
    std::string name;
    Outcome outcome = Outcome::pending;
    int status = 0;
    std::string message;
  };
  struct Layer {
    std::vector<std::uint64_t> total, completed;  // by node
  };

  bool all_succeeded() const;
  std::string error_text() const;
  std::string outcomes() const;
  std::string layer_line(std::size_t node, std::string_view status, const std::string& digest,
                         std::string_view line);
  std::string status_line(std::size_t node, std::string_view status) const;

  std::vector<Node> nodes_;
  Operation operation_;
  std::unordered_map<std::string, Layer> layers_;
  std::unordered_set<std::string> statuses_sent_;
};

}  // namespace sollol::api

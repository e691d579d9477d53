#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "discovery/json_span.h"
#include "discovery/node_spec.h"

namespace sollol::discovery {

/// The node file, `{"nodes": [{"url", "name", "priority"}]}`: read, changed in place and saved.
///
/// What a person wrote is never changed by what a scan found.
///
/// A change touches only the entry concerned: comments (`//`), the order and layout of everything,
/// and fields that are not ours come back as they were, byte for byte. `slots`, `host`, `device`
/// (the operator's word on the machine and the GPU), `mac` and `wake` are understood beside the
/// three fields above.
class NodeFile {
 public:
  /// An entry that cannot be used is left out of nodes() and explained in warnings(); it stays in
  /// the text. Error: bad_input with path, line and mend when the text is no JSON or has no list of
  /// nodes.
  static Result<NodeFile> parse(std::string text, std::string path);

  /// The file at `path`. Error: not_found when there is none; else as above.
  static Result<NodeFile> load(std::string path);

  /// A file without nodes, to be filled and saved.
  static NodeFile empty(std::string path);

  const std::vector<NodeSpec>& nodes() const { return nodes_; }
  const std::vector<std::string>& warnings() const {
    return warnings_;
  }  // "node file P, line 7: nodes[2].url: ..."
  const std::string& path() const { return path_; }
  const std::string& text() const { return text_; }

  /// Adds the node at the end, or gives the entry of the same address this name, priority and
  /// slots; a host, a device and a MAC address that are not said leave what is written there.
  void put(const NodeSpec& node);

  /// Adds a node unless its address has an entry. Whether it was added.
  bool add(const NodeSpec& node);

  /// Adds a node that was found on the network, marked `"origin": "discovered"`. An entry of the
  /// same address stays as it is, whoever wrote it. Whether it was added.
  bool add_found(const NodeSpec& node);

  /// Takes out the entry of this address if a scan had put it there. Whether there was one.
  bool remove_found(const NodeSpec& node);

  /// Takes out every entry of this address. Whether there was one.
  [[nodiscard]] bool remove(const NodeSpec& node);

  /// Writes the text back to path(), replacing the file at once. Error: bad_input with the system's
  /// reason.
  Result<void> save() const;

 private:
  NodeFile(std::string text, std::string path) : text_(std::move(text)), path_(std::move(path)) {}
  Result<void> read();
  Result<NodeSpec> read_entry(const JsonSpan& entry, std::string_view where) const;
  Result<void> read_wake(const JsonSpan& entry, std::string_view where, NodeSpec& node) const;
  Error mistake(const JsonSpan& at, std::string_view field, std::string_view why) const;
  const JsonSpan& list() const { return *root_.find("nodes"); }
  void replace(std::size_t begin, std::size_t end, std::string_view with);

  std::string text_;
  std::string path_;
  JsonSpan root_;                  // of text_
  std::vector<std::string> keys_;  // address_key of each entry of the list; empty for one left out
  std::vector<NodeSpec> nodes_;
  std::vector<std::string> warnings_;
};

}  // namespace sollol::discovery

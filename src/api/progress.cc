#include "api/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "api/json_scan.h"
#include "api/json_text.h"

namespace sollol::api {
namespace {

/// No pull has more layers or kinds of status; what comes beyond is dropped, so a mad node cannot
/// fill our memory.
constexpr std::size_t layers_max = 4096;
constexpr std::size_t statuses_max = 4096;

std::uint64_t sum(const std::vector<std::uint64_t>& numbers) {
  return std::accumulate(numbers.begin(), numbers.end(), std::uint64_t{0});
}

std::string_view verb(Operation operation) {
  return operation == Operation::remove ? "delete" : operation_name(operation);
}

}  // namespace

ProgressMerger::ProgressMerger(std::vector<std::string> node_names, Operation operation)
    : operation_(operation) {
  for (auto& name : node_names) nodes_.emplace_back().name = std::move(name);
}

std::string ProgressMerger::feed(std::size_t node, std::string_view line) {
  if (nodes_[node].outcome != Outcome::pending) return {};
  if (const auto error = json_field(line, "error"); !error.empty() && error != "null") {
    node_failed(node, json_decoded(error));
    return nodes_.size() == 1 ? std::string{}
                              : status_line(node, fmt::format("failed: {}", nodes_[node].message));
  }
  const auto status = json_string_value(json_field(line, "status"));
  if (!status) return {};
  if (*status == "success") {
    node_succeeded(node);
    return nodes_.size() == 1 ? std::string{} : status_line(node, "done");
  }
  if (const auto digest = json_string_value(json_field(line, "digest"))) {
    return layer_line(node, *status, *digest, line);
  }
  if (statuses_sent_.size() >= statuses_max || !statuses_sent_.insert(*status).second) return {};
  return fmt::format("{{\"status\":{},\"sollol\":{{\"node\":{}}}}}\n",
                     json_string(*status, JsonEscape::html), json_string(nodes_[node].name));
}

/// Takes over one node's progress of a layer, which never goes back, and tells the sum over the
/// nodes.
std::string ProgressMerger::layer_line(std::size_t node, std::string_view status,
                                       const std::string& digest, std::string_view line) {
  if (layers_.size() >= layers_max && !layers_.contains(digest)) return {};
  Layer& layer = layers_[digest];
  layer.total.resize(nodes_.size());
  layer.completed.resize(nodes_.size());
  const auto raise = [&](std::vector<std::uint64_t>& known, std::string_view key) {
    known[node] = std::max(known[node], json_unsigned(json_field(line, key)).value_or(0));
    return sum(known);
  };
  const auto total = raise(layer.total, "total");
  const auto completed = raise(layer.completed, "completed");
  std::string out =
      fmt::format("{{\"status\":{},\"digest\":{}", json_string(status, JsonEscape::html),
                  json_string(digest, JsonEscape::html));
  if (total > 0) out += fmt::format(",\"total\":{}", total);  // zeros are left out, as Ollama does
  if (completed > 0) out += fmt::format(",\"completed\":{}", completed);
  return out += fmt::format(",\"sollol\":{{\"node\":{}}}}}\n", json_string(nodes_[node].name));
}

std::string ProgressMerger::status_line(std::size_t node, std::string_view status) const {
  const auto& name = nodes_[node].name;
  return fmt::format("{{\"status\":{},\"sollol\":{{\"node\":{}}}}}\n",
                     json_string(fmt::format("{}: {}", name, status), JsonEscape::html),
                     json_string(name));
}

void ProgressMerger::node_succeeded(std::size_t node) {
  if (nodes_[node].outcome == Outcome::pending) nodes_[node].outcome = Outcome::success;
}

void ProgressMerger::node_failed(std::size_t node, std::string_view message, int status) {
  if (nodes_[node].outcome != Outcome::pending) return;
  const bool may_be_absent = operation_ == Operation::copy || operation_ == Operation::remove;
  nodes_[node].outcome = may_be_absent && status == 404 ? Outcome::absent : Outcome::failed;
  nodes_[node].status = status;
  nodes_[node].message = message;
}

std::string ProgressMerger::finish() {
  for (std::size_t node = 0; node < nodes_.size(); ++node)
    node_failed(node, "ended without a result");
  if (all_succeeded()) return fmt::format("{{\"status\":\"success\",\"sollol\":{}}}\n", outcomes());
  return fmt::format("{{\"error\":{},\"sollol\":{}}}\n",
                     json_string(error_text(), JsonEscape::html), outcomes());
}

/// A copy or delete is done when every node that has the model has done it.
bool ProgressMerger::all_succeeded() const {
  const auto is = [](Outcome outcome) {
    return [outcome](const Node& node) { return node.outcome == outcome; };
  };
  return std::ranges::any_of(nodes_, is(Outcome::success)) &&
         std::ranges::none_of(nodes_, is(Outcome::failed)) &&
         std::ranges::none_of(nodes_, is(Outcome::pending));
}

/// What all nodes say alike is said in their words; else who failed, and why.
std::string ProgressMerger::error_text() const {
  if (nodes_.empty()) return "no node to ask";
  const auto& first = nodes_.front();
  const auto says_the_same = [&first](const Node& node) {
    return (node.outcome == Outcome::failed || node.outcome == Outcome::absent) &&
           node.message == first.message;
  };
  if (std::ranges::all_of(nodes_, says_the_same)) return first.message;
  std::string reasons;
  std::size_t failed = 0;
  for (const Node& node : nodes_) {
    if (node.outcome != Outcome::failed) continue;
    ++failed;
    if (!reasons.empty()) reasons += "; ";
    reasons += fmt::format("{}: {}", node.name, node.message);
  }
  // All absent, each in words of its own: any of them says it.
  if (failed == 0) return first.message;
  return fmt::format("{} failed on {} of {} nodes: {}", verb(operation_), failed, nodes_.size(),
                     reasons);
}

std::string ProgressMerger::outcomes() const {
  std::string out = R"({"nodes":{)";
  for (const Node& node : nodes_) {
    if (out.back() != '{') out += ',';
    append_json_string(out, node.name);
    out += ':';
    append_json_string(out, node.outcome == Outcome::success ? "success" : node.message,
                       JsonEscape::html);
  }
  return out += "}}";
}

int ProgressMerger::status_for_unstreamed() const {
  if (all_succeeded()) return 200;
  if (nodes_.empty()) return 503;
  const int first = nodes_.front().status;
  const bool same =
      std::ranges::all_of(nodes_, [first](const Node& node) { return node.status == first; });
  if (same && first >= 400) return first;
  // Nodes that lack the model do not blur what went wrong on the others.
  int status = 0;
  for (const Node& node : nodes_) {
    if (node.outcome != Outcome::failed) continue;
    if (status != 0 && status != node.status) return 500;
    status = node.status;
  }
  return status >= 400 ? status : 500;
}

std::string ProgressMerger::body_for_unstreamed() const {
  const bool has_body = operation_ != Operation::copy && operation_ != Operation::remove;
  if (!all_succeeded()) {
    return fmt::format("{{\"error\":{},\"sollol\":{}}}",
                       json_string(error_text(), JsonEscape::html), outcomes());
  }
  return has_body ? fmt::format("{{\"status\":\"success\",\"sollol\":{}}}", outcomes())
                  : std::string{};
}

}  // namespace sollol::api

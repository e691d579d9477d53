#include "world/bound.h"

#include <algorithm>
#include <limits>
#include <utility>

namespace sollol::world {
namespace {

/// How many times the work of one stream the streams of a node do beside each other, at most.
double parallel(const NodeSpec& node) {
  const auto beside = [](double streams, double slowdown) {
    return streams / (1 + slowdown * (streams - 1));
  };
  const double slots = std::max(1u, node.slots);
  if (node.device_slowdown >= 1 || node.models.size() < 2)
    return std::max(1.0, beside(slots, node.parallel_slowdown));
  // Runners beside each other may do more than one with all its slots.
  const double runners = std::min<double>(node.max_loaded, static_cast<double>(node.models.size()));
  return std::max(1.0,
                  beside(slots * runners, std::min(node.parallel_slowdown, node.device_slowdown)));
}

template <class Pace>
void keep_best(std::vector<Pace>& paces) {
  std::ranges::sort(paces, {}, [](const Pace& p) { return std::pair(p.prefill_s, p.decode_s); });
  double least = std::numeric_limits<double>::infinity();
  std::erase_if(paces, [&](const Pace& p) {
    return p.decode_s >= std::exchange(least, std::min(least, p.decode_s));
  });
}

}  // namespace

Bound::Bound(const Fleet& fleet) : plain_(fleet.models.size()), weighted_(fleet.models.size()) {
  std::vector<double> mean(fleet.models.size());
  std::vector<double> count(fleet.models.size());
  for (const NodeSpec& node : fleet.nodes) {
    for (const ReplicaSpec& replica : node.models) {
      mean[replica.model] += replica.decode_tokens_per_s;
      ++count[replica.model];
    }
  }
  for (const NodeSpec& node : fleet.nodes) {
    if (node.models.empty()) continue;
    double worth = 0;
    for (const ReplicaSpec& replica : node.models)
      worth += replica.decode_tokens_per_s * count[replica.model] / mean[replica.model];
    worth /= static_cast<double>(node.models.size());
    speed_ += worth * parallel(node);
    for (const ReplicaSpec& replica : node.models) {
      const Pace pace{1 / replica.prefill_tokens_per_s, 1 / replica.decode_tokens_per_s};
      plain_[replica.model].push_back(pace);
      weighted_[replica.model].push_back({pace.prefill_s * worth, pace.decode_s * worth});
    }
  }
  for (auto& paces : plain_) keep_best(paces);
  for (auto& paces : weighted_) keep_best(paces);
}

double Bound::least(const std::vector<Pace>& paces, const Request& request, std::uint32_t cached) {
  // The last token of a prompt is always evaluated.
  const double prompt =
      request.prompt_tokens - std::min(cached, std::max(request.prompt_tokens, 1u) - 1);
  double best = std::numeric_limits<double>::infinity();
  for (const Pace& pace : paces)
    best = std::min(best, prompt * pace.prefill_s + request.output_tokens * pace.decode_s);
  return best;
}

double Bound::alone_s(const Request& request) const {
  return least(plain_[request.model], request, request.said_before);
}

double Bound::makespan_s(const Workload& workload, std::span<const double> noise) const {
  if (workload.requests.empty()) return 0;
  const double first = workload.users > 0 ? 0 : to_seconds(workload.requests.front().at);
  double work = 0;
  double last = 0;
  for (std::size_t i = 0; i < workload.requests.size(); ++i) {
    const Request& request = workload.requests[i];
    const double comes = workload.users > 0 ? 0 : to_seconds(request.at) - first;
    work += noise[i] * least(weighted_[request.model], request, request.said_before);
    last = std::max(last, comes + noise[i] * alone_s(request));
  }
  return std::max(last, work / speed_);
}

double Bound::capacity_per_s(const std::vector<Request>& requests) const {
  double work = 0;
  for (const Request& request : requests) work += least(weighted_[request.model], request, 0);
  return static_cast<double>(requests.size()) * speed_ / work;
}

}  // namespace sollol::world

#include "world/recorder.h"

#include <algorithm>
#include <cmath>

namespace sollol::world {
namespace {

Median median(std::vector<float>& samples) {
  return {.of = samples.size(), .value = quantiles(samples).p50};
}

}  // namespace

Recorder::Recorder(const Bound& bound, std::size_t requests) : bound_(bound) {
  ttft_s_.reserve(requests);
  completion_s_.reserve(requests);
  report_.took_s.resize(requests);
}

void Recorder::hash(std::uint64_t value) {
  report_.trace_hash = (report_.trace_hash ^ value) * 0x9e3779b97f4a7c15ULL;
  report_.trace_hash ^= report_.trace_hash >> 29;
}

void Recorder::dispatched(std::uint32_t request, std::uint32_t node, TimePoint now) {
  hash(std::uint64_t{request} << 32 | node);
  hash(static_cast<std::uint64_t>(now.time_since_epoch().count()));
}

void Recorder::predicted(const routing::Predictions& predictions, Known known) {
  for (std::size_t term = 0; term < predictions.size(); ++term) {
    const auto error = predictions[term].error();
    if (!error) continue;
    Errors& errors = errors_[term];
    errors.all.push_back(static_cast<float>(*error));
    if (known == Known::nothing) errors.from_priors.push_back(static_cast<float>(*error));
    if (known == Known::learnt) errors.learnt.push_back(static_cast<float>(*error));
  }
}

void Recorder::ended(std::uint32_t index, const Request& request, End how, const Times& times) {
  ++report_.offered;
  first_ = std::min(first_, times.arrived);
  hash(std::uint64_t{index} << 2 | static_cast<std::uint64_t>(how));
  hash(static_cast<std::uint64_t>(times.ended.time_since_epoch().count()));
  switch (how) {
    case End::answered:
      ++report_.answered;
      break;
    case End::refused:
      ++report_.refused;
      return;
    case End::timed_out:
      ++report_.timed_out;
      return;
    case End::failed:
      ++report_.failed;
      return;
  }
  last_ = std::max(last_, times.ended);
  const double took = to_seconds(times.ended - times.arrived);
  ttft_s_.push_back(static_cast<float>(to_seconds(times.first_token - times.arrived)));
  completion_s_.push_back(static_cast<float>(took));
  report_.took_s[index] = static_cast<float>(took);
  output_tokens_ += request.output_tokens;
  if (clients_.size() <= request.client) clients_.resize(request.client + 1);
  clients_[request.client].alone_s += bound_.alone_s(request);
  clients_[request.client].took_s += took;
}

Report Recorder::report(std::uint64_t cold_loads, double lower_bound_s) {
  report_.cold_loads = cold_loads;
  report_.ttft_s = quantiles(ttft_s_);
  report_.completion_s = quantiles(completion_s_);
  report_.makespan_s = report_.answered > 0 ? to_seconds(last_ - first_) : 0;
  report_.lower_bound_s = lower_bound_s;
  if (report_.makespan_s > 0) {
    report_.requests_per_s = static_cast<double>(report_.answered) / report_.makespan_s;
    report_.output_tokens_per_s = static_cast<double>(output_tokens_) / report_.makespan_s;
  }
  std::vector<double> shares;
  for (const Client& client : clients_) {
    if (client.took_s > 0) shares.push_back(client.alone_s / client.took_s);
  }
  report_.fairness = jain(shares);
  for (std::size_t term = 0; term < errors_.size(); ++term) {
    report_.calibration[term] = {.all = median(errors_[term].all),
                                 .from_priors = median(errors_[term].from_priors),
                                 .learnt = median(errors_[term].learnt)};
  }
  return report_;
}

}  // namespace sollol::world

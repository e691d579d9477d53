#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "routing/calibration.h"

namespace sollol::world {

struct Quantiles {
  double mean = 0;
  double p50 = 0;
  double p95 = 0;
  double p99 = 0;
};
/// Sorts the samples.
Quantiles quantiles(std::vector<float>& samples);

/// Jain's index: 1 when all are equal, 1/n when one has everything. Source: Jain, Chiu, Hawe, "A
/// quantitative measure of fairness", DEC TR-301, 1984.
double jain(const std::vector<double>& shares);

struct Median {
  std::size_t of = 0;  // so many samples
  double value = 0;
};

/// How far off the predictions of one term were: medians of |log(actual / predicted)|.
struct Calibration {
  Median all;
  Median from_priors;  // nothing was measured yet of that model on that node
  Median learnt;       // after 50 answers of that model on that node
};

/// How one policy did with one scenario.
struct Report {
  std::uint64_t offered = 0;
  // How each of them ended.
  std::uint64_t answered = 0;
  std::uint64_t refused = 0;    // the queue was full
  std::uint64_t timed_out = 0;  // in the queue
  std::uint64_t failed = 0;     // no node could

  std::uint64_t retries = 0;
  std::uint64_t resumed = 0;          // answers that went on at another node
  std::uint64_t planned_loads = 0;    // of the cold loads, those that no request asked for
  std::uint64_t kept = 0;             // times that a model's stay was renewed
  std::uint64_t hedges = 0;           // second tries in parallel
  std::uint64_t hedges_won = 0;       // that answered first
  std::uint64_t hedges_withheld = 0;  // that the budget did not allow
  std::uint64_t cold_loads = 0;
  Quantiles ttft_s;        // from the request's arrival
  Quantiles completion_s;  // the same
  double requests_per_s = 0;
  double output_tokens_per_s = 0;
  double makespan_s = 0;  // from the first arrival to the last answer
  double lower_bound_s = 0;
  /// Between clients, of the share of their waiting in which an idle fleet would have worked.
  double fairness = 1;
  /// By term of what the gateway predicts (routing::Predicted), whatever the policy makes of it.
  std::array<Calibration, routing::predicted_names.size()> calibration{};

  std::vector<float> took_s{};  // by request, from its arrival to its last token; 0: not answered

  std::uint64_t in_flight_at_end = 0;
  std::uint32_t passed_over_most = 0;  // grants past a class of the queue while it waited
  std::vector<std::string> broken{};   // invariants: the first few
  std::uint64_t trace_hash = 0;        // of every dispatch and every end
};

}  // namespace sollol::world

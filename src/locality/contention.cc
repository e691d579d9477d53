#include "locality/contention.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <numbers>
#include <optional>
#include <vector>

namespace sollol::locality {
namespace {

constexpr double prior_weight = 4;  // of ContentionRules::noise, in samples

/// Of a normal distribution's standard deviation to its median absolute deviation.
constexpr double mad_to_sigma = 1.4826;

double median(std::vector<double> values) {
  assert(!values.empty());
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::ranges::nth_element(values, middle);
  if (values.size() % 2 == 1) return *middle;
  return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

/// Makes the median absolute deviation of n samples unbiased (Croux and Rousseeuw 1992, table for
/// MAD_n).
double small_sample_factor(std::size_t n) {
  constexpr std::array factors = {1.0, 1.0, 1.196, 1.495, 1.363, 1.206, 1.200, 1.140, 1.129, 1.107};
  if (n < factors.size()) return factors[n];
  return static_cast<double>(n) / (static_cast<double>(n) - 0.8);
}

double spread(const std::vector<double>& logs) {
  const auto center = median(logs);
  std::vector<double> deviations;
  deviations.reserve(logs.size());
  for (const auto each : logs) deviations.push_back(std::abs(each - center));
  return mad_to_sigma * small_sample_factor(logs.size()) * median(std::move(deviations));
}

double median_of_fastest(std::vector<double> logs) {
  std::ranges::sort(logs, std::greater{});
  logs.resize((logs.size() + 1) / 2);
  return median(std::move(logs));
}

std::vector<double> usable_logs(std::span<const double> rates, std::size_t max) {
  std::vector<double> logs;
  for (const auto rate : rates) {
    if (std::isfinite(rate) && rate > 0) logs.push_back(std::log(rate));
  }
  if (logs.size() > max) logs.erase(logs.begin(), logs.end() - static_cast<std::ptrdiff_t>(max));
  return logs;
}

struct Slowdown {
  double log = 0;
  double log_of_fastest = 0;                         // the same of the faster half of each list
  double inverse_counts = 0;                         // 1/n + 1/m
  std::vector<std::pair<double, double>> spreads{};  // (standard deviation, degrees of freedom)
};

std::optional<Slowdown> slowdown_of(const NodeRates& rates, const ContentionRules& rules) {
  const auto alone = usable_logs(rates.alone, rules.samples_max);
  const auto beside = usable_logs(rates.beside, rules.samples_max);
  const auto least = std::max<std::size_t>(rules.samples_min, 1);
  if (alone.size() < least || beside.size() < least) return std::nullopt;
  std::vector<double> differences;
  for (const auto a : alone) {
    for (const auto b : beside) differences.push_back(a - b);
  }
  const auto n = static_cast<double>(alone.size()), m = static_cast<double>(beside.size());
  return Slowdown{median(std::move(differences)),
                  median_of_fastest(alone) - median_of_fastest(beside),
                  1 / n + 1 / m,
                  {{spread(alone), n - 1}, {spread(beside), m - 1}}};
}

/// How likely a t-distributed value with so many degrees of freedom is below t (Wallace 1959).
double below(double t, double freedom) {
  const double z =
      (8 * freedom + 1) / (8 * freedom + 3) * std::sqrt(freedom * std::log1p(t * t / freedom));
  return 0.5 * std::erfc(-std::copysign(z, t) / std::numbers::sqrt2);
}

struct Estimate {
  double log = 0;
  double variance = 0;  // of one sample
  double error = 0;     // standard error of log
  double freedom = 0;
};

Estimate combine(std::span<const Slowdown> slowdowns, const ContentionRules& rules) {
  Estimate out;
  double weighted = rules.noise * rules.noise * prior_weight;
  double inverse_counts = 0;
  out.freedom = prior_weight;
  for (const auto& each : slowdowns) {
    out.log += each.log;
    inverse_counts += each.inverse_counts;
    for (const auto& [sigma, freedom] : each.spreads) {
      weighted += sigma * sigma * freedom;
      out.freedom += freedom;
    }
  }
  const auto count = static_cast<double>(slowdowns.size());
  out.log /= count;
  out.variance = weighted / out.freedom;
  out.error = std::sqrt(out.variance * inverse_counts * std::numbers::pi / 3) / count;
  return out;
}

/// So many samples of each kind bring the error down to where the nearest bound is far enough.
std::size_t more_needed(const Estimate& estimate, std::size_t nodes, std::size_t have,
                        const ContentionRules& rules) {
  constexpr double quantile = 3;  // of 0.998 with some degrees of freedom to spare
  const double margin = std::min(std::abs(estimate.log - std::log(rules.host_slowdown)),
                                 std::abs(estimate.log - std::log(rules.device_slowdown)));
  const double error = std::max(margin, 1e-6) / quantile;
  const double needed =
      estimate.variance * 2 * std::numbers::pi / 3 / (static_cast<double>(nodes) * error * error);
  if (have >= rules.samples_max) return 0;
  const auto room = static_cast<double>(rules.samples_max - have);
  const double more = std::ceil(needed) - static_cast<double>(have);
  // Few samples do not tell yet how many are needed.
  if (2 * have >= rules.samples_max && more > 2 * static_cast<double>(rules.samples_max)) return 0;
  return static_cast<std::size_t>(std::clamp(more, 1.0, room));
}

Relation relation_of(double log, const ContentionRules& rules) {
  return log < std::log(rules.host_slowdown)     ? Relation::independent
         : log < std::log(rules.device_slowdown) ? Relation::same_host
                                                 : Relation::same_device;
}

/// Foreign work makes a rate smaller and never larger. So the faster halves show less of it: half
/// of the few samples of a list may have met some, and they still say what is so.
bool fastest_agree(Relation relation, std::span<const Slowdown> slowdowns,
                   const ContentionRules& rules) {
  double sum = 0;
  for (const auto& each : slowdowns) sum += each.log_of_fastest;
  return relation_of(sum / static_cast<double>(slowdowns.size()), rules) == relation;
}

/// What shares slows both, and a neighbour's work makes nobody faster: else foreign work was
/// measured.
bool plausible(Relation relation, const Verdict& verdict, std::span<const Slowdown> slowdowns,
               const ContentionRules& rules) {
  const auto [least, most] = std::ranges::minmax(slowdowns, {}, &Slowdown::log);
  switch (relation) {
    case Relation::same_device:  // three quarters of the way at least, by each
      return least.log >= (std::log(rules.host_slowdown) + 3 * std::log(rules.device_slowdown)) / 4;
    case Relation::same_host:
      return least.log >= std::log(rules.host_slowdown) / 2 &&
             most.log < std::log(rules.device_slowdown);
    default:
      return verdict.slowdown * rules.host_slowdown > 1 &&
             most.log < std::log(rules.device_slowdown);
  }
}

std::size_t missing(const NodeRates& rates, std::size_t least) {
  return least - std::min(least, std::min(rates.alone.size(), rates.beside.size()));
}

}  // namespace

Verdict judge(const NodeRates& a, const NodeRates& b, const ContentionRules& rules) {
  std::vector<Slowdown> slowdowns;
  for (const auto& rates : {a, b}) {
    if (const auto slowdown = slowdown_of(rates, rules)) slowdowns.push_back(*slowdown);
  }
  if (slowdowns.empty()) {
    const auto least = std::min(missing(a, rules.samples_min), missing(b, rules.samples_min));
    return {.confidence = 1.0 / 3,
            .independent = 1.0 / 3,
            .same_host = 1.0 / 3,
            .same_device = 1.0 / 3,
            .more_samples = std::max<std::size_t>(least, 1)};
  }
  const auto estimate = combine(slowdowns, rules);
  const auto below_bound = [&](double bound) {
    return below((std::log(bound) - estimate.log) / estimate.error, estimate.freedom);
  };
  Verdict out;
  out.slowdown = std::exp(estimate.log);
  out.independent = below_bound(rules.host_slowdown);
  out.same_device = 1 - below_bound(rules.device_slowdown);
  out.same_host = std::max(0.0, 1 - out.independent - out.same_device);
  out.confidence = std::max({out.independent, out.same_host, out.same_device});
  const auto likeliest = out.confidence == out.independent   ? Relation::independent
                         : out.confidence == out.same_device ? Relation::same_device
                                                             : Relation::same_host;
  if (out.confidence >= rules.confidence && plausible(likeliest, out, slowdowns, rules) &&
      fastest_agree(likeliest, slowdowns, rules)) {
    out.relation = likeliest;
    return out;
  }
  const auto have = std::max(std::min(a.alone.size(), a.beside.size()),
                             std::min(b.alone.size(), b.beside.size()));
  out.more_samples = more_needed(estimate, slowdowns.size(), have, rules);
  return out;
}

}  // namespace sollol::locality

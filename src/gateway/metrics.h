#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/routes.h"
#include "api/transcript.h"
#include "base/time.h"
#include "routing/calibration.h"

namespace sollol::gateway {

struct Request;
class Worker;
struct Shared;

/// A number that one thread raises and others read: no locked instruction on the path of a request.
class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

/// Durations in fixed buckets, milliseconds to ten minutes: a relay answers in the first, a cold
/// load in the last.
class DurationHistogram {
 public:
  static constexpr std::array<double, 16> bounds_s{
      0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300};
  void observe(Duration d) noexcept;
  std::uint64_t count(std::size_t bucket) const noexcept { return counts_[bucket].value(); }
  double sum_s() const noexcept { return static_cast<double>(sum_us_.value()) * 1e-6; }

 private:
  std::array<Counter, bounds_s.size() + 1> counts_;
  Counter sum_us_;
};

/// How far off predictions were: |log(actual / predicted)|, in fixed buckets.
class PredictionErrors {
 public:
  static constexpr std::array<double, 7> bounds{0.05, 0.1, 0.15, 0.25, 0.5, 1, 2};
  void observe(double error) noexcept;
  std::uint64_t count(std::size_t bucket) const noexcept { return counts_[bucket].value(); }
  double sum() const noexcept { return static_cast<double>(sum_ppm_.value()) * 1e-6; }

 private:
  std::array<Counter, bounds.size() + 1> counts_;
  Counter sum_ppm_;
};

/// What became of a hedge: it answered first, or the first try did; neither answered; the client
/// left before.
enum class HedgeEnd : std::uint8_t { won, lost, failed, left };
inline constexpr std::array<std::string_view, 4> hedge_end_names{"won", "lost", "failed", "left"};

/// One worker's counters.
class Metrics {
 public:
  void observe(const Request& request, TimePoint now) noexcept;

  Counter connections_opened;
  Counter connections_displaced;
  Counter connections_closed;
  Counter retries;
  std::array<Counter, hedge_end_names.size()> hedges;
  Counter hedges_withheld;  // by their budget
  Counter resumed;          // streams that went on at another node, each time
  std::array<Counter, api::obstacle_count> resume_declined;
  Counter stalls;          // streams in which a node fell silent
  Counter broken_streams;  // ended by an error record of ours
  Counter heartbeats;      // empty records sent to streams that wait
  Counter loads_started;   // of models, by the gateway
  Counter loads_joined;    // requests that found one under way and waited for it
  Counter loads_failed;
  Counter reloads;          // for other runner options than the model was loaded with
  Counter contexts_pinned;  // requests whose context was set
  Counter contexts_cut;     // to less than they asked for
  Counter client_disconnects;
  Counter upstream_connects;
  Counter handshakes_failed;  // of clients
  Counter refused_keys;       // requests without a key that is known

  static constexpr std::size_t operations = static_cast<std::size_t>(api::Operation::none) + 1;
  std::array<std::array<Counter, 6>, operations> requests;  // by operation and status class
  std::array<DurationHistogram, operations> durations;
  std::array<PredictionErrors, routing::predicted_names.size()> prediction_errors;  // by Predicted
  DurationHistogram first_byte;
  DurationHistogram queued;
  Counter prompt_tokens;
  Counter output_tokens;
  Counter bytes_out;
};

/// The whole of `/metrics` in Prometheus' text form, over all workers and the fleet.
std::string metrics_text(Worker& worker);

}  // namespace sollol::gateway

#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/time.h"
#include "routing/calibration.h"
#include "world/bound.h"
#include "world/report.h"

namespace sollol::world {

/// Notes what happens, and makes a report of it.
class Recorder {
 public:
  enum class End : std::uint8_t { answered, refused, timed_out, failed };

  Recorder(const Bound& bound, std::size_t requests);

  void dispatched(std::uint32_t request, std::uint32_t node, TimePoint now);
  void retried() { ++report_.retries; }
  void resumed() { ++report_.resumed; }
  void planned() { ++report_.planned_loads; }
  void kept() { ++report_.kept; }
  void hedged() { ++report_.hedges; }
  void hedge_won() { ++report_.hedges_won; }
  void hedge_withheld() { ++report_.hedges_withheld; }
  /// What the gateway knew of a model on a node when it predicted.
  enum class Known : std::uint8_t { nothing, little, learnt };
  void predicted(const routing::Predictions& predictions, Known known);
  struct Times {
    TimePoint arrived{};
    TimePoint first_token{};
    TimePoint ended{};
  };
  void ended(std::uint32_t index, const Request& request, End how, const Times& times);

  /// Of everything.
  Report report(std::uint64_t cold_loads, double lower_bound_s);

 private:
  struct Client {
    double alone_s = 0;  // what its answers would have taken on an idle fleet
    double took_s = 0;
  };

  void hash(std::uint64_t value);

  const Bound& bound_;
  Report report_;
  std::vector<float> ttft_s_;
  std::vector<float> completion_s_;
  /// Errors of one term.
  struct Errors {
    std::vector<float> all;
    std::vector<float> from_priors;
    std::vector<float> learnt;
  };
  std::array<Errors, routing::predicted_names.size()> errors_;
  std::vector<Client> clients_;
  TimePoint first_ = TimePoint::max();
  TimePoint last_{};
  std::uint64_t output_tokens_ = 0;
};

}  // namespace sollol::world

#pragma once

#include <cstdint>
#include <vector>

#include "base/time.h"
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
  void predicted(double predicted_s, double actual_s);
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
  std::vector<float> prediction_errors_;
  std::vector<Client> clients_;
  TimePoint first_ = TimePoint::max();
  TimePoint last_{};
  std::uint64_t output_tokens_ = 0;
};

}  // namespace sollol::world

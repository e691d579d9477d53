#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "gateway/control.h"
#include "gateway/control_probe.h"
#include "gateway/measure.h"
#include "locality/contention_plan.h"

namespace sollol::gateway {

/// A node that is measured: with which model, and how it went so far.
struct Control::MeasureTarget {
  std::shared_ptr<Probe> probe;
  std::string model;
  std::uint32_t num_ctx = 0;     // as it is loaded, so that nothing is loaded anew; 0: not said
  bool cold = false;             // the model is loaded by the first request
  std::uint32_t tokens_cap = 0;  // the shortest answer that ended by itself; 0: none did
  unsigned failures = 0;         // in a row
  std::string problem;           // why it is left out; empty: it is not
};

/// One request of a measurement.
struct Control::Ask {
  MeasureTarget* target = nullptr;
  std::uint32_t tokens = 0;
  net::Stream* stream = nullptr;  // while it is under way
  bool cancelled = false;
  bool done = false;
  // What came of it.
  std::string problem;
  double rate = 0;
  std::uint64_t tokens_written = 0;
  TimePoint decode_began{}, decode_ended{};
};

/// One measurement: what it wants, whom it asks and what it knows.
struct Control::Measurement {
  MeasureWish wish;
  locality::ProbeBudget budget;
  std::uint32_t tokens_max = 0;
  TimePoint deadline{};
  std::map<std::string, MeasureTarget> targets;  // by the node's name
  std::vector<locality::Pair> suspects;
  std::vector<locality::Pair> pairs;               // of them, those that are still measured
  std::map<locality::Pair, unsigned> missed;       // probes that did not overlap
  std::map<locality::Pair, std::string> given_up;  // why
  locality::Measurements measurements;
  MeasureReport report;
  std::string stop;  // somebody wants it to end: why

  /// A request at that node that should take so long.
  std::shared_ptr<Ask> make_ask(const std::string& node, Duration work);
  /// Takes up the rates of a probe that count; `b` is null where one node was asked.
  void take_result(const locality::Probe& what, Ask& a, Ask* b);
  void leave_out(const std::string& node, std::string why);
};

}  // namespace sollol::gateway

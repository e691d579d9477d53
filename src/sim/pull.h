#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/time.h"
#include "sim/spec.h"

namespace sollol::sim {

/// What the simulated registry offers: every model of the fleet, and for any other name a small
/// model made up from the name, except names that begin with "no-such", "missing" or "unknown".
class Catalogue {
 public:
  void add(const ModelSpec& model);
  std::optional<ModelSpec> find(std::string_view name) const;

 private:
  std::map<std::string, ModelSpec, std::less<>> models_;  // by ModelName::key
};

/// The downloads of one node. Two pulls of one blob share one; when the last puller leaves, what
/// came so far stays.
class Downloads {
 public:
  struct State {
    std::uint64_t completed = 0;
    std::uint64_t total = 0;
  };
  void join(TimePoint now, const std::string& blob, std::uint64_t total, double bytes_per_s);
  State progress(TimePoint now, const std::string& blob) const;
  void leave(TimePoint now, const std::string& blob);

 private:
  struct Download {
    std::uint64_t total = 0;
    std::uint64_t before = 0;  // came before `since`
    TimePoint since{};
    double bytes_per_s = 0;  // 0: nobody pulls
    std::uint32_t pullers = 0;
  };
  std::map<std::string, Download> downloads_;
};

}  // namespace sollol::sim

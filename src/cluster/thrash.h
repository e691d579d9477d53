#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <vector>

#include "base/ids.h"
#include "base/time.h"

namespace sollol::cluster {

/// From here on loads that undo each other are thrashing.
struct ThrashLimits {
  std::uint32_t loads_max = 5;  // as many within the window are let pass; 0: any number
  Duration window = std::chrono::minutes(10);
};

/// A load that begins, and who caused it.
struct LoadCause {
  NodeId node{0};
  std::string model = {};      // its key
  bool other_options = false;  // it was loaded, with other runner options than these
  std::uint64_t options = 0;   // of the runner, hashed; 0: the node's own
  std::uint32_t num_ctx = 0;   // 0: not said
  std::string client = {};
};

/// Finds loads that undo each other at one node: of one model for other runner options, over and
/// over, or of models that push each other out of its memory. Told the time; no lock.
class ThrashWatch {
 public:
  static constexpr std::size_t loads_kept = 256;  // of each node, the latest

  /// What one client had loaded.
  struct Wish {
    std::string client = {};
    std::string model = {};
    std::uint64_t options = 0;
    std::uint32_t num_ctx = 0;
    std::uint32_t loads = 0;
  };
  struct Thrash {
    enum class Kind : std::uint8_t { options, models } kind = Kind::options;
    NodeId node{0};
    std::vector<std::string> models = {};  // by key: one, or those that push each other out
    std::size_t parties = 0;        // different options, or models: so many nodes would end it
    std::uint32_t loads = 0;        // within the window, that undid others
    std::vector<Wish> wishes = {};  // who wants what, in the order in which they came
  };

  void note(LoadCause cause, TimePoint now, const ThrashLimits& limits);
  /// What thrashes now. O(loads within the window).
  std::vector<Thrash> found(TimePoint now, const ThrashLimits& limits);

 private:
  struct Load {
    LoadCause cause;
    bool again = false;  // it was loaded here before, and another model since
    TimePoint at{};
  };

  void forget(TimePoint before);

  std::map<NodeId, std::deque<Load>> loads_;
};

}  // namespace sollol::cluster

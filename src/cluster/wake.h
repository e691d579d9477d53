#pragma once

#include "base/time.h"

namespace sollol::cluster {

struct WakeOptions {
  Duration interval = std::chrono::seconds(30);  // between two magic packets to one node
  Duration time = std::chrono::seconds(60);      // from the first of them to the node's answer
};

/// The magic packets to one sleeping node: when the next may go, and whether waiting for the node
/// is still worth it. Told the time; no clock.
class WakeCalls {
 public:
  /// A node that did not come in time is let be for so many times as long.
  static constexpr int rest = 10;

  bool may_send(TimePoint now, const WakeOptions& options) const;
  void sent(TimePoint now, const WakeOptions& options);
  /// The node is there: what follows is another sleep.
  void awake() { first_ = {}; }
  /// Packets were sent, and it did not come.
  bool given_up(TimePoint now, const WakeOptions& options) const;

 private:
  TimePoint first_{};  // of the packets of this sleep; zero: none
  TimePoint last_{};   // of all; zero: none
};

}  // namespace sollol::cluster

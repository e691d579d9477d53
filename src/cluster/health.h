#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <string_view>

#include "base/time.h"

namespace sollol::cluster {

struct HealthOptions {
  Duration suspect_after = std::chrono::milliseconds(400);
  Duration dead_after = std::chrono::seconds(2);
  unsigned failures_to_eject = 2;
  Duration ejection_base = std::chrono::seconds(1);
  Duration ejection_max = std::chrono::seconds(60);
  unsigned error_rate_percent = 50;
  unsigned window_requests = 20;  // at most `NodeHealth::window_max`
};

/// Whether requests may go to a node.
enum class Availability : std::uint8_t {
  unknown,  // never probed: the last resort
  healthy,
  suspect,   // a probe has been unanswered for `suspect_after`: the last resort
  trial,     // half-open: exactly one request may go through
  starting,  // accepts connections and does not answer yet (reference §1)
  ejected,   // real requests failed: nothing goes there for the back-off
  down,      // does not answer
};

std::string_view text(Availability availability) noexcept;

enum class ProbeOutcome : std::uint8_t {
  ok,
  refused,    // or unreachable
  unreached,  // no connection in time: asleep, off or cut off
  silent,     // connected, no answer in time
  bad_reply,
  untrusted,  // its certificate is not to be trusted
  forbidden,  // its address is not among those that may be connected to
  not_asked,  // we could not, for want of descriptors: says nothing about the node
};

enum class RequestOutcome : std::uint8_t {
  ok,
  refused,
  fault,    // reset, cut stream, nothing, garbage
  neutral,  // the client's own doing: never counts
};

/// The health of one node: active probes, passive outlier ejection, and the half-open trial that
/// ends one.
///
/// A refusal is final at once; the next good probe undoes it. Silence makes a node suspect, then
/// down. Faults of real requests eject it for `ejection_base` × 2^n, and only a real request, the
/// trial, ends that: a node that lies answers probes well. Told the time; no clock, no lock.
class NodeHealth {
 public:
  static constexpr unsigned window_max = 64;

  explicit NodeHealth(HealthOptions options) : options_(options) {}

  /// Limits from now on; the state stays.
  void set_options(HealthOptions options) { options_ = options; }
  /// A liveness probe sent at `sent` has no answer yet.
  void probe_pending(TimePoint sent, TimePoint now);
  void on_probe(ProbeOutcome outcome, TimePoint now);
  /// The outcome of a request, the trial included.
  void on_request(RequestOutcome outcome, TimePoint now);

  Availability availability(TimePoint now) const noexcept;
  /// The length of the next ejection.
  Duration back_off() const noexcept;
  /// Why it is not healthy, for a human; empty when it is.
  std::string_view reason() const noexcept { return reason_; }
  /// Whether it failed lately, so that successes matter too: they end a trial and, enough of them,
  /// forget an ejection.
  bool under_watch() const noexcept {
    return phase_ != Phase::closed || ejections_ > 0 || consecutive_ > 0 || window_failures_ > 0;
  }

 private:
  enum class Phase : std::uint8_t { closed, open };  // of the circuit that real requests see
  enum class Reach : std::uint8_t { unknown, answering, late, silent, starting, refused };

  void eject(TimePoint now, std::string_view why);
  void note(bool failed);

  HealthOptions options_;
  Phase phase_ = Phase::closed;
  Reach reach_ = Reach::unknown;
  TimePoint ejected_until_{};
  unsigned ejections_ = 0;    // in a row: the exponent of the back-off
  unsigned consecutive_ = 0;  // faults in a row
  unsigned successes_ = 0;    // in a row, after an ejection: enough of them forget it
  std::bitset<window_max> window_;
  unsigned window_at_ = 0;
  unsigned window_seen_ = 0;
  unsigned window_failures_ = 0;
  std::string_view reason_;
};

}  // namespace sollol::cluster

#include "cluster/health.h"

#include <algorithm>

namespace sollol::cluster {
namespace {

constexpr unsigned exponent_max = 16;
constexpr unsigned successes_to_forget =
    50;  // after these in a row an ejection no longer lengthens the next

}  // namespace

std::string_view text(Availability availability) noexcept {
  switch (availability) {
    case Availability::unknown:
      return "unknown";
    case Availability::healthy:
      return "healthy";
    case Availability::suspect:
      return "suspect";
    case Availability::trial:
      return "on trial";
    case Availability::starting:
      return "starting";
    case Availability::ejected:
      return "ejected";
    case Availability::down:
      return "down";
  }
  return "unknown";
}

void NodeHealth::probe_pending(TimePoint sent, TimePoint now) {
  if (now - sent < options_.suspect_after) return;
  if (reach_ == Reach::answering) {
    reach_ = Reach::late;
    reason_ = "a liveness probe is unanswered";
  }
  if (reach_ == Reach::late && now - sent >= options_.dead_after) {
    reach_ = Reach::silent;
    reason_ = "does not answer";
  }
}

void NodeHealth::on_probe(ProbeOutcome outcome, TimePoint) {
  switch (outcome) {
    case ProbeOutcome::not_asked:
      break;
    case ProbeOutcome::ok:
      reach_ = Reach::answering;
      if (phase_ == Phase::closed) reason_ = {};
      break;
    case ProbeOutcome::refused:
      reach_ = Reach::refused;
      reason_ = "connection refused or unreachable";
      break;
    case ProbeOutcome::unreached:
      reach_ = Reach::refused;
      reason_ = "does not accept a connection";
      break;
    case ProbeOutcome::silent:
      // Connected and silent: booting, unless it was answering a moment ago.
      reach_ = reach_ == Reach::answering || reach_ == Reach::late || reach_ == Reach::silent
                   ? Reach::silent
                   : Reach::starting;
      reason_ = reach_ == Reach::starting ? "accepts connections and does not answer yet"
                                          : "does not answer";
      break;
    case ProbeOutcome::bad_reply:
      reach_ = Reach::refused;
      reason_ = "what answers there is not Ollama";
      break;
    case ProbeOutcome::untrusted:
      reach_ = Reach::refused;
      reason_ = "its certificate cannot be trusted; the log says why";
      break;
    case ProbeOutcome::forbidden:
      reach_ = Reach::refused;
      reason_ = "its address is not among access.node_networks";
      break;
  }
}

void NodeHealth::on_request(RequestOutcome outcome, TimePoint now) {
  switch (outcome) {
    case RequestOutcome::neutral:
      return;
    case RequestOutcome::refused:
      reach_ = Reach::refused;
      reason_ = "connection refused or unreachable";
      return;
    case RequestOutcome::ok:
      consecutive_ = 0;
      note(false);
      if (++successes_ >= successes_to_forget) ejections_ = 0;
      if (phase_ == Phase::open && now >= ejected_until_) {
        phase_ = Phase::closed;
        window_.reset();
        window_seen_ = window_failures_ = 0;
        reason_ = {};
      }
      return;
    case RequestOutcome::fault:
      successes_ = 0;
      ++consecutive_;
      note(true);
      // A fault of a request that was under way when the node was ejected does not eject it again.
      if (phase_ == Phase::open && now < ejected_until_) return;
      if (phase_ == Phase::open) return eject(now, "its trial request failed");
      if (consecutive_ >= options_.failures_to_eject) return eject(now, "requests failed in a row");
      if (window_seen_ >= options_.window_requests &&
          window_failures_ * 100 >= window_seen_ * options_.error_rate_percent) {
        eject(now, "too many requests failed");
      }
  }
}

void NodeHealth::note(bool failed) {
  const unsigned size = std::clamp(options_.window_requests, 1u, window_max);
  if (window_seen_ == size && window_.test(window_at_)) --window_failures_;
  window_seen_ = std::min(window_seen_ + 1, size);
  window_.set(window_at_, failed);
  window_failures_ += failed ? 1 : 0;
  window_at_ = (window_at_ + 1) % size;
}

void NodeHealth::eject(TimePoint now, std::string_view why) {
  phase_ = Phase::open;
  ejected_until_ = now + back_off();
  ejections_ = std::min(ejections_ + 1, exponent_max);
  consecutive_ = 0;
  reason_ = why;
}

Duration NodeHealth::back_off() const noexcept {
  return std::min<Duration>(options_.ejection_max, options_.ejection_base * (1LL << ejections_));
}

Availability NodeHealth::availability(TimePoint now) const noexcept {
  switch (reach_) {
    case Reach::unknown:
      return Availability::unknown;
    case Reach::starting:
      return Availability::starting;
    case Reach::refused:
    case Reach::silent:
      return Availability::down;
    case Reach::answering:
    case Reach::late:
      break;
  }
  if (phase_ == Phase::open)
    return now < ejected_until_ ? Availability::ejected : Availability::trial;
  return reach_ == Reach::late ? Availability::suspect : Availability::healthy;
}

}  // namespace sollol::cluster

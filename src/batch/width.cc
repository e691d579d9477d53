#include "batch/width.h"

#include <fmt/format.h>

#include <algorithm>

namespace sollol::batch {

WidthJudge::WidthJudge(WidthFacts facts) { advise(std::move(facts)); }

void WidthJudge::advise(WidthFacts facts) {
  const bool same = facts.parallel == facts_.parallel && (facts.slots < 2) == (facts_.slots < 2) &&
                    !reason_.empty();
  facts_ = std::move(facts);
  if (same || measured_) return;
  if (facts_.slots < 2) {
    // With another one waiting, the gateway can find out whether there are more slots than it
    // knows.
    width_ = Width::wide;
    reason_ = fmt::format("one at a time: the nodes work on one at once ({})", facts_.reason);
    begin(Phase::settled);
  } else if (facts_.parallel) {
    width_ = Width::wide;
    reason_ = fmt::format("wide: {}", facts_.reason);
    begin(Phase::settled);
  } else if (facts_.tasks < trial_tasks_min) {
    width_ = Width::alone;
    reason_ = fmt::format("one at a time: {}", facts_.reason);
    begin(Phase::settled);
  } else {
    reason_ = fmt::format("one at a time at first, then {} at once, to see which is faster: {}",
                          facts_.slots, facts_.reason);
    begin(Phase::alone);
  }
}

void WidthJudge::begin(Phase phase) {
  phase_ = phase;
  ++trial_;
  sent_ = required_ended_ = ended_ = 0;
  if (phase == Phase::alone) {
    width_ = Width::alone;
    required_ = alone_samples;
  } else if (phase == Phase::wide) {
    width_ = Width::wide;
    required_ = facts_.slots;
  }
}

WidthJudge::Ticket WidthJudge::note_sent() { return {trial_, sent_++}; }

void WidthJudge::observe(const Ticket& ticket, const Sample& sample) {
  if (settled() || ticket.trial != trial_) return;
  ++ended_;
  const bool asked_for = ticket.index < required_;
  required_ended_ += asked_for ? 1 : 0;
  if (sample.counts && sample.work > 0) {
    (phase_ == Phase::alone ? alone_ : wide_).push_back(sample);
  } else if (asked_for && required_ < 2 * std::max(alone_samples, facts_.slots)) {
    ++required_;
  }
  // Without the slowest it is not fair to "wide", but waiting for it may cost more than it tells.
  const bool long_enough = phase_ == Phase::wide && ended_ >= 2 * required_;
  if (required_ended_ < required_ && !long_enough) return;
  if (phase_ == Phase::alone) return begin(Phase::wide);
  settle();
}

void WidthJudge::settle() {
  const double one = alone_rate();
  const double many = wide_rate();
  measured_ = true;
  if (one == 0 || many == 0) {
    width_ = facts_.parallel ? Width::wide : Width::alone;
    reason_ = fmt::format("{}: nothing could be measured; {}",
                          facts_.parallel ? "wide" : "one at a time", facts_.reason);
  } else {
    width_ = many > one ? Width::wide : Width::alone;
    reason_ = fmt::format("{}: {:.1f} tokens/s at once, {:.1f} one at a time, as measured",
                          many > one ? "wide" : "one at a time", many, one);
  }
  begin(Phase::settled);
}

/// Of the best node: requests that come one at a time go there once it is known.
double WidthJudge::alone_rate() const {
  std::map<std::string, std::pair<double, double>> sums;  // work, seconds
  for (const Sample& sample : alone_) {
    sums[sample.node].first += sample.work;
    sums[sample.node].second += sample.ended_s - sample.began_s;
  }
  double best = 0;
  for (const auto& [node, sum] : sums) {
    if (sum.second > 0) best = std::max(best, sum.first / sum.second);
  }
  return best;
}

/// The sum over the nodes of what each did, from its first beginning to its last end.
double WidthJudge::wide_rate() const {
  struct Span {
    double work = 0, began_s = 0, ended_s = 0;
  };
  std::map<std::string, Span> spans;
  for (const Sample& sample : wide_) {
    auto [at, fresh] = spans.try_emplace(sample.node, Span{0, sample.began_s, sample.ended_s});
    Span& span = at->second;
    span.work += sample.work;
    span.began_s = std::min(span.began_s, sample.began_s);
    span.ended_s = std::max(span.ended_s, sample.ended_s);
  }
  double sum = 0;
  for (const auto& [node, span] : spans) {
    if (span.ended_s > span.began_s) sum += span.work / (span.ended_s - span.began_s);
  }
  return sum;
}

}  // namespace sollol::batch

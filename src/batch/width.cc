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
  sent_.clear();
  if (phase == Phase::alone) {
    width_ = Width::alone;
    required_ = alone_samples;
  } else if (phase == Phase::wide) {
    width_ = Width::wide;
    required_ = facts_.slots;
  }
}

WidthJudge::Ticket WidthJudge::note_sent(double now_s, double work) {
  if (settled()) return {trial_, 0};
  sent_.push_back({now_s, work});
  return {trial_, sent_.size() - 1};
}

void WidthJudge::observe(const Ticket& ticket, const Sample& sample) {
  if (settled() || ticket.trial != trial_ || ticket.index >= sent_.size()) return;
  sent_[ticket.index].ended = true;
  if (sample.counts && sample.work > 0) {
    (phase_ == Phase::alone ? alone_ : wide_).push_back(sample);
  } else if (ticket.index < required_ && required_ < 2 * std::max(alone_samples, facts_.slots)) {
    ++required_;  // another one instead
  }
  const auto first_ended = [&](std::size_t count) {
    return sent_.size() >= count &&
           std::all_of(sent_.begin(), sent_.begin() + static_cast<std::ptrdiff_t>(count),
                       [](const Sent& one) { return one.ended; });
  };
  if (phase_ == Phase::alone) {
    if (first_ended(required_)) begin(Phase::wide);
    return;
  }
  const auto ended = static_cast<std::size_t>(std::ranges::count_if(sent_, &Sent::ended));
  judge_wide(sample.ended_s, first_ended(required_) || ended >= 2 * required_);
}

void WidthJudge::judge_wide(double now_s, bool enough) {
  const double one = alone_rate();
  const double many = wide_rate();
  if (one > 0 && many > one) return settle(Width::wide, one, many);
  if (one > 0 && many > 0 && promised_rate(now_s) < one) return settle(Width::alone, one, many);
  if (!enough) return;
  if (one > 0 && many > 0) return settle(Width::alone, one, many);
  width_ = facts_.parallel ? Width::wide : Width::alone;
  reason_ = fmt::format("{}: nothing could be measured; {}",
                        facts_.parallel ? "wide" : "one at a time", facts_.reason);
  measured_ = true;
  begin(Phase::settled);
}

void WidthJudge::settle(Width width, double alone, double wide) {
  width_ = width;
  const bool is_wide = width == Width::wide;
  reason_ = fmt::format("{}: {} {:.1f} tokens/s at once, {:.1f} one at a time, as measured",
                        is_wide ? "wide" : "one at a time", is_wide ? "at least" : "at first", wide,
                        alone);
  measured_ = true;
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

/// With all that runs, as if it ended now.
double WidthJudge::promised_rate(double now_s) const {
  double sum = wide_rate();
  for (const Sent& one : sent_) {
    if (!one.ended && now_s > one.at_s) sum += one.work / (now_s - one.at_s);
  }
  return sum;
}

}  // namespace sollol::batch

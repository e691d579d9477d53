#include "batch/width.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>

namespace sollol::batch {

WidthJudge::WidthJudge(WidthFacts facts) { advise(std::move(facts)); }

void WidthJudge::advise(WidthFacts facts) {
  const bool same = facts.parallel == facts_.parallel && (facts.slots < 2) == (facts_.slots < 2) &&
                    !reason_.empty();
  facts_ = std::move(facts);
  if (same || measured_) return;
  if (facts_.slots < 2 || facts_.parallel || facts_.tasks < trial_tasks_min) {
    settle_by_advice();
  } else {
    begin_trials();
  }
}

void WidthJudge::settle_by_advice() {
  settled_ = true;
  nodes_.clear();
  slots_max_ = every_slot;
  // With another one waiting, the gateway can find out whether there are more slots than it knows.
  const bool one_slot = facts_.slots < 2;
  width_ = one_slot || facts_.parallel ? Width::wide : Width::alone;
  reason_ = one_slot
                ? fmt::format("one at a time: the nodes work on one at once ({})", facts_.reason)
                : fmt::format("{}: {}", facts_.parallel ? "wide" : "one at a time", facts_.reason);
}

void WidthJudge::begin_trials() {
  reason_ = fmt::format("one at a time at first, then {} at once, to see which is faster: {}",
                        facts_.slots, facts_.reason);
  settled_ = false;
  ways_ = {Way{}};
  queue_ = {0};
  rounds_ = 0;
  begin_next();
}

void WidthJudge::begin_next() {
  ++trial_;
  earlier_ += static_cast<std::size_t>(std::ranges::count(sent_, false, &Sent::ended));
  sent_.clear();
  counted_.clear();
  failed_ = 0;
  nodes_ = ways_[queue_.front()].nodes;
  slots_max_ = ways_[queue_.front()].slots_max;
  width_ = nodes_.empty() ? Width::alone : Width::wide;
}

WidthJudge::Ticket WidthJudge::note_sent(double now_s, double work, std::string node) {
  if (settled_) return {trial_, std::numeric_limits<std::size_t>::max()};
  sent_.push_back({.at_s = now_s, .work = work, .node = std::move(node), .clear = earlier_ == 0});
  ++tried_;
  return {trial_, sent_.size() - 1};
}

void WidthJudge::observe(const Ticket& ticket, const Sample& sample) {
  if (settled_) return;
  if (ticket.trial != trial_) {
    earlier_ -= std::min<std::size_t>(earlier_, 1);
    return;
  }
  Sent& sent = sent_[ticket.index];
  sent.ended = true;
  Way& way = ways_[queue_.front()];
  if (sent.clear && sample.counts && sample.work > 0 && sample.ended_s > sample.began_s) {
    Done& done = way.done[sample.node];
    done.work += sample.work;
    done.seconds += sample.ended_s - sample.began_s;
    ++counted_[sample.node];
  } else if (sent.clear) {
    ++failed_;
  }
  if (hopeless(way, sample.ended_s)) {
    for (const std::string& node : way.nodes)
      way.done[node].at_most = promised_at(way, node, sample.ended_s);
    end_trial();
  } else if (enough(way)) {
    end_trial();
  }
}

/// Every node has shown what it does, or too many have shown nothing.
bool WidthJudge::enough(const Way& way) const {
  if (failed_ >= failures_max + way.nodes.size()) return true;
  if (way.nodes.empty()) {
    std::size_t counted = 0;
    for (const auto& [node, count] : counted_) counted += count;
    return counted >= alone_samples;
  }
  return std::ranges::all_of(way.nodes, [this, &way](const std::string& node) {
    return counted_.contains(node) || slots_of(way, node) == 0;
  });
}

/// Even if all that runs ended now.
bool WidthJudge::hopeless(const Way& way, double now_s) const {
  if (way.nodes.empty()) return false;
  double most = 0;
  for (const std::string& node : way.nodes) {
    const double measured = rate_at(way, node);
    most += measured > 0 ? measured : promised_at(way, node, now_s);
  }
  return most * close < best_rate();
}

void WidthJudge::end_trial() {
  const Kind ended = ways_[queue_.front()].kind;
  queue_.pop_front();
  if (rounds_ == 0) add_after(ended);
  if (!queue_.empty()) return begin_next();
  ++rounds_;
  const double best = best_rate();
  if (best == 0) {
    settle_by_advice();
    reason_ += "; nothing could be measured";
    measured_ = true;
    return;
  }
  for (std::size_t i = 0; i < ways_.size(); ++i) {
    if (rate(ways_[i]) * close >= best) queue_.push_back(i);
  }
  const bool may_repeat =
      rounds_ < rounds_max &&
      static_cast<double>(tried_) < repeated_share_max * static_cast<double>(facts_.tasks);
  if (queue_.size() > 1 && may_repeat) return begin_next();
  settle_on(*std::ranges::max_element(ways_, {}, [this](const Way& one) { return rate(one); }));
}

void WidthJudge::add(Kind kind, std::vector<std::string> nodes, std::size_t slots_max) {
  queue_.push_back(ways_.size());
  ways_.push_back({.kind = kind, .nodes = std::move(nodes), .slots_max = slots_max});
}

/// What is to be tried after the first trial of a way.
void WidthJudge::add_after(Kind ended) {
  if (!queue_.empty()) return;
  std::vector<std::string> nodes = all_nodes();
  switch (ended) {
    case Kind::alone: {
      if (nodes.size() < 2) return add(Kind::all, std::move(nodes), every_slot);
      const std::string fastest = fastest_of(ways_.front());
      const Way filled{.kind = Kind::fastest};
      if (slots_of(filled, fastest) > 1) return add(Kind::fastest, {fastest}, every_slot);
      return add(Kind::one_each, std::move(nodes), every_slot);
    }
    case Kind::fastest:
      if (find(Kind::one_each) == nullptr) return add(Kind::one_each, std::move(nodes), 1);
      break;
    case Kind::one_each:
      if (add_unknown()) return;
      break;
    case Kind::unknown:
      if (add_faster_one()) return;
      break;
    case Kind::few:
    case Kind::all:
      break;
  }
  if (!add_fastest_few()) add_all();
}

std::vector<std::string> WidthJudge::all_nodes() const {
  std::vector<std::string> nodes;
  for (const NodeSlots& one : facts_.nodes) nodes.push_back(one.node);
  return nodes;
}

/// Each by itself, where all at once were given up: nodes that may be faster than the fastest that
/// was met.
bool WidthJudge::add_unknown() {
  const Way& together = *find(Kind::one_each);
  const double met = rate_at(together, fastest_of(ways_.front()));
  const bool given_up =
      std::ranges::any_of(together.done, [](const auto& done) { return done.second.seconds <= 0; });
  for (const std::string& node : given_up ? all_nodes() : std::vector<std::string>{}) {
    const auto measured = together.done.find(node);
    const bool slower = measured != together.done.end() && measured->second.seconds > 0 &&
                        rate_at(together, node) <= met;
    if (!slower && !ways_.front().done.contains(node)) add(Kind::unknown, {node}, 1);
  }
  return !queue_.empty();
}

/// With all its slots, where a node that was unknown is the fastest.
bool WidthJudge::add_faster_one() {
  const auto at_one = [this](const Way& way) { return way.kind == Kind::unknown ? rate(way) : 0; };
  const Way& found = *std::ranges::max_element(ways_, {}, at_one);
  if (at_one(found) <= rate(Kind::alone) || was_tried(found.nodes, every_slot)) return false;
  add(Kind::fastest, found.nodes, every_slot);
  return true;
}

/// Where they could do better than what was tried, by as much as one node does with all its slots.
bool WidthJudge::add_all() {
  const double alone = rate(Kind::alone);
  const double gain = alone > 0 && find(Kind::fastest) ? rate(Kind::fastest) / alone : 1;
  if (!has_several_slots() || find(Kind::all) != nullptr ||
      rate(Kind::one_each) * gain * close < best_rate())
    return false;
  add(Kind::all, all_nodes(), every_slot);
  return true;
}

/// Where they are expected to do better without the others.
bool WidthJudge::add_fastest_few() {
  const bool filled = rate(Kind::all) > rate(Kind::one_each);
  const Way* all = find(filled ? Kind::all : Kind::one_each);
  const Way* unhindered = find(filled && find(Kind::fastest) ? Kind::fastest : Kind::alone);
  if (all == nullptr || all->nodes.size() < 2) return false;
  const std::string seen_alone = fastest_of(*unhindered);
  const double beside_all = rate_at(*all, seen_alone);
  if (beside_all <= 0) return false;
  const double slowdown = std::max(1.0, rate_at(*unhindered, seen_alone) / beside_all);
  std::vector<std::string> order = all->nodes;
  std::ranges::sort(order, std::greater<>(),
                    [&](const std::string& node) { return rate_at(*all, node); });
  const double by_each = (slowdown - 1) / static_cast<double>(order.size() - 1);
  double sum = 0;
  double best = best_rate();
  std::size_t best_count = 0;
  for (std::size_t count = 1; count < order.size(); ++count) {
    sum += rate_at(*all, order[count - 1]);
    if (was_tried(std::span(order).first(count), all->slots_max)) continue;
    const double expected = sum * slowdown / (1 + by_each * static_cast<double>(count - 1));
    if (expected <= best) continue;
    best = expected;
    best_count = count;
  }
  if (best_count == 0) return false;
  order.resize(best_count);
  add(Kind::few, std::move(order), all->slots_max);
  return true;
}

void WidthJudge::settle_on(const Way& way) {
  settled_ = measured_ = true;
  nodes_ = way.nodes;
  slots_max_ = way.slots_max;
  width_ = nodes_.empty() ? Width::alone : Width::wide;
  if (width_ == Width::alone) {
    double wide = 0;
    for (const Way& one : ways_) wide = std::max(wide, one.nodes.empty() ? 0 : rate(one));
    reason_ = fmt::format("one at a time: {:.1f} tokens/s, at most {:.1f} with several at once",
                          rate(way), wide);
  } else {
    const bool every_node = nodes_.size() == facts_.nodes.size();
    reason_ =
        fmt::format("wide{}{}: {:.1f} tokens/s, {:.1f} one at a time",
                    every_node ? ""
                               : fmt::format(" on {} of {} nodes ({})", nodes_.size(),
                                             facts_.nodes.size(), fmt::join(nodes_, ", ")),
                    slots_max_ == 1 ? ", one request each" : "", rate(way), rate(Kind::alone));
  }
  reason_ += ", as measured";
}

/// Of all its slots, unless one at a time; 0: not known.
double WidthJudge::rate_at(const Way& way, const std::string& node) const {
  const auto found = way.done.find(node);
  if (found == way.done.end()) return 0;
  const Done& done = found->second;
  if (done.seconds <= 0) return done.at_most;
  const double one = done.work / done.seconds;
  return way.nodes.empty() ? one : one * static_cast<double>(slots_of(way, node));
}

/// One at a time that of the best node: requests go there once it is known.
double WidthJudge::rate(const Way& way) const {
  double sum = 0;
  for (const auto& [node, done] : way.done) {
    const double here = rate_at(way, node);
    sum = way.nodes.empty() ? std::max(sum, here) : sum + here;
  }
  return sum;
}

/// 0: it was not tried.
double WidthJudge::rate(Kind kind) const {
  const Way* way = find(kind);
  return way == nullptr ? 0 : rate(*way);
}

double WidthJudge::best_rate() const {
  double best = 0;
  for (const Way& way : ways_) best = std::max(best, rate(way));
  return best;
}

/// Of a node where nothing has ended: what it would be if what runs there ended now.
double WidthJudge::promised_at(const Way& way, const std::string& node, double now_s) const {
  double best = 0;
  for (const Sent& one : sent_) {
    if (one.node != node || one.ended) continue;
    if (!one.clear || now_s <= one.at_s) return std::numeric_limits<double>::infinity();
    best = std::max(best, one.work / (now_s - one.at_s));
  }
  return best == 0 ? std::numeric_limits<double>::infinity()
                   : best * static_cast<double>(slots_of(way, node));
}

/// One node with one request also where they came one at a time.
bool WidthJudge::was_tried(std::span<const std::string> nodes, std::size_t slots_max) const {
  const Way wanted{.slots_max = slots_max};
  const auto as_many = [&](const Way& way) {
    return std::ranges::all_of(nodes, [&](const std::string& node) {
      return slots_of(way, node) == slots_of(wanted, node);
    });
  };
  return std::ranges::any_of(ways_, [&](const Way& way) {
    if (way.nodes.empty())
      return nodes.size() == 1 && way.done.contains(nodes.front()) &&
             slots_of(wanted, nodes.front()) == 1;
    return std::ranges::is_permutation(way.nodes, nodes) && as_many(way);
  });
}

bool WidthJudge::has_several_slots() const {
  return std::ranges::any_of(facts_.nodes, [](const NodeSlots& one) { return one.slots > 1; });
}

/// 0: it cannot be used now.
std::size_t WidthJudge::slots_of(const Way& way, const std::string& node) const {
  const auto found = std::ranges::find(facts_.nodes, node, &NodeSlots::node);
  return found == facts_.nodes.end() ? 0 : std::min(found->slots, way.slots_max);
}

const WidthJudge::Way* WidthJudge::find(Kind kind) const {
  const auto found = std::ranges::find(ways_, kind, &Way::kind);
  return found == ways_.end() ? nullptr : &*found;
}

/// Empty: nothing is known.
std::string WidthJudge::fastest_of(const Way& way) const {
  const auto fastest = std::ranges::max_element(
      way.done, {}, [&](const auto& done) { return rate_at(way, done.first); });
  return fastest == way.done.end() ? std::string() : fastest->first;
}

}  // namespace sollol::batch

#include "batch/plan.h"

#include <algorithm>
#include <tuple>

namespace sollol::batch {
namespace {

/// A second try must be expected to end in this share of the time that the first has left.
constexpr double worthwhile_share = 0.8;
/// Of the time that a request has taken, what is expected to come yet however long it was.
constexpr double overrun_share = 0.25;

/// Where a trial's tasks stand among those that are left, from the longest to the shortest.
constexpr double trial_rank = 0.75;

double remaining_s(const Running& one, const Place& place, double now_s) {
  const double elapsed = std::max(0.0, now_s - one.since_s);
  const double planned = place.work_per_s > 0 ? one.work / place.work_per_s - elapsed : 0;
  return std::max(planned, elapsed * overrun_share);
}

}  // namespace

Plan::Plan(std::vector<Task> tasks, std::size_t lanes)
    : lanes_(lanes), left_(tasks.size()), last_(lanes) {
  std::ranges::sort(tasks, [](const Task& a, const Task& b) {
    return std::tie(b.work, a.line, a.part) < std::tie(a.work, b.line, b.part);
  });
  for (const Task& task : tasks) {
    lanes_[task.lane].tasks.push_back(task);
    lanes_[task.lane].work += task.work;
  }
}

std::optional<Task> Plan::next(std::span<const std::size_t> room, Lanes lanes) {
  const auto open = [&](std::size_t lane) { return room[lane] > 0 && !lanes_[lane].tasks.empty(); };
  std::size_t chosen = lanes_.size();
  if (lanes != Lanes::all && last_ < lanes_.size() && !lanes_[last_].tasks.empty()) {
    if (!open(last_)) return std::nullopt;
    chosen = last_;
  } else {
    for (std::size_t lane = 0; lane < lanes_.size(); ++lane) {
      if (open(lane) && (chosen == lanes_.size() || lanes_[lane].work > lanes_[chosen].work))
        chosen = lane;
    }
  }
  if (chosen == lanes_.size()) return std::nullopt;
  Lane& lane = lanes_[chosen];
  const auto at =
      lane.tasks.begin() +
      static_cast<std::ptrdiff_t>(
          lanes == Lanes::trial ? static_cast<double>(lane.tasks.size() - 1) * trial_rank : 0);
  const Task task = *at;
  lane.tasks.erase(at);
  lane.work -= task.work;
  --left_;
  last_ = chosen;
  return task;
}

void Plan::put_back(Task task) {
  Lane& lane = lanes_[task.lane];
  lane.work += task.work;
  lane.tasks.push_front(task);
  ++left_;
}

double Plan::work_left() const noexcept {
  double sum = 0;
  for (const Lane& lane : lanes_) sum += lane.work;
  return std::max(0.0, sum);
}

std::size_t Plan::largest_lane() const noexcept {
  return static_cast<std::size_t>(std::ranges::max_element(lanes_, {}, &Lane::work) -
                                  lanes_.begin());
}

void Plan::drop() {
  for (Lane& lane : lanes_) lane = {};
  left_ = 0;
}

std::optional<Hedge> choose_hedge(std::span<const Running> running, std::span<const Place> places,
                                  double now_s) {
  std::optional<Hedge> best;
  double longest = 0;
  for (std::size_t i = 0; i < running.size(); ++i) {
    const Running& one = running[i];
    if (one.hedged || one.place == Running::npos) continue;
    const double left = remaining_s(one, places[one.place], now_s);
    if (left <= longest) continue;
    std::size_t fastest = places.size();
    for (std::size_t k = 0; k < places.size(); ++k) {
      if (k == one.place || places[k].free == 0 || places[k].work_per_s <= 0) continue;
      if (fastest == places.size() || places[k].work_per_s > places[fastest].work_per_s)
        fastest = k;
    }
    if (fastest == places.size()) continue;
    if (one.work / places[fastest].work_per_s > left * worthwhile_share) continue;
    best = Hedge{i, fastest};
    longest = left;
  }
  return best;
}

}  // namespace sollol::batch

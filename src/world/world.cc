#include "world/world.h"

#include <algorithm>

#include "world/bound.h"
#include "world/chance.h"
#include "world/events.h"
#include "world/front.h"
#include "world/machines.h"
#include "world/recorder.h"

namespace sollol::world {
namespace {

/// Not the clock's zero, which means "never" here and there.
constexpr TimePoint start{std::chrono::hours(1)};

/// Requests that come at their time, or as users of a closed loop come free.
class Arriving {
 public:
  explicit Arriving(const Workload& workload) : workload_(workload), free_(workload.users) {}

  bool any_left() const { return next_ < workload_.requests.size(); }
  std::optional<TimePoint> next_at(TimePoint now) const {
    if (!any_left()) return std::nullopt;
    if (workload_.users == 0) return start + workload_.requests[next_].at;
    return free_ > 0 ? std::optional(now) : std::nullopt;
  }
  std::uint32_t take() {
    if (workload_.users > 0) --free_;
    return next_++;
  }
  void add_free(std::uint32_t users) { free_ += workload_.users > 0 ? users : 0; }

 private:
  const Workload& workload_;
  std::uint32_t next_ = 0;
  std::uint32_t free_;
};

/// The same whatever the policy, so that all meet the same requests.
std::vector<double> draw_noise(std::size_t requests, double spread, std::uint64_t seed) {
  Chance chance(seed ^ 0x6e6f697365ULL);
  std::vector<double> noise(requests, 1.0);
  if (spread > 0) {
    for (double& one : noise) one = chance.log_normal(1, spread);
  }
  return noise;
}

void add_spells(const Fleet& fleet, Events& events) {
  for (std::uint32_t node = 0; node < fleet.nodes.size(); ++node) {
    for (const Outage& outage : fleet.nodes[node].outages) {
      events.add(start + outage.from, Event::Kind::outage, node, 0);
      events.add(start + outage.until, Event::Kind::outage, node, 1);
    }
    std::uint64_t number = 0;
    for (const SlowSpell& spell : fleet.nodes[node].slow) {
      events.add(start + spell.from, Event::Kind::slow, node, ++number);
      events.add(start + spell.until, Event::Kind::slow, node, 0);
    }
  }
}

}  // namespace

Report run(const Scenario& scenario, const Options& options) {
  Events events;
  const Bound bound(scenario.fleet);
  Machines machines(scenario.fleet, events);
  Control control(scenario.fleet, scenario.places, machines, events, start);
  Recorder recorder(bound, scenario.workload.requests.size());
  const auto noise = draw_noise(scenario.workload.requests.size(), scenario.noise, options.seed);
  Front front(scenario, options, control, machines, noise, events, recorder);
  Arriving arriving(scenario.workload);
  add_spells(scenario.fleet, events);
  if (options.residency == ModelPlacement::automatic) front.plan_residency(start);
  TimePoint now = start;

  const auto handle = [&](const Event& event) {
    switch (event.kind) {
      case Event::Kind::entry:
        return front.enter(event.subject, event.detail, now);
      case Event::Kind::late:
        return front.late(event.subject, event.detail, now);
      case Event::Kind::node:
        machines.wake(now, event.subject, event.detail);
        return control.touched(event.subject, now);
      case Event::Kind::give_up:
        return front.give_up(event.detail, now);
      case Event::Kind::look:
        return front.look_again(event.detail, now);
      case Event::Kind::probe:
        return control.probe_all(now);
      case Event::Kind::list:
        return control.list_all(now);
      case Event::Kind::plan:
        return front.plan_residency(now);
      case Event::Kind::outage:
        if (event.detail == 0) return front.crash(event.subject, now);
        machines.restart(event.subject);
        return control.changed(event.subject, now);
      case Event::Kind::slow:
        const auto& spells = scenario.fleet.nodes[event.subject].slow;
        return machines.slow_down(now, event.subject,
                                  event.detail == 0 ? 1 : spells[event.detail - 1].slowdown);
    }
  };
  while (front.ended() < scenario.workload.requests.size()) {
    const auto arrives = arriving.next_at(now);
    if (arrives && (events.empty() || *arrives <= events.next().at)) {
      now = std::max(now, *arrives);
      front.arrive(arriving.take(), now);
    } else {
      const Event event = events.take();
      now = event.at;
      handle(event);
    }
    front.follow(now);
    arriving.add_free(front.take_free_users());
  }

  std::uint64_t loads = 0;
  for (std::uint32_t node = 0; node < machines.size(); ++node) loads += machines.at(node).loads();
  Report report = recorder.report(loads, bound.makespan_s(scenario.workload, noise));
  report.in_flight_at_end = front.in_flight();
  front.checks().finished(report.in_flight_at_end, front.waiting());
  report.passed_over_most = front.checks().passed_over_most();
  report.broken = front.checks().broken();
  return report;
}

}  // namespace sollol::world

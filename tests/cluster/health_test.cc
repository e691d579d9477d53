#include "cluster/health.h"

#include <gtest/gtest.h>

#include <variant>
#include <vector>

namespace sollol::cluster {
namespace {

using namespace std::chrono_literals;
using enum Availability;

constexpr TimePoint t0{1000h};

/// A node that has answered a probe.
NodeHealth healthy_node(HealthOptions options = {}) {
  NodeHealth node(options);
  node.on_probe(ProbeOutcome::ok, t0);
  return node;
}

void fault(NodeHealth& node, TimePoint now, int times = 1) {
  for (int i = 0; i < times; ++i) node.on_request(RequestOutcome::fault, now);
}

struct Unanswered {};  // a probe sent at t0 has no answer at the step's time
using Step = std::variant<ProbeOutcome, RequestOutcome, Unanswered>;
struct At {
  Duration after;
  Step step;
};
struct HealthCase {
  const char* name;
  std::vector<At> steps;
  Duration asked_after;
  Availability want;
};

std::vector<HealthCase> health_table() {
  constexpr auto ok = ProbeOutcome::ok;
  constexpr auto no = ProbeOutcome::refused;
  constexpr auto mute = ProbeOutcome::silent;
  constexpr auto good = RequestOutcome::ok;
  constexpr auto bad = RequestOutcome::fault;
  return {
      {"never_probed", {}, 0s, unknown},
      {"never_probed_and_no_answer_yet", {{3s, Unanswered{}}}, 3s, unknown},
      {"answers", {{0s, ok}}, 0s, healthy},
      {"probe_refused", {{0s, ok}, {1s, no}}, 1s, down},
      {"request_refused", {{0s, ok}, {1s, RequestOutcome::refused}}, 1s, down},
      {"first_good_probe_undoes_a_refusal", {{0s, ok}, {1s, no}, {2s, ok}}, 2s, healthy},
      {"not_ollama", {{0s, ProbeOutcome::bad_reply}}, 0s, down},
      {"unreached_from_the_start", {{2s, ProbeOutcome::unreached}}, 2s, down},
      {"unreached_then_booting", {{2s, ProbeOutcome::unreached}, {4s, mute}}, 4s, starting},
      {"silent_from_the_start", {{2s, mute}}, 2s, starting},
      {"silent_after_refusals", {{0s, no}, {2s, mute}}, 2s, starting},
      {"stays_starting", {{2s, mute}, {4s, mute}}, 4s, starting},
      {"started", {{2s, mute}, {3s, ok}}, 3s, healthy},
      {"starting_then_gone", {{2s, mute}, {3s, no}}, 3s, down},
      {"fell_silent", {{0s, ok}, {2s, mute}}, 2s, down},
      {"fell_silent_and_back", {{0s, ok}, {2s, mute}, {3s, ok}}, 3s, healthy},
      {"stays_down_while_silent", {{0s, ok}, {2s, mute}, {4s, mute}}, 4s, down},
      {"late_but_not_yet_suspect", {{0s, ok}, {399ms, Unanswered{}}}, 399ms, healthy},
      {"suspect", {{0s, ok}, {400ms, Unanswered{}}}, 400ms, suspect},
      {"suspect_answers", {{0s, ok}, {400ms, Unanswered{}}, {500ms, ok}}, 500ms, healthy},
      {"suspect_for_too_long", {{0s, ok}, {2s, Unanswered{}}}, 2s, down},
      {"starting_is_never_suspect", {{0s, mute}, {3s, Unanswered{}}}, 3s, starting},
      {"one_fault", {{0s, ok}, {1s, bad}}, 1s, healthy},
      {"two_faults_in_a_row", {{0s, ok}, {1s, bad}, {1s, bad}}, 1s, ejected},
      {"a_success_between", {{0s, ok}, {1s, bad}, {1s, good}, {1s, bad}}, 1s, healthy},
      {"a_neutral_outcome_between",
       {{0s, ok}, {1s, bad}, {1s, RequestOutcome::neutral}, {1s, bad}},
       1s,
       ejected},
      {"a_good_probe_between", {{0s, ok}, {1s, bad}, {1s, ok}, {1s, bad}}, 1s, ejected},
      {"neutral_never_counts",
       {{0s, ok}, {1s, RequestOutcome::neutral}, {1s, RequestOutcome::neutral}},
       1s,
       healthy},
      {"a_good_probe_does_not_end_an_ejection",
       {{0s, ok}, {1s, bad}, {1s, bad}, {1500ms, ok}},
       1500ms,
       ejected},
      {"ejection_becomes_trial", {{0s, ok}, {1s, bad}, {1s, bad}}, 2s, trial},
      {"good_probes_do_not_end_a_trial",
       {{0s, ok}, {1s, bad}, {1s, bad}, {2s, ok}, {3s, ok}},
       3s,
       trial},
      {"a_good_trial_ends_it", {{0s, ok}, {1s, bad}, {1s, bad}, {2s, good}}, 2s, healthy},
      {"a_bad_trial_ejects_for_longer",
       {{0s, ok}, {1s, bad}, {1s, bad}, {2s, bad}},
       3500ms,
       ejected},
      {"a_neutral_trial_tells_nothing",
       {{0s, ok}, {1s, bad}, {1s, bad}, {2s, RequestOutcome::neutral}},
       2s,
       trial},
      {"a_late_success_does_not_end_an_ejection",
       {{0s, ok}, {1s, bad}, {1s, bad}, {1500ms, good}},
       1500ms,
       ejected},
      {"a_late_fault_does_not_lengthen_it",
       {{0s, ok}, {1s, bad}, {1s, bad}, {1500ms, bad}},
       2s,
       trial},
      {"ejected_and_then_refused", {{0s, ok}, {1s, bad}, {1s, bad}, {1s, no}}, 5s, down},
  };
}

class HealthTable : public testing::TestWithParam<HealthCase> {};

TEST_P(HealthTable, FollowsTheRules) {
  NodeHealth node{HealthOptions{}};
  for (const At& at : GetParam().steps) {
    const TimePoint now = t0 + at.after;
    if (const auto* probe = std::get_if<ProbeOutcome>(&at.step)) {
      node.on_probe(*probe, now);
    } else if (const auto* request = std::get_if<RequestOutcome>(&at.step)) {
      node.on_request(*request, now);
    } else {
      node.probe_pending(t0, now);
    }
  }
  EXPECT_EQ(text(node.availability(t0 + GetParam().asked_after)), text(GetParam().want));
  if (GetParam().want == healthy && !node.under_watch()) {
    EXPECT_EQ(node.reason(), "");
  }
  if (GetParam().want != healthy && GetParam().want != unknown) {
    EXPECT_NE(node.reason(), "");
  }
}

INSTANTIATE_TEST_SUITE_P(Rules, HealthTable, testing::ValuesIn(health_table()),
                         [](const auto& row) { return std::string(row.param.name); });

TEST(Ejection, AnErrorRateOfHalfEjectsWithoutTwoInARow) {
  NodeHealth node = healthy_node();
  int requests = 0;
  while (node.availability(t0) == healthy && requests < 100) {
    node.on_request(++requests % 2 == 0 ? RequestOutcome::fault : RequestOutcome::ok, t0);
  }
  EXPECT_EQ(node.availability(t0), ejected);
  EXPECT_EQ(requests, 20);
}

TEST(Ejection, AnErrorRateBelowTheLimitNeverEjects) {
  NodeHealth node = healthy_node();
  for (int i = 0; i < 1000; ++i) {
    node.on_request(i % 3 == 0 ? RequestOutcome::fault : RequestOutcome::ok, t0);
    ASSERT_EQ(node.availability(t0), healthy) << i;
  }
}

TEST(Ejection, OldFaultsLeaveTheWindow) {
  NodeHealth node = healthy_node();
  for (int i = 0; i < 18; ++i)
    node.on_request(i % 2 ? RequestOutcome::fault : RequestOutcome::ok, t0);
  EXPECT_TRUE(node.under_watch());
  for (int i = 0; i < 20; ++i) node.on_request(RequestOutcome::ok, t0);
  EXPECT_FALSE(node.under_watch());
}

TEST(BackOff, DoublesWithEachFailedTrialUpToItsLimit) {
  NodeHealth node = healthy_node({.ejection_base = 1s, .ejection_max = 10s});
  TimePoint now = t0;
  fault(node, now, 2);
  for (const auto length : {1s, 2s, 4s, 8s, 10s, 10s}) {
    EXPECT_EQ(node.availability(now + length - 1ns), ejected);
    EXPECT_EQ(node.availability(now + length), trial);
    now += length;
    fault(node, now);
  }
}

TEST(BackOff, NeverOverflowsHoweverOftenATrialFails) {
  NodeHealth node = healthy_node();
  TimePoint now = t0;
  fault(node, now, 2);
  for (int i = 0; i < 100; ++i) fault(node, now += 61s);
  EXPECT_EQ(node.back_off(), HealthOptions{}.ejection_max);
}

TEST(BackOff, IsForgottenAfterEnoughSuccessesWhichAreAskedForUntilThen) {
  NodeHealth node = healthy_node();
  fault(node, t0, 2);
  node.on_request(RequestOutcome::ok, t0 + 1s);
  ASSERT_EQ(node.availability(t0 + 1s), healthy);
  EXPECT_EQ(node.back_off(), 2s);
  int successes = 1;
  // The gateway reports successes only of nodes under watch.
  for (; node.under_watch() && successes < 1000; ++successes)
    node.on_request(RequestOutcome::ok, t0 + 2s);
  EXPECT_EQ(node.back_off(), 1s);
  EXPECT_EQ(successes, 50);
}

TEST(BackOff, IsNotForgottenBySuccessesBetweenFaults) {
  NodeHealth node = healthy_node();
  fault(node, t0, 2);
  for (int i = 0; i < 300; ++i) {
    node.on_request(i % 40 == 39 ? RequestOutcome::fault : RequestOutcome::ok, t0 + 1s);
  }
  EXPECT_EQ(node.back_off(), 2s);
}

}  // namespace
}  // namespace sollol::cluster

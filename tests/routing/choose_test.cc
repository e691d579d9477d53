#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using cluster::Availability;
using enum Policy;

/// A node to edit in place: `with(node(1), [](auto& c) { c.tier = 2; })`.
template <class Edit>
Candidate with(Candidate candidate, Edit&& edit) {
  edit(candidate);
  return candidate;
}
Candidate busy(Candidate c, std::uint32_t in_flight, std::uint32_t limit) {
  c.in_flight = c.node_in_flight = in_flight;
  c.limit = limit;
  return c;
}
Candidate in_state(Candidate c, Availability availability) {
  c.availability = availability;
  return c;
}
Candidate in_tier(Candidate c, std::uint32_t tier) {
  c.tier = tier;
  return c;
}
Candidate with_warmth(Candidate c, Warmth warmth) {
  c.warmth = warmth;
  c.size_bytes = 5'000'000'000;
  return c;
}

struct ChooseCase {
  const char* name;
  Policy policy;
  std::vector<Candidate> candidates;
  std::uint32_t want;
  Reason reason;
  std::optional<NodeId> after = {};
  std::uint64_t draw = no_trial;
};

std::vector<ChooseCase> choose_table() {
  const Candidate fast = node_of_speed(1, 100), slow = node_of_speed(2, 10);
  const auto trial = [](std::uint32_t id) { return in_state(node(id), Availability::trial); };
  return {
      {"fastest", expected_completion, {fast, slow}, 1, Reason::least_cost},
      {"free_slow_one_when_the_fast_is_full",
       expected_completion,
       {busy(fast, 1, 1), slow},
       2,
       Reason::only_candidate},
      {"busy_fast_still_beats_idle_slow",
       expected_completion,
       {busy(fast, 2, 4), slow},
       1,
       Reason::least_cost},
      {"crowded_fast_loses_to_idle_slow",
       expected_completion,
       {busy(fast, 60, 80), slow},
       2,
       Reason::least_cost},
      {"cold_and_fast_beats_warm_and_very_slow",
       expected_completion,
       {with_warmth(fast, Warmth::cold), slow},
       1,
       Reason::least_cost},
      {"warm_alone_is_the_reason",
       expected_completion,
       {with_warmth(node_of_speed(1, 50), Warmth::cold), node_of_speed(2, 50)},
       2,
       Reason::warm},
      {"warm_beats_other_options",
       expected_completion,
       {with_warmth(node_of_speed(1, 50), Warmth::other_options), node_of_speed(2, 50)},
       2,
       Reason::warm},
      {"unknown_is_tried_before_the_fastest",
       expected_completion,
       {fast, node(3)},
       3,
       Reason::exploring},
      {"unknown_is_not_loaded_only_to_try_it",
       expected_completion,
       {fast, with_warmth(node(3), Warmth::cold)},
       1,
       Reason::warm},
      {"ties_rotate",
       expected_completion,
       {node_of_speed(1, 50), node_of_speed(2, 50)},
       2,
       Reason::least_cost,
       NodeId{1}},
      {"ties_wrap_around",
       expected_completion,
       {node_of_speed(1, 50), node_of_speed(2, 50)},
       1,
       Reason::least_cost,
       NodeId{2}},
      {"nearly_equal_is_a_tie",
       expected_completion,
       {node_of_speed(1, 50), node_of_speed(2, 49.9)},
       2,
       Reason::least_cost,
       NodeId{1}},

      {"next_in_turn",
       round_robin,
       {node(1), node(2), node(3)},
       3,
       Reason::next_in_turn,
       NodeId{2}},
      {"turn_wraps", round_robin, {node(1), node(2), node(3)}, 1, Reason::next_in_turn, NodeId{3}},
      {"turn_starts_at_the_first",
       round_robin,
       {node(3), node(1), node(2)},
       1,
       Reason::next_in_turn},
      {"turn_passes_over_the_removed",
       round_robin,
       {node(1), node(5)},
       5,
       Reason::next_in_turn,
       NodeId{3}},
      {"turn_passes_over_the_full",
       round_robin,
       {node(1), busy(node(2), 1, 1), node(3)},
       3,
       Reason::next_in_turn,
       NodeId{1}},

      {"fewest_in_flight",
       least_connections,
       {busy(node(1), 3, 8), busy(node(2), 2, 8)},
       2,
       Reason::fewest_in_flight},
      {"fewest_for_its_limit",
       least_connections,
       {busy(node(1), 3, 8), busy(node(2), 2, 4)},
       1,
       Reason::fewest_in_flight},
      {"fewest_ties_rotate",
       least_connections,
       {node(1), node(2)},
       2,
       Reason::fewest_in_flight,
       NodeId{1}},

      {"fastest_whatever_it_has_to_do",
       fastest,
       {with(node(1), [](auto& c) { c.service_s = 2; }),
        with(busy(node(2), 3, 4), [](auto& c) { c.service_s = 1; })},
       2,
       Reason::fastest_of_late},
      {"fastest_of_those_with_room",
       fastest,
       {with(node(1), [](auto& c) { c.service_s = 2; }),
        with(node(2), [](auto& c) { c.service_s = 3; }),
        with(busy(node(3), 4, 4), [](auto& c) { c.service_s = 1; })},
       1,
       Reason::fastest_of_late},
      {"fastest_measures_all_first",
       fastest,
       {with(node(1), [](auto& c) { c.service_s = 2; }), node(2)},
       2,
       Reason::fastest_of_late},

      {"better_of_two", power_of_two, {busy(node(1), 3, 8), node(2)}, 2, Reason::drawn},
      {"drawn_low", random, {node(1), node(2)}, 1, Reason::drawn, {}, std::uint64_t{1} << 63},
      {"drawn_high",
       random,
       {node(1), node(2)},
       2,
       Reason::drawn,
       {},
       (std::uint64_t{1} << 63) + 1},

      {"first_free", priority, {node(3), node(1), node(2)}, 1, Reason::first_free, NodeId{1}},
      {"first_free_passes_over_the_full",
       priority,
       {busy(node(1), 1, 1), node(2), node(3)},
       2,
       Reason::first_free},

      {"best_tier", random, {in_tier(node(1), 2), in_tier(node(2), 1)}, 2, Reason::only_candidate},
      {"spills_when_the_tier_is_full",
       round_robin,
       {in_tier(busy(node(1), 1, 1), 0), in_tier(node(2), 1)},
       2,
       Reason::spilled},
      {"tier_beats_cost",
       expected_completion,
       {in_tier(fast, 1), in_tier(slow, 0)},
       2,
       Reason::only_candidate},
      {"lower_tier_when_the_better_is_down",
       round_robin,
       {in_state(node(1), Availability::down), in_tier(node(2), 1)},
       2,
       Reason::only_candidate},

      {"excluded_is_out",
       round_robin,
       {with(node(1), [](auto& c) { c.excluded = true; }), node(2)},
       2,
       Reason::only_candidate},
      {"trial_by_lot", round_robin, {node(1), trial(2)}, 2, Reason::on_trial, {}, 0},
      {"trial_not_by_looking_idle",
       least_connections,
       {busy(node(1), 3, 8), trial(2)},
       1,
       Reason::only_candidate},
      {"trial_when_nothing_else_is_free",
       round_robin,
       {busy(node(1), 1, 1), trial(2)},
       2,
       Reason::on_trial},
      {"trial_in_the_better_tier",
       round_robin,
       {trial(1), in_tier(node(2), 1)},
       1,
       Reason::on_trial},
      {"suspect_is_the_last_resort",
       expected_completion,
       {in_state(fast, Availability::suspect), in_state(slow, Availability::down)},
       1,
       Reason::last_resort},
      {"never_probed_is_the_last_resort",
       round_robin,
       {in_state(node(4), Availability::unknown)},
       4,
       Reason::last_resort},
      {"healthy_in_a_worse_tier_beats_suspect",
       round_robin,
       {in_state(node(1), Availability::suspect), in_tier(node(2), 5)},
       2,
       Reason::only_candidate},
  };
}

class Choose : public testing::TestWithParam<ChooseCase> {};

TEST_P(Choose, PicksTheNodeAndSaysWhy) {
  const ChooseCase& row = GetParam();
  const auto got = choose(row.policy, row.candidates, chat, TimePoint{}, row.draw, row.after);
  ASSERT_TRUE(got.has_value()) << got.error().detail;
  EXPECT_EQ(got->node.value(), row.want);
  EXPECT_EQ(row.candidates.at(got->index).node, got->node);
  EXPECT_EQ(text(got->reason), text(row.reason));
}

INSTANTIATE_TEST_SUITE_P(Table, Choose, testing::ValuesIn(choose_table()),
                         [](const auto& row) { return std::string(row.param.name); });

struct NoneCase {
  const char* name;
  std::vector<Candidate> candidates;
  ErrorKind want;
};

class ChooseNone : public testing::TestWithParam<NoneCase> {};

TEST_P(ChooseNone, TellsFullFromUnusable) {
  for (const Policy policy : all_policies) {
    const auto got = choose(policy, GetParam().candidates, chat, TimePoint{}, 0, {});
    ASSERT_FALSE(got.has_value());
    EXPECT_EQ(got.error().kind, GetParam().want) << name(policy);
    EXPECT_EQ(got.error().retry, Retry::later);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Table, ChooseNone,
    testing::Values(
        NoneCase{"no_nodes", {}, ErrorKind::no_candidate},
        NoneCase{"down", {in_state(node(1), Availability::down)}, ErrorKind::no_candidate},
        NoneCase{"starting", {in_state(node(1), Availability::starting)}, ErrorKind::no_candidate},
        NoneCase{"ejected", {in_state(node(1), Availability::ejected)}, ErrorKind::no_candidate},
        NoneCase{"excluded",
                 {with(node(1), [](auto& c) { c.excluded = true; })},
                 ErrorKind::no_candidate},
        NoneCase{"full", {busy(node(1), 1, 1)}, ErrorKind::overloaded},
        NoneCase{"full_beside_down",
                 {busy(node(1), 2, 2), in_state(node(2), Availability::down)},
                 ErrorKind::overloaded},
        // A node that fails fast always has room: it must not get what waits for the healthy ones.
        NoneCase{"full_beside_suspect",
                 {busy(node(1), 1, 1), in_state(node(2), Availability::suspect)},
                 ErrorKind::overloaded},
        NoneCase{"full_suspect",
                 {busy(in_state(node(1), Availability::suspect), 1, 1)},
                 ErrorKind::overloaded}),
    [](const auto& row) { return std::string(row.param.name); });

TEST(ChooseNone, SaysWhatIsWrongWithEach) {
  const std::vector<Candidate> candidates{
      in_state(node(1), Availability::down), in_state(node(2), Availability::ejected),
      in_state(node(3), Availability::starting), with(node(4), [](auto& c) { c.excluded = true; })};
  const auto got = choose(expected_completion, candidates, chat, TimePoint{}, 0, {});
  ASSERT_FALSE(got.has_value());
  for (const char* part : {"of 4", "1 down", "1 ejected", "1 starting", "1 tried already"}) {
    EXPECT_TRUE(got.error().detail.contains(part)) << got.error().detail;
  }
}

/// Chooses `rounds` times in a row, the cursor following, and counts.
std::map<std::uint32_t, int> rotate(Policy policy, const std::vector<Candidate>& candidates,
                                    int rounds, std::optional<NodeId> after = {}) {
  std::map<std::uint32_t, int> counts;
  for (int i = 0; i < rounds; ++i) {
    after = choose(policy, candidates, chat, TimePoint{}, no_trial, after)->node;
    ++counts[after->value()];
  }
  return counts;
}

TEST(Turns, RoundRobinSharesExactlyAndInAnyOrderOfCandidates) {
  const std::vector<Candidate> candidates{node(9), node(2), node(40)};
  EXPECT_EQ(rotate(round_robin, candidates, 300),
            (std::map<std::uint32_t, int>{{2, 100}, {9, 100}, {40, 100}}));
}

TEST(Turns, RoundRobinKeepsItsPlaceWhenMembershipChanges) {
  std::vector<Candidate> candidates{node(1), node(2), node(3), node(4)};
  const auto next = [&](NodeId after) {
    return choose(round_robin, candidates, chat, TimePoint{}, no_trial, after)->node;
  };
  EXPECT_EQ(next(NodeId{2}), NodeId{3});
  std::erase_if(candidates, [](const Candidate& c) {
    return c.node == NodeId{2};
  });  // the one chosen last leaves
  EXPECT_EQ(next(NodeId{2}), NodeId{3});
  candidates.push_back(node(5));
  EXPECT_EQ(next(NodeId{4}), NodeId{5});
  EXPECT_EQ(next(NodeId{5}), NodeId{1});
}

TEST(Turns, EqualNodesShareEquallyUnderEveryPolicyThatCompares) {
  const std::vector<Candidate> candidates{node_of_speed(1, 50), node_of_speed(2, 50),
                                          node_of_speed(3, 50)};
  const std::map<std::uint32_t, int> equal{{1, 10}, {2, 10}, {3, 10}};
  EXPECT_EQ(rotate(expected_completion, candidates, 30), equal);
  EXPECT_EQ(rotate(least_connections, candidates, 30), equal);
}

TEST(PolicyNames, AreReadBack) {
  for (const Policy policy : all_policies) EXPECT_EQ(parse_policy(name(policy)).value(), policy);
  const auto wrong = parse_policy("quickest");
  ASSERT_FALSE(wrong.has_value());
  for (const Policy policy : all_policies) EXPECT_TRUE(wrong.error().detail.contains(name(policy)));
}

TEST(Explain, MarksTheChosenAndTheUnavailable) {
  const std::vector<Candidate> candidates{node_of_speed(1, 10), node_of_speed(2, 100),
                                          in_state(node(3), Availability::down)};
  const auto choice = choose(expected_completion, candidates, chat, TimePoint{}, no_trial, {});
  const std::string lines = explain(candidates, chat, expected_completion, *choice);
  EXPECT_TRUE(lines.starts_with("policy expected_completion, least_cost\n")) << lines;
  EXPECT_TRUE(lines.contains("\n* node 2 ")) << lines;
  EXPECT_TRUE(lines.contains("\n  node 1 ")) << lines;
  EXPECT_TRUE(lines.contains("(speed not known yet) (not available)\n")) << lines;
}

}  // namespace
}  // namespace sollol::routing

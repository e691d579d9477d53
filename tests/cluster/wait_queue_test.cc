#include "cluster/wait_queue.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <vector>

namespace sollol::cluster {
namespace {

using enum Urgency;

constexpr ModelId model{1};
constexpr ModelId other_model{2};

Ticket put(WaitQueue& queue, std::uint64_t client = 0, Urgency urgency = normal,
           ModelId of = model) {
  return queue.enqueue({of, client, urgency, {}}).value();
}

std::vector<Ticket> order(const WaitQueue& queue, ModelId of = model, std::size_t most = 1000) {
  std::vector<Ticket> tickets;
  queue.for_each_in_order(of, most, [&](Ticket ticket) {
    tickets.push_back(ticket);
    return true;
  });
  return tickets;
}

/// Grants the first of the model, if any waits.
std::optional<Ticket> grant(WaitQueue& queue, ModelId of = model) {
  const auto first = order(queue, of, 1);
  if (first.empty()) return std::nullopt;
  queue.take(first[0]);
  return first[0];
}

TEST(WaitQueue, OneClientIsServedFirstInFirstOut) {
  WaitQueue queue({});
  const auto a = put(queue), b = put(queue), c = put(queue);
  EXPECT_EQ(order(queue), (std::vector{a, b, c}));
  EXPECT_EQ(grant(queue), a);
  EXPECT_EQ(grant(queue), b);
  EXPECT_EQ(grant(queue), c);
  EXPECT_EQ(grant(queue), std::nullopt);
  EXPECT_EQ(queue.size(), 0u);
}

TEST(WaitQueue, ClientsTakeTurns) {
  WaitQueue queue({});
  const auto a1 = put(queue, 1), a2 = put(queue, 1), a3 = put(queue, 1), b1 = put(queue, 2),
             c1 = put(queue, 3);
  EXPECT_EQ(order(queue), (std::vector{a1, b1, c1, a2, a3}));
}

TEST(WaitQueue, AFloodOfOneClientDoesNotHoldUpAnother) {
  WaitQueue queue({});
  for (int i = 0; i < 100; ++i) put(queue, 1);
  grant(queue);
  const auto mine = put(queue, 2);
  const auto next = order(queue, model, 2);
  EXPECT_NE(std::ranges::find(next, mine), next.end());
}

TEST(WaitQueue, TheMoreUrgentGoesFirst) {
  WaitQueue queue({});
  const auto c = put(queue, 0, batch), b = put(queue, 0, normal), a = put(queue, 0, interactive);
  EXPECT_EQ(order(queue), (std::vector{a, b, c}));
}

TEST(WaitQueue, NoLowerClassStarvesUnderAFloodOfUrgentOnes) {
  WaitQueue queue({});
  std::map<Urgency, int> granted;
  std::map<Ticket, Urgency> urgency_of;
  for (const Urgency urgency : {interactive, normal, batch}) {
    for (int i = 0; i < 20; ++i) urgency_of.emplace(put(queue, 0, urgency), urgency);
  }
  for (int i = 0; i < 100; ++i) {
    const Urgency served = urgency_of.at(*grant(queue));
    ++granted[served];
    urgency_of.emplace(put(queue, 0, served), served);  // each class stays as long as it was
  }
  EXPECT_EQ(granted[normal], 10);
  EXPECT_EQ(granted[batch], 10);
}

TEST(WaitQueue, AnOverdueClassIsServedOnceAndThenTheUrgentAgain) {
  WaitQueue queue({});
  const auto low = put(queue, 0, batch), lower = put(queue, 0, batch);
  for (int i = 0; i < 30; ++i) put(queue, 0, interactive);
  for (unsigned i = 0; i < WaitQueue::overtaken_max; ++i) EXPECT_NE(grant(queue), low);
  EXPECT_EQ(grant(queue), low);
  EXPECT_NE(grant(queue), lower);
}

TEST(WaitQueue, ModelsAreServedApart) {
  WaitQueue queue({});
  const auto a = put(queue, 0, normal, model), b = put(queue, 0, normal, other_model);
  EXPECT_EQ(order(queue, model), std::vector{a});
  EXPECT_EQ(order(queue, other_model), std::vector{b});
  EXPECT_EQ(queue.models_waiting(), (std::vector{model, other_model}));
  grant(queue, model);
  EXPECT_EQ(queue.models_waiting(), std::vector{other_model});
}

TEST(WaitQueue, WhoLeftIsNotServed) {
  WaitQueue queue({});
  const auto a = put(queue, 1), b = put(queue, 2);
  EXPECT_TRUE(queue.cancel(a));
  EXPECT_FALSE(queue.cancel(a));
  EXPECT_EQ(grant(queue), b);
  EXPECT_FALSE(queue.cancel(b));
}

TEST(WaitQueue, IsVisitedOnlyAsFarAsAsked) {
  WaitQueue queue({});
  for (int i = 0; i < 5; ++i) put(queue);
  EXPECT_EQ(order(queue, model, 3).size(), 3u);
  int visits = 0;
  queue.for_each_in_order(model, 5, [&](Ticket) { return ++visits < 2; });
  EXPECT_EQ(visits, 2);
}

TEST(WaitQueueLimits, RefuseTheOneTooMany) {
  WaitQueue queue({.waiting_max = 3, .waiting_per_client_max = 2});
  const auto first = put(queue, 1);
  put(queue, 1);
  const auto third = queue.enqueue({model, 1, normal, {}});
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().kind, ErrorKind::overloaded);
  EXPECT_EQ(third.error().retry, Retry::later);
  put(queue, 2);
  EXPECT_FALSE(queue.enqueue({model, 3, normal, {}}).has_value());
  EXPECT_TRUE(queue.cancel(first));
  EXPECT_TRUE(queue.enqueue({model, 3, normal, {}}).has_value());
}

struct Known {
  Waiting waiting;
  int grants = 0;
  bool left = false;
};

TEST(WaitQueue, ServesWhoeverCanGoUntilNobodyCan) {
  WaitQueue queue({});
  const Ticket barred = put(queue, 1);
  const Ticket first = put(queue, 2);
  const Ticket second = put(queue, 3);
  put(queue, 4);
  std::vector<Ticket> gone;
  queue.serve(model, [&](Ticket ticket) {
    if (ticket == barred || gone.size() == 2) return false;
    gone.push_back(ticket);
    return true;
  });
  EXPECT_EQ(gone, (std::vector{first, second}));
  EXPECT_EQ(queue.size(), 2u);
  EXPECT_EQ(order(queue).front(), barred);
}

RC_GTEST_PROP(AnyQueue, LosesNothingGrantsNothingTwiceAndKeepsEachClientsOrder, ()) {
  WaitQueue queue({.waiting_max = 40, .waiting_per_client_max = 15});
  std::map<Ticket, Known> all;
  std::map<std::tuple<ModelId, std::uint64_t, Urgency>, Ticket> last_granted;
  std::size_t waiting = 0;
  const int steps = *rc::gen::inRange(0, 200);
  for (int i = 0; i < steps; ++i) {
    const ModelId of{*rc::gen::inRange(0u, 2u)};
    const int action = *rc::gen::inRange(0, 10);
    if (action < 5) {
      const Waiting wanted{of,
                           *rc::gen::inRange<std::uint64_t>(0, 4),
                           static_cast<Urgency>(*rc::gen::inRange(0, 3)),
                           {}};
      if (const auto ticket = queue.enqueue(wanted)) {
        RC_ASSERT(all.emplace(*ticket, Known{wanted}).second);
        ++waiting;
      } else {
        const auto of_client = std::ranges::count_if(all, [&](const auto& entry) {
          return entry.second.waiting.client == wanted.client && entry.second.grants == 0 &&
                 !entry.second.left;
        });
        RC_ASSERT(waiting == 40 || of_client == 15);
      }
    } else if (action < 6 && !all.empty()) {
      auto it = std::next(all.begin(), *rc::gen::inRange<std::ptrdiff_t>(0, std::ssize(all)));
      const bool was_waiting = it->second.grants == 0 && !it->second.left;
      RC_ASSERT(queue.cancel(it->first) == was_waiting);
      it->second.left = true;
      waiting -= was_waiting ? 1 : 0;
    } else if (const auto ticket = grant(queue, of)) {
      Known& known = all.at(*ticket);
      RC_ASSERT(known.waiting.model == of);
      RC_ASSERT(!known.left);
      RC_ASSERT(++known.grants == 1);
      const auto lane = std::tuple(of, known.waiting.client, known.waiting.urgency);
      const auto before = last_granted.find(lane);
      if (before != last_granted.end()) RC_ASSERT(before->second < *ticket);
      last_granted.insert_or_assign(lane, *ticket);
      --waiting;
    }
    RC_ASSERT(queue.size() == waiting);
  }
  for (const ModelId of : queue.models_waiting()) {
    const auto listed = order(queue, of);
    RC_ASSERT(std::set(listed.begin(), listed.end()).size() == listed.size());
    for (auto ticket = grant(queue, of); ticket; ticket = grant(queue, of))
      ++all.at(*ticket).grants;
  }
  RC_ASSERT(queue.size() == 0u);
  RC_ASSERT(std::ranges::all_of(
      all, [](const auto& entry) { return entry.second.grants == 1 || entry.second.left; }));
}

RC_GTEST_PROP(AnyQueue, NobodyWaitsForMoreThanOneTurnOfTheOtherClients, ()) {
  WaitQueue queue({});
  const auto clients = *rc::gen::inRange<std::uint64_t>(1, 6);
  for (std::uint64_t client = 0; client < clients; ++client) {
    const int requests = *rc::gen::inRange(1, 10);
    for (int i = 0; i < requests; ++i) put(queue, client);
  }
  const Ticket mine = put(queue, clients);
  std::uint64_t before = 0;
  while (*grant(queue) != mine) ++before;
  RC_ASSERT(before == clients);
}

}  // namespace
}  // namespace sollol::cluster

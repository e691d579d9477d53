// Three nodes, one of them bad, under every policy: health and policy together keep it from
// attracting traffic.
#include <gtest/gtest.h>

#include <algorithm>
#include <queue>
#include <vector>

#include "base/random.h"
#include "cluster/cluster.h"
#include "routing/candidates.h"

namespace sollol::routing {
namespace {

using namespace std::chrono_literals;
using cluster::Availability;
using cluster::ProbeOutcome;
using cluster::RequestOutcome;

constexpr TimePoint t0{1000h};

/// How a node is bad. All of them answer or fail at once: to a policy they look idle.
enum class Fault : std::uint8_t { refuses, resets };  // a 200 with nothing counts as a reset does

struct Shares {
  int all = 0;
  int bad = 0;
  double of_bad() const { return static_cast<double>(bad) / all; }
};

/// The control thread and the workers of a gateway in one loop of events on virtual time.
class Fleet {
 public:
  Fleet(Policy policy, Fault fault) : policy_(policy), fault_(fault) {
    for (int i = 0; i < 3; ++i) {
      cluster::NodeInfo info;
      info.name = info.host = "n" + std::to_string(i);
      info.slots = 2;
      const NodeId id = cluster_.add(std::move(info)).value();
      cluster_.set_models(id, {{"m", "m", "d", 1}});
    }
    snapshot_ = cluster_.snapshot();
  }

  /// Node 0 is bad until `mended`. What was sent from `begin` to `end`.
  Shares run(TimePoint begin, TimePoint end, TimePoint mended) {
    mended_ = mended;
    Shares shares;
    while (now_ < end) {
      if (now_ >= next_tick_) control();
      while (running_.size() < clients && send(begin, shares)) continue;
      const TimePoint next =
          running_.empty() ? next_tick_ : std::min(next_tick_, running_.top().ends);
      now_ = next;
      while (!running_.empty() && running_.top().ends <= now_) finish();
    }
    return shares;
  }

 private:
  static constexpr std::size_t clients = 4;
  struct Running {
    TimePoint ends;
    std::size_t node;
    RequestOutcome outcome;
    bool operator>(const Running& other) const { return ends > other.ends; }
  };

  bool is_bad(std::size_t node) const { return node == 0 && now_ < mended_; }

  void control() {
    next_tick_ = now_ + 100ms;
    if (now_ >= next_probe_) {
      next_probe_ = now_ + 500ms;
      for (std::size_t i = 0; i < 3; ++i) {
        const bool refused = is_bad(i) && fault_ == Fault::refuses;
        cluster_.update_health(snapshot_->nodes[i].id, now_, [&](cluster::NodeHealth& health) {
          health.on_probe(refused ? ProbeOutcome::refused : ProbeOutcome::ok, now_);
        });
      }
    }
    cluster_.tick(now_);
  }

  bool send(TimePoint begin, Shares& shares) {
    candidates_.clear();
    const cluster::Model& model = *snapshot_->find_model("m");
    for (const cluster::Replica& replica : model.replicas) {
      const cluster::NodeLive& live = *snapshot_->nodes[replica.node].live;
      Candidate c = node(snapshot_->nodes[replica.node].id.value());
      c.availability = live.availability;
      if (c.availability == Availability::trial && !live.trial_free)
        c.availability = Availability::ejected;
      c.in_flight = c.node_in_flight = replica.live->in_flight;
      c.limit = replica.live->limit;
      c.service_s = replica.live->service_s;
      candidates_.push_back(c);
    }
    const auto choice = choose(policy_, candidates_, chat, now_, random_.bits(), after_);
    if (!choice) return false;
    after_ = choice->node;
    if (candidates_[choice->index].availability == Availability::trial) {
      snapshot_->nodes[choice->index].live->trial_free = false;
    }
    ++model.replicas[choice->index].live->in_flight;
    if (now_ >= begin) {
      ++shares.all;
      shares.bad += choice->index == 0 ? 1 : 0;
    }
    if (is_bad(choice->index)) {
      running_.push({now_ + 2ms, choice->index,
                     fault_ == Fault::refuses ? RequestOutcome::refused : RequestOutcome::fault});
    } else {
      running_.push({now_ + from_seconds(0.5 + static_cast<double>(random_.bits() % 1000) / 1000),
                     choice->index, RequestOutcome::ok});
    }
    return true;
  }

  void finish() {
    const Running done = running_.top();
    running_.pop();
    const cluster::Node& node = snapshot_->nodes[done.node];
    cluster::ReplicaLive& replica = *snapshot_->find_model("m")->replicas[done.node].live;
    --replica.in_flight;
    if (done.outcome == RequestOutcome::ok) cluster::smooth(replica.service_s, 1.0);
    if (done.outcome == RequestOutcome::ok && !node.live->wants_outcomes) return;
    cluster_.update_health(
        node.id, now_, [&](cluster::NodeHealth& health) { health.on_request(done.outcome, now_); });
  }

  Policy policy_;
  Fault fault_;
  cluster::Cluster cluster_{cluster::HealthOptions{}};
  std::shared_ptr<const cluster::Snapshot> snapshot_;
  SeededRandom random_{7};
  TimePoint now_ = t0, next_tick_ = t0, next_probe_ = t0, mended_ = TimePoint::max();
  std::optional<NodeId> after_;
  std::vector<Candidate> candidates_;
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
};

std::string case_name(Policy policy, Fault fault) {
  return std::string(name(policy)) + (fault == Fault::refuses ? "_refuses" : "_resets");
}

class BadNode : public testing::TestWithParam<std::tuple<Policy, Fault>> {};

TEST_P(BadNode, TakesNoMoreThanOneInTwentyAfterTwoSeconds) {
  Fleet fleet(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const Shares shares = fleet.run(t0 + 2s, t0 + 62s, TimePoint::max());
  EXPECT_GT(shares.all, 200);  // the others serve
  EXPECT_LE(shares.of_bad(), 0.05) << shares.bad << " of " << shares.all;
}

TEST_P(BadNode, IsUsedAgainWhenMended) {
  Fleet fleet(std::get<0>(GetParam()), std::get<1>(GetParam()));
  const Shares shares = fleet.run(t0 + 40s, t0 + 100s, t0 + 20s);
  EXPECT_GE(shares.of_bad(), 0.25) << shares.bad << " of " << shares.all;
}

INSTANTIATE_TEST_SUITE_P(Every, BadNode,
                         testing::Combine(testing::ValuesIn(all_policies),
                                          testing::Values(Fault::refuses, Fault::resets)),
                         [](const auto& row) {
                           return case_name(std::get<0>(row.param), std::get<1>(row.param));
                         });

}  // namespace
}  // namespace sollol::routing

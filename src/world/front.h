#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/random.h"
#include "cluster/history.h"
#include "cluster/learn.h"
#include "cluster/place.h"
#include "cluster/retry_budget.h"
#include "cluster/wait_queue.h"
#include "routing/calibration.h"
#include "routing/residency.h"
#include "routing/survey.h"
#include "world/checks.h"
#include "world/control.h"
#include "world/events.h"
#include "world/machines.h"
#include "world/recorder.h"
#include "world/world.h"

namespace sollol::world {

/// The life of every request, as the gateway leads it: admitted or queued, placed, its model
/// loaded, sent, answered, retried or resumed. Candidates, choice, places, queue, retries, health
/// and learning are the gateway's own code; coroutines and sockets are not there.
class Front {
 public:
  /// `noise`: how many times as long each request takes as its size says.
  Front(const Scenario& scenario, const Options& options, Control& control, Machines& machines,
        std::span<const double> noise, Events& events, Recorder& recorder);

  void arrive(std::uint32_t request, TimePoint now);
  /// The life's request reaches its node, if that attempt is still under way.
  void enter(std::uint32_t life, std::uint64_t attempt, TimePoint now);
  /// That attempt, if it is still under way, is unusually late.
  void late(std::uint32_t life, std::uint64_t attempt, TimePoint now);
  void give_up(std::uint64_t ticket, TimePoint now);
  /// Whoever waits for a better place than a free one sees whether it is still better.
  void look_again(std::uint64_t ticket, TimePoint now);
  void crash(std::uint32_t node, TimePoint now);
  /// Plans which models are where, and does so again after each interval.
  void plan_residency(TimePoint now);
  /// Goes on with what the machines have done, and with all that follows at the same moment.
  void follow(TimePoint now);

  std::uint64_t ended() const { return ended_; }
  /// Requests of a closed loop that may now come, since others have ended.
  std::uint32_t take_free_users() { return std::exchange(free_users_, 0); }
  Checks& checks() { return checks_; }
  std::uint64_t in_flight() const;
  std::size_t waiting() const { return queue_.size(); }

 private:
  /// A request from its arrival to its end.
  struct Life {
    std::uint32_t request = 0;  // index into the workload
    routing::Demand demand{};
    std::uint64_t session = 0;  // the conversation's key; 0: none
    const cluster::Model* model = nullptr;
    TimePoint arrived{};
    std::optional<TimePoint> first_token{};
    std::uint32_t given = 0;  // tokens that the client has
    std::uint32_t attempts = 0;
    bool may_be_hedged = false;
    std::optional<std::uint32_t> rival{};  // the life of another try at the same request
    // Of the attempt under way.
    std::uint64_t attempt = 0;  // its number; 0: there is none
    bool hedge = false;         // begun since its rival was late
    unsigned hedge_looks = 0;
    std::uint32_t node = 0;
    cluster::ReplicaLive* replica = nullptr;
    std::uint32_t replica_index = 0;  // among the model's
    cluster::Entered entered{};
    cluster::Company company{};  // once it has given its place back
    double cached_tokens = 0;    // of its prompt, expected in the node's cache
    std::uint64_t size_bytes = 0;
    double weights = 0;  // of its model
    TimePoint sent{};
    routing::Considered expected{};
    // When it was first told to wait for a better place than a free one.
    std::optional<routing::AwaitedPlace> awaited = {};
    TimePoint wait_began{};
    bool learnt = false;  // its replica had answered `measured_enough` requests
    bool cold = false;
    std::uint32_t loads_waited = 0;
  };
  struct Waiter {
    std::uint32_t life = 0;
    TimePoint began{};
    bool holds_out = false;  // there is a place, and it waits for a better one
  };
  struct Load {
    std::uint32_t model = 0;
    std::uint32_t node = 0;
    cluster::ReplicaLive* replica = nullptr;
    std::uint32_t num_ctx = 0;
    TimePoint began{};
    std::vector<std::uint32_t> waiters{};
    std::optional<routing::ResidencyStep> planned{};
  };
  using LoadKey = std::pair<std::uint32_t, ModelId>;
  static constexpr std::uint64_t mix = 0x9e3779b97f4a7c15ULL;
  /// As the gateway's key of runner options: 0 is a key like any other.
  static std::uint64_t runner_key(std::uint32_t num_ctx) { return num_ctx * mix + 1; }
  /// What a node was given to load, or to keep.
  struct LoadJob {
    LoadKey key;
    enum class Use : std::uint8_t { load, keep } use;
  };
  static constexpr JobId load_job_mark = 1u << 31;  // of the jobs that are such

  std::uint32_t new_life();
  void drop(std::uint32_t life);
  void admit(std::uint32_t life, TimePoint now);
  /// By requests before this one.
  using Awaited = std::vector<routing::AwaitedPlace>;
  Result<routing::Choice> choose_without_places(const Life& life, TimePoint now);
  Result<void> place(std::uint32_t life, Awaited& awaited, TimePoint now);
  Result<void> take(Life& life, const routing::Candidate& seen, TimePoint now);
  void enqueue(std::uint32_t life, TimePoint now);
  void serve(ModelId model, TimePoint now);
  void start(std::uint32_t life, TimePoint now);
  void make_ready(std::uint32_t life, TimePoint now);
  // front_loads.cc
  void begin_load(Load load, TimePoint now);
  Job load_job(std::uint32_t model, std::uint32_t num_ctx, const LoadKey& key, LoadJob::Use use);
  void load_job_ended(JobId id, cluster::LoadEnd how, TimePoint now);
  void carry_out(const routing::ResidencyStep& step, TimePoint now);
  std::size_t loads_at(std::uint32_t node) const;
  void end_load(const LoadKey& key, cluster::LoadEnd end, TimePoint now);
  void send(std::uint32_t life, TimePoint now);
  routing::FirstTry first_try(const Life& life) const;
  void begin_second(std::uint32_t life, const routing::Candidate& seen, TimePoint now);
  void beat(std::uint32_t life, TimePoint now);
  void estimate(Life& life, const Request& asked) const;
  void answered(const NodeEvent& event);
  void learn(const Life& life, const NodeEvent& event);
  void hold_against(const Life& life, const NodeEvent& event);
  void attempt_failed(std::uint32_t life, TimePoint now);
  void release(Life& life, TimePoint now);
  void on_event(const NodeEvent& event);
  void end(std::uint32_t life, Recorder::End how, TimePoint now);
  const Request& request_of(const Life& life) const {
    return scenario_.workload.requests[life.request];
  }
  std::uint32_t& answers_of(const Life& life) {
    return answers_[life.node * scenario_.fleet.models.size() + request_of(life).model];
  }
  Job job_of(std::uint32_t life) const;

  const Scenario& scenario_;
  const Options& options_;
  Control& control_;
  Machines& machines_;
  Events& events_;
  Recorder& recorder_;
  std::vector<const cluster::Model*> models_;  // by index into the fleet's; null: no node has it
  std::span<const double> noise_;              // by request
  SeededRandom random_;
  cluster::RetryBudget retries_;
  cluster::RetryBudget hedges_;
  cluster::History history_;
  cluster::WaitQueue queue_;
  std::unordered_map<cluster::Ticket, Waiter> waiting_;
  std::deque<Life> lives_;
  std::vector<std::uint32_t> free_lives_;
  std::deque<std::uint32_t> placed_;  // that have a place and go on
  std::map<LoadKey, Load> loads_;
  std::vector<LoadJob> load_jobs_;
  std::vector<std::uint32_t> wanted_ctx_;  // by model: what it was last loaded with
  routing::Residency residency_;
  std::vector<std::uint32_t> answers_;  // by node and model
  std::vector<routing::Candidate> scratch_;
  Checks checks_;
  std::uint64_t attempts_ = 0;
  std::uint64_t ended_ = 0;
  std::uint32_t free_users_ = 0;
};

}  // namespace sollol::world

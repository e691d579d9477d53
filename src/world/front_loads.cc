// Loads of models: those that requests wait for, and those that are planned.
#include "world/front.h"

namespace sollol::world {

using cluster::LoadEnd;
using cluster::RequestOutcome;
using routing::ResidencyStep;
using routing::Warmth;
using Kind = ResidencyStep::Kind;

namespace {

/// Loads that one request waits for, where each turns out to be with other options than its own.
constexpr std::uint32_t loads_waited_max = 4;

}  // namespace

/// Waits for the load of its model at its node, which begins if there is none.
void Front::make_ready(std::uint32_t index, TimePoint now) {
  Life& life = lives_[index];
  const auto found = loads_.find({life.node, life.model->id});
  if (life.loads_waited == loads_waited_max) return send(index, now);
  if (found == loads_.end() && routing::warmth_of(*life.replica, life.demand) == Warmth::warm)
    return send(index, now);
  ++life.loads_waited;
  if (found != loads_.end()) return found->second.waiters.push_back(index);
  wanted_ctx_[request_of(life).model] = life.demand.num_ctx;
  begin_load({.model = request_of(life).model,
              .node = life.node,
              .replica = life.replica,
              .num_ctx = life.demand.num_ctx,
              .began = now,
              .waiters = {index}},
             now);
}

void Front::begin_load(Load load, TimePoint now) {
  const LoadKey key{load.node, models_[load.model]->id};
  cluster::load_begins(*control_.snapshot().nodes[load.node].live, *load.replica,
                       runner_key(load.num_ctx), now);
  const std::uint32_t node = load.node;
  const Job job = load_job(load.model, load.num_ctx, key, LoadJob::Use::load);
  loads_.emplace(key, std::move(load));
  if (machines_.is_down(node)) {
    control_.report(node, RequestOutcome::refused, now);
    return end_load(key, LoadEnd::node_failed, now);
  }
  machines_.admit(now, node, job);
}

Job Front::load_job(std::uint32_t model, std::uint32_t num_ctx, const LoadKey& key,
                    LoadJob::Use use) {
  const Job job{.id = load_job_mark | static_cast<JobId>(load_jobs_.size()),
                .model = model,
                .num_ctx = num_ctx,
                .use = Job::Use::load};
  load_jobs_.push_back({key, use});
  return job;
}

void Front::load_job_ended(JobId id, LoadEnd how, TimePoint now) {
  const LoadJob& job = load_jobs_[id & ~load_job_mark];
  if (job.use == LoadJob::Use::load) end_load(job.key, how, now);
}

void Front::end_load(const LoadKey& key, LoadEnd how, TimePoint now) {
  const auto found = loads_.find(key);
  const Load load = std::move(found->second);
  loads_.erase(found);
  // What it pushed out of the node's memory is cold now.
  if (how == LoadEnd::loaded) control_.list(load.node, now);
  cluster::load_ended(*control_.snapshot().nodes[load.node].live, *load.replica,
                      scenario_.fleet.models[load.model].size_bytes, how, now - load.began, now);
  if (load.planned)
    residency_.ended(*load.planned, how == LoadEnd::loaded ? "" : "the load failed");
  for (const std::uint32_t waiter : load.waiters) {
    if (load.num_ctx != lives_[waiter].demand.num_ctx) {
      make_ready(waiter, now);
    } else if (how == LoadEnd::loaded) {
      send(waiter, now);
    } else {
      attempt_failed(waiter, now);
    }
  }
}

/// As the gateway's keeper of models does, at each interval.
void Front::plan_residency(TimePoint now) {
  events_.add(now + options_.residency_interval, Event::Kind::plan);
  const cluster::Snapshot& snapshot = control_.snapshot();
  const auto expires_in_s = [&](std::size_t node, const std::string& key) -> std::optional<double> {
    const auto model = find_model(scenario_.fleet, key);
    for (const TrueNode::Loaded& loaded : machines_.at(static_cast<std::uint32_t>(node)).loaded()) {
      if (loaded.model == model && loaded.expires_at != TimePoint::max())
        return to_seconds(loaded.expires_at - now);
    }
    return std::nullopt;
  };
  const routing::ResidencyPlan plan =
      residency_.plan(snapshot,
                      {.waiting = [this](ModelId model) { return queue_.waiting(model); },
                       .expires_in_s = expires_in_s},
                      now);
  for (const ResidencyStep& step : plan.steps) carry_out(step, now);
}

void Front::carry_out(const ResidencyStep& step, TimePoint now) {
  const std::uint32_t model = *find_model(scenario_.fleet, step.key);
  const auto node = static_cast<std::uint32_t>(step.node_index);
  const LoadKey key{node, models_[model]->id};
  if (loads_.contains(key) || machines_.is_down(node)) return;
  cluster::ReplicaLive& replica = *models_[model]->replicas[step.replica].live;
  if (step.kind == Kind::keep) {
    recorder_.kept();
    // With the options that it is loaded with, as the node knows them.
    for (const TrueNode::Loaded& loaded : machines_.at(node).loaded()) {
      if (loaded.model == model)
        machines_.admit(now, node, load_job(model, loaded.context, key, LoadJob::Use::keep));
    }
    return;
  }
  if (!residency_.may_begin(step)) return;
  residency_.begun(step, now);
  recorder_.planned();
  checks_.load_planned(step.node_index, loads_at(node));
  begin_load({.model = model,
              .node = node,
              .replica = &replica,
              .num_ctx = wanted_ctx_[model],
              .began = now,
              .planned = step},
             now);
}

/// Of the gateway's, under way there.
std::size_t Front::loads_at(std::uint32_t node) const {
  const auto begin = loads_.lower_bound({node, ModelId{0}});
  const auto end = loads_.lower_bound({node + 1, ModelId{0}});
  return static_cast<std::size_t>(std::distance(begin, end));
}

}  // namespace sollol::world

#include "sim/node_model.h"

#include <algorithm>
#include <cassert>
#include <tuple>
#include <utility>

namespace sollol::sim {
namespace {

constexpr std::uint32_t max_loaded_default = 3;
constexpr std::uint32_t context_min = 4;
constexpr double free_share = 0.8;  // of the free memory that a further model may take

/// Families that Ollama never runs in parallel.
bool always_single(std::string_view family) {
  constexpr std::string_view single[] = {"mllama",    "qwen3vl", "qwen35",
                                         "qwen3next", "lfm2",    "nemotron_h"};
  return std::ranges::any_of(single, [&](auto prefix) { return family.starts_with(prefix); });
}

bool forever(Duration keep_alive) { return keep_alive < Duration::zero(); }

std::size_t common_prefix(std::string_view a, std::string_view b) {
  return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
}

}  // namespace

NodeModel::NodeModel(const NodeSpec& spec, SharedLoad& device, SharedLoad& host)
    : spec_(spec), device_(device), host_(host) {
  if (spec_.max_loaded == 0) spec_.max_loaded = max_loaded_default;
  if (spec_.context_length == 0) {
    constexpr std::uint64_t gib = 1ULL << 30;
    const auto memory = spec_.memory_bytes;
    spec_.context_length = memory >= 47 * gib ? 262'144 : memory >= 23 * gib ? 32'768 : 4096;
  }
}

std::optional<JobId> NodeModel::admit(TimePoint now, Demand demand) {
  const auto runner = runners_.find(demand.model->spec.blob);
  const bool ready = runner != runners_.end() && loading_ != demand.model->spec.blob &&
                     !needs_reload(runner->second, demand);
  if (!ready && pending_.size() >= spec_.max_queue) return std::nullopt;
  const JobId id = next_id_++;
  jobs_.emplace(id, Job{.demand = std::move(demand), .entered = now});
  if (ready) {
    grant(now, id, runner->second);
  } else {
    pending_.push_back(id);
    pump(now);
  }
  return id;
}

/// The loader: takes the queue's head, gives it its runner or makes room and loads it.
void NodeModel::pump(TimePoint now) {
  while (!loading_) {
    if (reclaim_until_ && *reclaim_until_ > now) return;
    reclaim_until_.reset();
    if (!head_) {
      while (!pending_.empty() && !jobs_.contains(pending_.front())) pending_.pop_front();
      if (pending_.empty()) return;
      head_ = pending_.front();
      pending_.pop_front();
    }
    const auto& demand = jobs_.at(*head_).demand;
    const auto runner = runners_.find(demand.model->spec.blob);
    if (runner != runners_.end() && !needs_reload(runner->second, demand)) {
      grant(now, *std::exchange(head_, {}), runner->second);
    } else if (make_room(now, demand)) {
      start_load(now, *head_);
    } else if (!reclaim_until_) {
      return;  // a busy victim: release() comes back here
    }
  }
}

/// Unloads what stands in the way. False: not yet, since a victim is busy or its memory takes time
/// to come back.
bool NodeModel::make_room(TimePoint now, const Demand& demand) {
  auto victim = runners_.find(demand.model->spec.blob);
  if (victim == runners_.end()) {
    if (runners_.empty()) return true;
    const auto free = spec_.memory_bytes - std::min(spec_.memory_bytes, used_bytes());
    const bool fits = spec_.memory_bytes == 0 || static_cast<double>(need_bytes(demand)) <=
                                                     free_share * static_cast<double>(free);
    if (fits && runners_.size() < spec_.max_loaded) return true;
    const auto cost = [](const auto& entry) {
      const Runner& r = entry.second;
      return std::tuple{r.in_flight != 0, forever(r.keep_alive) ? Duration::max() : r.keep_alive,
                        r.used_at};
    };
    victim = std::ranges::min_element(runners_, {}, cost);
  }
  victim->second.marked = true;
  victim->second.keep_alive = Duration::zero();  // goes as soon as it is idle
  if (victim->second.in_flight != 0) return false;
  remove(now, victim);
  return !reclaim_until_ && make_room(now, demand);  // one runner less
}

void NodeModel::start_load(TimePoint now, JobId id) {
  const auto& demand = jobs_.at(id).demand;
  const auto& model = demand.model->spec;
  Runner runner{.model = demand.model, .options = demand.options};
  runner.num_ctx = effective_context(*demand.model, demand.options);
  runner.bytes = need_bytes(demand);
  runner.device_bytes = runner.bytes;
  if (spec_.memory_bytes != 0) {
    runner.device_bytes =
        std::min(runner.bytes, spec_.memory_bytes - std::min(spec_.memory_bytes, used_bytes()));
  }
  runner.keep_alive = demand.keep_alive.value_or(spec_.keep_alive);
  const auto time =
      model.load_time > Duration::zero()
          ? model.load_time
          : from_seconds(static_cast<double>(model.size_bytes) / model.load_bytes_per_s);
  runner.ready_at = now + time;
  runner.slots.resize(slots_of(*demand.model));
  loading_ = model.blob;
  ++totals_.loads;
  runners_.insert_or_assign(model.blob, std::move(runner));
  note(id, Phase::loading);
}

void NodeModel::grant(TimePoint now, JobId id, Runner& runner) {
  auto& job = jobs_.at(id);
  job.granted = now;
  if (job.demand.keep_alive) {
    runner.keep_alive = *job.demand.keep_alive;
    runner.marked = false;
  }
  ++runner.in_flight;
  runner.used_at = now;
  if (job.demand.use == Demand::Use::load) return note(id, Phase::running);
  if (runner.running < runner.slots.size()) return start(now, id, runner);
  runner.waiting.push_back(id);
  note(id, Phase::slot);
}

/// Takes the free slot whose cache saves most.
void NodeModel::start(TimePoint now, JobId id, Runner& runner) {
  auto& job = jobs_.at(id);
  Runner::Slot* best = nullptr;
  std::size_t saved = 0;
  for (auto& slot : runner.slots) {
    if (slot.job) continue;
    const auto common = common_prefix(slot.text, job.demand.prompt);
    if (best == nullptr || common > saved) {
      best = &slot;
      saved = common;
    }
  }
  assert(best != nullptr);  // the callers have seen a free one
  best->job = id;
  job.started = now;
  const auto share = job.demand.prompt.empty() ? 0.0
                                               : static_cast<double>(saved) /
                                                     static_cast<double>(job.demand.prompt.size());
  job.cached_tokens =
      std::min(static_cast<std::uint32_t>(share * job.demand.prompt_tokens),
               std::max(job.demand.prompt_tokens, 1U) - 1);  // the last one is always evaluated
  ++runner.running;
  ++device_.running;
  ++host_.running;
  note(id, Phase::running);
}

void NodeModel::finish(TimePoint at, JobId id, std::string_view text) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  auto job = std::move(found->second);
  jobs_.erase(found);
  auto& runner = runners_.at(job.demand.model->spec.blob);
  if (job.demand.use == Demand::Use::generate && job.phase == Phase::running) {
    const auto slot = std::ranges::find(runner.slots, std::optional{id}, &Runner::Slot::job);
    slot->job.reset();
    slot->text = std::move(job.demand.prompt);
    slot->text += text;
    --runner.running;
    --device_.running;
    --host_.running;
  }
  release(at, runner);
}

/// One job less: the next one starts, or the runner goes idle.
void NodeModel::release(TimePoint now, Runner& runner) {
  --runner.in_flight;
  runner.used_at = now;
  while (runner.running < runner.slots.size() && !runner.waiting.empty()) {
    const auto next = runner.waiting.front();
    runner.waiting.pop_front();
    start(now, next, runner);
  }
  if (runner.in_flight == 0) {
    runner.expires_at = forever(runner.keep_alive) ? TimePoint::max() : now + runner.keep_alive;
    // A runner that the loader marked has a keep-alive of zero, and goes here too.
    if (runner.keep_alive == Duration::zero()) remove(now, runners_.find(runner.model->spec.blob));
  }
  pump(now);
}

void NodeModel::cancel(TimePoint now, JobId id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  const auto phase = found->second.phase;
  if (phase == Phase::running) return finish(now, id);
  const auto blob = found->second.demand.model->spec.blob;
  jobs_.erase(found);
  if (phase == Phase::slot) {
    auto& runner = runners_.at(blob);
    std::erase(runner.waiting, id);
    return release(now, runner);
  }
  if (head_ != id) return;  // keeps its place in the queue until it is reached
  head_.reset();
  if (phase == Phase::loading) {
    ++totals_.loads_cancelled;
    loading_.reset();
    remove(now, runners_.find(blob));
  }
  pump(now);
}

void NodeModel::unload(TimePoint now, const Manifest& model) {
  const auto runner = runners_.find(model.spec.blob);
  if (runner == runners_.end() || loading_ == model.spec.blob) return;
  runner->second.keep_alive = Duration::zero();
  if (runner->second.in_flight != 0) return;
  remove(now, runner);
  pump(now);
}

void NodeModel::remove(TimePoint now, Runners::iterator runner) {
  if (runner->second.marked) {
    const bool reload = head_ && jobs_.at(*head_).demand.model->spec.blob == runner->first;
    ++(reload ? totals_.reloads : totals_.evictions);
  }
  runners_.erase(runner);
  if (spec_.reclaim > Duration::zero()) reclaim_until_ = now + spec_.reclaim;
}

void NodeModel::advance(TimePoint now) {
  if (loading_ && runners_.at(*loading_).ready_at <= now) {
    auto& runner = runners_.at(*loading_);
    loading_.reset();
    grant(runner.ready_at, *std::exchange(head_, {}), runner);
  }
  for (auto runner = runners_.begin(); runner != runners_.end();) {
    const auto current = runner++;
    const auto& r = current->second;
    if (r.in_flight == 0 && loading_ != current->first && r.expires_at && *r.expires_at <= now)
      remove(now, current);
  }
  pump(now);
}

std::optional<TimePoint> NodeModel::next_wake() const {
  std::optional<TimePoint> earliest;
  const auto consider = [&](TimePoint at) { earliest = std::min(at, earliest.value_or(at)); };
  if (loading_) consider(runners_.at(*loading_).ready_at);
  if (reclaim_until_) consider(*reclaim_until_);
  for (const auto& [blob, runner] : runners_) {
    if (runner.in_flight == 0 && loading_ != blob && runner.expires_at &&
        *runner.expires_at != TimePoint::max()) {
      consider(*runner.expires_at);
    }
  }
  return earliest;
}

void NodeModel::note(JobId id, Phase phase) {
  jobs_.at(id).phase = phase;
  changed_.push_back(id);
}

bool NodeModel::needs_reload(const Runner& runner, const Demand& demand) const {
  if (runner.options.other != demand.options.other) return true;
  const auto automatic = [](const Manifest& model, const RunnerOptions& options) {
    return !options.num_ctx && !model.spec.num_ctx;
  };
  const bool both =
      automatic(*runner.model, runner.options) && automatic(*demand.model, demand.options);
  return !both && runner.num_ctx != effective_context(*demand.model, demand.options);
}

std::uint32_t NodeModel::effective_context(const Manifest& model,
                                           const RunnerOptions& options) const {
  auto context = options.num_ctx.value_or(model.spec.num_ctx.value_or(spec_.context_length));
  context = std::max(context, model.can("vision") ? 2048 : context_min);
  return std::min(context, std::max(model.spec.context_length, context_min));
}

std::uint32_t NodeModel::slots_of(const Manifest& model) const {
  return model.can("embedding") || always_single(model.spec.family) ? 1 : std::max(1U, spec_.slots);
}

std::uint64_t NodeModel::need_bytes(const Demand& demand) const {
  const auto& model = *demand.model;
  const std::uint64_t cells =
      std::uint64_t{effective_context(model, demand.options)} * slots_of(model);
  return model.spec.size_bytes + cells * model.spec.kv_bytes_per_token;
}

std::uint64_t NodeModel::used_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [blob, runner] : runners_) sum += runner.device_bytes;
  return sum;
}

/// How many times as long a step takes as on an idle node with the whole model on the device.
double NodeModel::slowdown(const Runner& runner) const {
  const auto others_here = device_.running - runner.running;
  const auto others_host = host_.running - device_.running;
  const auto spilled = runner.bytes == 0 ? 0.0
                                         : 1.0 - static_cast<double>(runner.device_bytes) /
                                                     static_cast<double>(runner.bytes);
  return (1 + spec_.parallel_slowdown * (std::max(runner.running, 1U) - 1)) *
         (1 + spec_.device_slowdown * others_here + spec_.host_slowdown * others_host) *
         (1 + (spec_.cpu_slowdown - 1) * spilled);
}

Duration NodeModel::prefill_step(JobId id, std::uint32_t tokens) const {
  const auto& model = jobs_.at(id).demand.model->spec;
  return from_seconds(tokens * slowdown(runners_.at(model.blob)) / model.prefill_tokens_per_s);
}

Duration NodeModel::decode_step(JobId id) const {
  const auto& model = jobs_.at(id).demand.model->spec;
  return from_seconds(slowdown(runners_.at(model.blob)) / model.decode_tokens_per_s);
}

std::vector<RunnerView> NodeModel::runners(TimePoint now) const {
  std::vector<RunnerView> out;
  for (const auto& [blob, runner] : runners_) {
    if (loading_ == blob) continue;
    const auto first = forever(runner.keep_alive) ? TimePoint::max() : now + runner.keep_alive;
    out.push_back({runner.model, runner.bytes, runner.device_bytes, runner.num_ctx,
                   runner.expires_at.value_or(first)});
  }
  std::ranges::sort(out, std::ranges::greater{},
                    [](const auto& view) { return std::pair(view.expires_at, view.model->name); });
  return out;
}

}  // namespace sollol::sim

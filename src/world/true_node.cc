#include "world/true_node.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <tuple>
#include <utility>

namespace sollol::world {
namespace {

constexpr double free_share = 0.8;  // of the free memory that a further model may take
constexpr double done_s = 1e-9;     // what may be left of a stage that is over: rounding

bool forever(Duration keep_alive) { return keep_alive < Duration::zero(); }

std::uint32_t default_context(const NodeSpec& spec) {
  if (spec.context_length > 0) return spec.context_length;
  constexpr std::uint64_t gib = 1ULL << 30;
  return spec.memory_bytes >= 47 * gib ? 262'144 : spec.memory_bytes >= 23 * gib ? 32'768 : 4096;
}

/// Rounded up, so that what is due is over when its time has come.
Duration after(double seconds) {
  return Duration(static_cast<Duration::rep>(std::ceil(seconds * 1e9)));
}

}  // namespace

TrueNode::TrueNode(const NodeSpec& spec, const std::vector<ModelSpec>& models, Running& device,
                   Running& host)
    : spec_(spec),
      models_(models),
      device_(device),
      host_(host),
      context_length_(default_context(spec)),
      replica_of_(models.size(), none) {
  for (std::uint32_t i = 0; i < spec.models.size(); ++i) replica_of_[spec.models[i].model] = i;
}

const ReplicaSpec& TrueNode::replica(std::uint32_t model) const {
  return spec_.models.at(replica_of_.at(model));
}

TrueNode::Runner* TrueNode::find(std::uint32_t model) {
  const auto found = std::ranges::find(runners_, model, &Runner::model);
  return found == runners_.end() ? nullptr : &*found;
}

void TrueNode::admit(TimePoint now, const Job& job) {
  ++jobs_;
  Stream stream{.job = job, .entered = now};
  Runner* runner = find(job.model);
  if (runner != nullptr && !is_loading(*runner) && !needs_reload(*runner, job)) {
    grant(now, std::move(stream), *runner);
  } else {
    pending_.push_back(std::move(stream));
    pump(now);
  }
}

/// The loader: takes the queue's head, gives it its runner or makes room and loads it.
void TrueNode::pump(TimePoint now) {
  while (loading_ == none) {
    if (!head_) {
      if (pending_.empty()) return;
      head_ = std::move(pending_.front());
      pending_.pop_front();
    }
    Runner* runner = find(head_->job.model);
    if (runner != nullptr && !needs_reload(*runner, head_->job)) {
      grant(now, *std::exchange(head_, {}), *runner);
    } else if (make_room(now, head_->job)) {
      start_load(now, head_->job);
    } else {
      return;  // a busy victim: release() comes back here
    }
  }
}

/// Unloads what stands in the way. False: a victim is busy.
bool TrueNode::make_room(TimePoint now, const Job& job) {
  Runner* victim = find(job.model);
  if (victim == nullptr) {
    if (runners_.empty()) return true;
    const std::uint64_t free = spec_.memory_bytes - std::min(spec_.memory_bytes, used_bytes());
    const bool fits = spec_.memory_bytes == 0 || static_cast<double>(need_bytes(job)) <=
                                                     free_share * static_cast<double>(free);
    if (fits && runners_.size() < spec_.max_loaded) return true;
    // The idle before the busy, the shortest keep-alive, the least recently used.
    victim = &*std::ranges::min_element(runners_, {}, [](const Runner& r) {
      return std::tuple(r.in_flight != 0, forever(r.keep_alive) ? Duration::max() : r.keep_alive,
                        r.used_at);
    });
  }
  if (victim->model == job.model && !victim->marked) ++reloads_;
  victim->marked = true;
  victim->keep_alive = Duration::zero();  // goes as soon as it is idle
  if (victim->in_flight != 0) return false;
  remove(victim->model);
  return make_room(now, job);
}

void TrueNode::start_load(TimePoint now, const Job& job) {
  Runner runner{.model = job.model, .wanted_ctx = job.num_ctx};
  runner.num_ctx = effective_context(job);
  runner.bytes = runner.device_bytes = need_bytes(job);
  if (spec_.memory_bytes != 0) {
    runner.device_bytes =
        std::min(runner.bytes, spec_.memory_bytes - std::min(spec_.memory_bytes, used_bytes()));
  }
  runner.keep_alive = spec_.keep_alive;
  runner.ready_at = now + replica(job.model).load_time;
  runner.slots.resize(std::max(1u, spec_.slots));
  loading_ = job.model;
  ++loads_;
  runners_.push_back(std::move(runner));
}

void TrueNode::grant(TimePoint now, Stream stream, Runner& runner) {
  stream.granted = now;
  runner.used_at = now;
  ++runner.in_flight;
  if (stream.job.use == Job::Use::load) {
    const Duration took = now - stream.entered;
    emit({.job = stream.job.id, .at = now, .total = took, .load = took});
    --jobs_;
    answered_loads_.push_back(runner.model);
  } else if (runner.running < runner.slots.size()) {
    start(now, std::move(stream), runner);
  } else {
    runner.waiting.push_back(std::move(stream));
  }
}

/// Takes the free slot whose cache saves most.
void TrueNode::start(TimePoint now, Stream stream, Runner& runner) {
  Slot* best = nullptr;
  std::uint32_t saved = 0;
  for (Slot& slot : runner.slots) {
    if (slot.stream) continue;
    const bool same = stream.job.session != 0 && slot.session == stream.job.session;
    const std::uint32_t common = same ? std::min(slot.tokens, stream.job.prompt_tokens) : 0;
    if (best == nullptr || common > saved) {
      best = &slot;
      saved = common;
    }
  }
  assert(best != nullptr);  // the callers have seen a free one
  const ReplicaSpec& speed = replica(stream.job.model);
  // The last token of a prompt is always evaluated.
  saved = std::min(saved, std::max(stream.job.prompt_tokens, 1u) - 1);
  const double prefill =
      stream.job.noise * (stream.job.prompt_tokens - saved) / speed.prefill_tokens_per_s;
  const double token =
      stream.job.output_tokens == 0 ? 0 : stream.job.noise / speed.decode_tokens_per_s;
  stream.left_s = prefill + token;
  stream.prefill_share = stream.left_s > 0 ? prefill / stream.left_s : 0;
  stream.started = now;
  best->stream = std::move(stream);
  ++runner.running;
  ++device_.streams;
  ++host_.streams;
}

void TrueNode::settle(TimePoint now) {
  const double passed = to_seconds(now - settled_at_);
  settled_at_ = now;
  if (passed <= 0) return;
  for (Runner& runner : runners_) {
    if (runner.running == 0) continue;
    const double progress = passed / slowdown(runner);
    for (Slot& slot : runner.slots) {
      if (slot.stream) slot.stream->left_s -= progress;
    }
  }
}

void TrueNode::advance(TimePoint now, std::vector<NodeEvent>& events) {
  if (loading_ != none) {
    Runner& runner = *find(loading_);
    if (runner.ready_at <= now) {
      loading_ = none;
      ++loaded_version_;
      grant(now, *std::exchange(head_, {}), runner);
    }
  }
  for (bool again = true; again;) {
    again = false;
    for (Runner& runner : runners_) {
      for (Slot& slot : runner.slots) {
        if (!slot.stream || slot.stream->left_s > done_s) continue;
        Stream& stream = *slot.stream;
        if (!stream.decoding) {
          stream.decoding = true;
          stream.first_token = now;
          stream.prompt_eval =
              from_seconds(to_seconds(now - stream.started) * stream.prefill_share);
          if (stream.job.output_tokens > 0)
            emit({.kind = NodeEvent::Kind::first_token, .job = stream.job.id, .at = now});
          stream.left_s = decode_s(stream.job);
          if (stream.left_s > done_s) continue;
        }
        finish(now, runner, slot);
        again = true;  // the runner may be gone
        break;
      }
      if (again) break;
    }
  }
  const auto expired = [&](const Runner& r) {
    return r.in_flight == 0 && !is_loading(r) && r.expires_at <= now;
  };
  for (auto it = std::ranges::find_if(runners_, expired); it != runners_.end();
       it = std::ranges::find_if(runners_, expired))
    remove(it->model);
  pump(now);
  // A load's runner is busy until its answer is out: the loader has gone on by then.
  while (!answered_loads_.empty()) {
    const std::uint32_t model = answered_loads_.back();
    answered_loads_.pop_back();
    release(now, *find(model));
  }
  events.insert(events.end(), emitted_.begin(), emitted_.end());
  emitted_.clear();
}

/// The slot's stream, which runs no longer; its prompt stays in the cache.
TrueNode::Stream TrueNode::vacate(Runner& runner, Slot& slot) {
  Stream stream = *std::exchange(slot.stream, {});
  slot.session = stream.job.session;
  slot.tokens = stream.job.prompt_tokens;
  --jobs_;
  --runner.running;
  --device_.streams;
  --host_.streams;
  return stream;
}

void TrueNode::finish(TimePoint now, Runner& runner, Slot& slot) {
  const Stream stream = vacate(runner, slot);
  slot.tokens += stream.job.output_tokens;
  emit({.job = stream.job.id,
        .at = now,
        .total = now - stream.entered,
        .load = stream.granted - stream.entered,
        .slot_wait = stream.started - stream.granted,
        .prompt_eval = stream.prompt_eval,
        .eval = now - stream.started - stream.prompt_eval});
  release(now, runner);
}

void TrueNode::cancel(TimePoint now, JobId id) {
  const auto is_it = [id](const Stream& stream) { return stream.job.id == id; };
  for (Runner& runner : runners_) {
    for (Slot& slot : runner.slots) {
      if (!slot.stream || !is_it(*slot.stream)) continue;
      vacate(runner, slot);
      return release(now, runner);
    }
    if (std::erase_if(runner.waiting, is_it) > 0) {
      --jobs_;
      return release(now, runner);
    }
  }
  jobs_ -= std::erase_if(pending_, is_it);
  if (!head_ || !is_it(*head_)) return;
  --jobs_;
  head_.reset();
  if (loading_ != none) remove(std::exchange(loading_, none));
  pump(now);
}

/// One job less: the next one starts, or the runner goes idle.
void TrueNode::release(TimePoint now, Runner& runner) {
  --runner.in_flight;
  runner.used_at = now;
  while (runner.running < runner.slots.size() && !runner.waiting.empty()) {
    Stream next = std::move(runner.waiting.front());
    runner.waiting.pop_front();
    start(now, std::move(next), runner);
  }
  if (runner.in_flight == 0) {
    runner.expires_at = forever(runner.keep_alive) ? TimePoint::max() : now + runner.keep_alive;
    // A runner that the loader marked has a keep-alive of zero, and goes here too.
    if (runner.keep_alive == Duration::zero()) remove(runner.model);
  }
  pump(now);
}

void TrueNode::remove(std::uint32_t model) {
  std::erase_if(runners_, [&](const Runner& r) { return r.model == model; });
  ++loaded_version_;
}

/// Of all tokens after the first.
double TrueNode::decode_s(const Job& job) const {
  return job.output_tokens < 2
             ? 0
             : job.noise * (job.output_tokens - 1) / replica(job.model).decode_tokens_per_s;
}

std::uint32_t TrueNode::written(const Stream& stream) const {
  if (!stream.decoding) return 0;
  const double all = decode_s(stream.job);
  if (all <= 0) return 1;
  const double share = std::clamp(1 - stream.left_s / all, 0.0, 1.0);
  return 1 + static_cast<std::uint32_t>(share * (stream.job.output_tokens - 1));
}

std::vector<TrueNode::Lost> TrueNode::crash() {
  std::vector<Lost> lost;
  for (Runner& runner : runners_) {
    for (const Slot& slot : runner.slots) {
      if (slot.stream) lost.push_back({slot.stream->job.id, written(*slot.stream)});
    }
    for (const Stream& stream : runner.waiting) lost.push_back({stream.job.id, 0});
    device_.streams -= runner.running;
    host_.streams -= runner.running;
  }
  if (head_) lost.push_back({head_->job.id, 0});
  for (const Stream& stream : pending_) lost.push_back({stream.job.id, 0});
  runners_.clear();
  pending_.clear();
  answered_loads_.clear();
  head_.reset();
  loading_ = none;
  jobs_ = 0;
  ++loaded_version_;
  return lost;
}

std::optional<TimePoint> TrueNode::next_wake(TimePoint now) const {
  TimePoint earliest = TimePoint::max();
  for (const Runner& runner : runners_) {
    if (is_loading(runner)) {
      earliest = std::min(earliest, runner.ready_at);
    } else if (runner.in_flight == 0) {
      earliest = std::min(earliest, runner.expires_at);
    } else if (runner.running > 0) {
      double least = std::numeric_limits<double>::infinity();
      for (const Slot& slot : runner.slots) {
        if (slot.stream) least = std::min(least, slot.stream->left_s);
      }
      earliest = std::min(earliest, now + after(std::max(0.0, least) * slowdown(runner)));
    }
  }
  return earliest == TimePoint::max() ? std::nullopt : std::optional(earliest);
}

std::vector<TrueNode::Loaded> TrueNode::loaded() const {
  std::vector<Loaded> out;
  for (const Runner& runner : runners_) {
    if (!is_loading(runner)) out.push_back({runner.model, runner.num_ctx, runner.expires_at});
  }
  return out;
}

bool TrueNode::needs_reload(const Runner& runner, const Job& job) const {
  const bool both_default = runner.wanted_ctx == 0 && job.num_ctx == 0;
  return !both_default && runner.num_ctx != effective_context(job);
}

std::uint32_t TrueNode::effective_context(const Job& job) const {
  const std::uint32_t wanted = job.num_ctx != 0 ? job.num_ctx : context_length_;
  return std::min(wanted, models_[job.model].context_length);
}

std::uint64_t TrueNode::need_bytes(const Job& job) const {
  const std::uint64_t cells = std::uint64_t{effective_context(job)} * std::max(1u, spec_.slots);
  return models_[job.model].size_bytes + cells * models_[job.model].kv_bytes_per_token;
}

std::uint64_t TrueNode::used_bytes() const {
  std::uint64_t sum = 0;
  for (const Runner& runner : runners_) sum += runner.device_bytes;
  return sum;
}

/// How many times as long all takes as on an idle node with the whole model on the device.
double TrueNode::slowdown(const Runner& runner) const {
  const double others_here = device_.streams - runner.running;
  const double others_host = host_.streams - device_.streams;
  const double spilled = runner.bytes == 0 ? 0
                                           : 1 - static_cast<double>(runner.device_bytes) /
                                                     static_cast<double>(runner.bytes);
  return (1 + spec_.parallel_slowdown * (std::max(runner.running, 1u) - 1)) *
         (1 + spec_.device_slowdown * others_here + spec_.host_slowdown * others_host) *
         (1 + (spec_.cpu_slowdown - 1) * spilled) * slowed_;
}

}  // namespace sollol::world

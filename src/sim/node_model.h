#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/time.h"
#include "sim/manifest.h"
#include "sim/spec.h"

namespace sollol::sim {

/// What forces a reload when it differs: the context and every other runner option in one canonical
/// text.
struct RunnerOptions {
  std::optional<std::uint32_t> num_ctx{};  // absent: the node's automatic default
  std::string other{};
};

/// What a request wants of a node's scheduler.
struct Demand {
  ManifestPtr model{};
  RunnerOptions options{};
  std::optional<Duration>
      keep_alive{};  // negative: forever; absent: the node's default, or what a loaded runner has
  enum class Use : std::uint8_t { load, generate } use = Use::generate;
  std::string prompt{};  // as the model reads it; decides what its cache saves
  std::uint32_t prompt_tokens = 0;
};

using JobId = std::uint64_t;

enum class Phase : std::uint8_t {
  queued,   // waits for the loader
  loading,  // its model is being loaded
  slot,     // waits for a slot of its runner
  running,  // has a slot (Use::generate), or its model is loaded (Use::load)
};

struct Job {
  Demand demand{};
  Phase phase = Phase::queued;
  TimePoint entered{};              // came to the scheduler
  TimePoint granted{};              // got its runner: the end of Ollama's load_duration
  TimePoint started{};              // got its slot
  std::uint32_t cached_tokens = 0;  // of the prompt, from the slot's last request
};

/// How many streams run on a device or a host, counted by the nodes that share it.
struct SharedLoad {
  std::uint32_t running = 0;
};

/// A runner as `/api/ps` shows it.
struct RunnerView {
  ManifestPtr model{};
  std::uint64_t bytes = 0;
  std::uint64_t device_bytes = 0;  // of them in the device's memory
  std::uint32_t num_ctx = 0;
  TimePoint expires_at{};  // may lie in the past while the runner is busy
};

/// How often a node did what.
struct NodeTotals {
  std::uint64_t loads = 0;            // begun
  std::uint64_t loads_cancelled = 0;  // thrown away because whoever asked has left
  std::uint64_t evictions = 0;        // of one model for another
  std::uint64_t reloads = 0;          // of a model for other runner options
};

/// The scheduler of one Ollama node: load queue, runners, slots, memory. Told the time; no socket,
/// no clock.
///
/// Requests are jobs: admit() -> (queued -> loading ->) (slot ->) running -> finish() or cancel().
/// Call advance() at next_wake(), and take_changed() after any call, to learn which jobs moved on.
/// One thread. Source: reference/ollama-api.md §14.
class NodeModel {
 public:
  /// The loads may be shared with other nodes and must outlive this.
  NodeModel(const NodeSpec& spec, SharedLoad& device, SharedLoad& host);
  NodeModel(const NodeModel&) = delete;
  NodeModel& operator=(const NodeModel&) = delete;

  /// nullopt: the load queue is full (503).
  std::optional<JobId> admit(TimePoint now, Demand demand);
  /// The job is done; `text` is what it generated, which its slot remembers.
  void finish(TimePoint at, JobId id, std::string_view text = {});
  /// Its client has left. A load that only it waited for is thrown away.
  void cancel(TimePoint now, JobId id);
  /// `keep_alive: 0` without a prompt: unloads when idle.
  void unload(TimePoint now, const Manifest& model);
  /// Ends loads, unloads what has expired.
  void advance(TimePoint now);
  std::optional<TimePoint> next_wake() const;

  const Job& job(JobId id) const { return jobs_.at(id); }
  std::vector<JobId> take_changed() { return std::exchange(changed_, {}); }

  /// How long evaluating `tokens` of the prompt takes with what runs now.
  Duration prefill_step(JobId id, std::uint32_t tokens) const;
  /// How long one generated token takes with what runs now.
  Duration decode_step(JobId id) const;

  /// Loaded runners, longest remaining time first.
  std::vector<RunnerView> runners(TimePoint now) const;
  /// The context a request for this model gets.
  std::uint32_t effective_context(const Manifest& model, const RunnerOptions& options) const;
  std::size_t jobs() const { return jobs_.size(); }
  const NodeTotals& totals() const { return totals_; }

 private:
  struct Runner {
    ManifestPtr model{};
    RunnerOptions options{};
    std::uint32_t num_ctx = 0;
    std::uint64_t bytes = 0;
    std::uint64_t device_bytes = 0;
    std::uint32_t in_flight = 0;  // running or waiting for a slot
    std::uint32_t running = 0;
    Duration keep_alive{};
    TimePoint used_at{};                    // something was begun or ended last
    std::optional<TimePoint> expires_at{};  // absent before it was first idle
    TimePoint ready_at{};
    bool marked = false;  // by the loader, to make room
    std::deque<JobId> waiting{};
    struct Slot {
      std::string text{};  // what its cache holds
      std::optional<JobId> job{};
    };
    std::vector<Slot> slots{};
  };
  using Runners = std::map<std::string, Runner>;  // by blob

  void pump(TimePoint now);
  bool make_room(TimePoint now, const Demand& demand);
  void start_load(TimePoint now, JobId id);
  void grant(TimePoint now, JobId id, Runner& runner);
  void start(TimePoint now, JobId id, Runner& runner);
  void release(TimePoint now, Runner& runner);
  void remove(TimePoint now, Runners::iterator runner);
  void note(JobId id, Phase phase);
  bool needs_reload(const Runner& runner, const Demand& demand) const;
  std::uint64_t need_bytes(const Demand& demand) const;
  std::uint64_t used_bytes() const;
  std::uint32_t slots_of(const Manifest& model) const;
  double slowdown(const Runner& runner) const;

  NodeSpec spec_;
  SharedLoad& device_;
  SharedLoad& host_;
  std::map<JobId, Job> jobs_;
  JobId next_id_ = 1;
  std::deque<JobId> pending_;           // cancelled ids stay until they are reached
  std::optional<JobId> head_;           // what the loader is busy with
  std::optional<std::string> loading_;  // blob of the runner that loads for head_
  std::optional<TimePoint> reclaim_until_;
  Runners runners_;
  std::vector<JobId> changed_;
  NodeTotals totals_;
};

}  // namespace sollol::sim

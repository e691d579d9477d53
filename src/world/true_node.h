#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <optional>
#include <vector>

#include "world/fleet.h"

namespace sollol::world {

using JobId = std::uint32_t;

/// What a request costs a node, whichever node it is.
struct Job {
  JobId id = 0;
  std::uint32_t model = 0;    // index into Fleet::models
  std::uint32_t num_ctx = 0;  // 0: the node's default
  std::uint32_t prompt_tokens = 0;
  std::uint32_t output_tokens = 0;  // 0: an embedding
  std::uint32_t session = 0;        // a conversation whose prompt grows; 0: none
  double noise = 1;                 // times as long as its size says
  enum class Use : std::uint8_t { load, generate } use = Use::generate;
};

/// What became of a job.
struct NodeEvent {
  enum class Kind : std::uint8_t { first_token, done } kind = Kind::done;
  JobId job = 0;
  TimePoint at{};
  // Of a job that is done, as its final record tells.
  Duration total{};
  Duration load{};
  Duration slot_wait{};
  Duration prompt_eval{};
  Duration eval{};
};

/// Streams that run on a device or a host, counted by the nodes that share it.
struct Running {
  std::uint32_t streams = 0;
};

/// One node as it truly is: load queue, runners, slots, memory, keep-alive, and how fast its
/// streams go beside each other. The rules and formulae of `sim::NodeModel`, without text: streams
/// flow at a rate that holds until one begins or ends, so a request costs a few events and not one
/// for each token.
///
/// Before anything changes at a node that shares a host, `settle` each of them; after it, ask each
/// for `next_wake`. Told the time; no chance.
class TrueNode {
 public:
  /// The counters may be shared with other nodes and must outlive this.
  TrueNode(const NodeSpec& spec, const std::vector<ModelSpec>& models, Running& device,
           Running& host);

  void admit(TimePoint now, const Job& job);
  /// Lets the streams flow up to `now` at the rates of what ran until then.
  void settle(TimePoint now);
  /// Does what is due at `now`; what became of jobs is appended to `events`.
  void advance(TimePoint now, std::vector<NodeEvent>& events);
  struct Lost {
    JobId job;
    std::uint32_t tokens;  // that it had written
  };
  /// Nothing listens any more: forgets all runners and jobs, and says what became of these. Call
  /// it settled.
  std::vector<Lost> crash();
  /// Whoever asked for the job has left; a load that was for it alone is thrown away. Nothing where
  /// it has ended. Call it settled.
  void cancel(TimePoint now, JobId id);
  /// All that runs takes so many times as long from now on. Call it settled.
  void slow_down(double times) { slowed_ = times; }
  std::optional<TimePoint> next_wake(TimePoint now) const;

  struct Loaded {
    std::uint32_t model;
    std::uint32_t context;
    TimePoint expires_at;  // max: never, or it works
  };
  /// As `/api/ps` lists them.
  std::vector<Loaded> loaded() const;
  /// Changes with every change of what is loaded.
  std::uint64_t loaded_version() const { return loaded_version_; }
  std::uint64_t loads() const { return loads_; }
  std::uint64_t reloads() const { return reloads_; }  // for other runner options
  std::size_t jobs() const { return jobs_; }
  const ReplicaSpec& replica(std::uint32_t model) const;

 private:
  struct Stream {
    Job job{};
    TimePoint entered{};
    TimePoint granted{};
    TimePoint started{};
    TimePoint first_token{};
    double left_s = 0;         // of the stage, on an idle node
    double prefill_share = 0;  // of the first stage, the rest of which is its first token
    Duration prompt_eval{};
    bool decoding = false;
  };
  struct Slot {
    std::uint32_t session = 0;  // whose text its cache holds
    std::uint32_t tokens = 0;
    std::optional<Stream> stream{};
  };
  struct Runner {
    std::uint32_t model = 0;
    std::uint32_t wanted_ctx = 0;  // as asked for; 0: the default
    std::uint32_t num_ctx = 0;
    std::uint64_t bytes = 0;
    std::uint64_t device_bytes = 0;
    std::uint32_t in_flight = 0;
    std::uint32_t running = 0;
    Duration keep_alive{};
    bool marked = false;  // by the loader, to make room
    TimePoint used_at{};
    TimePoint expires_at = TimePoint::max();
    TimePoint ready_at{};  // of a load under way
    std::deque<Stream> waiting{};
    std::vector<Slot> slots{};
  };

  Runner* find(std::uint32_t model);
  bool is_loading(const Runner& runner) const { return loading_ == runner.model; }
  void pump(TimePoint now);
  bool make_room(TimePoint now, const Job& job);
  void start_load(TimePoint now, const Job& job);
  void grant(TimePoint now, Stream stream, Runner& runner);
  void start(TimePoint now, Stream stream, Runner& runner);
  Stream vacate(Runner& runner, Slot& slot);
  void finish(TimePoint now, Runner& runner, Slot& slot);
  void release(TimePoint now, Runner& runner);
  void remove(std::uint32_t model);
  void emit(NodeEvent event) { emitted_.push_back(event); }
  double decode_s(const Job& job) const;
  std::uint32_t written(const Stream& stream) const;
  bool needs_reload(const Runner& runner, const Job& job) const;
  std::uint32_t effective_context(const Job& job) const;
  std::uint64_t need_bytes(const Job& job) const;
  std::uint64_t used_bytes() const;
  double slowdown(const Runner& runner) const;

  static constexpr std::uint32_t none = std::numeric_limits<std::uint32_t>::max();

  const NodeSpec& spec_;
  const std::vector<ModelSpec>& models_;
  Running& device_;
  Running& host_;
  std::uint32_t context_length_;
  std::vector<std::uint32_t> replica_of_;  // by model; `none`: not here
  std::vector<Runner> runners_;
  std::deque<Stream> pending_;  // for the loader
  std::optional<Stream> head_;  // what the loader is busy with
  std::uint32_t loading_ = none;
  std::vector<std::uint32_t> answered_loads_;  // models whose runners these still keep busy
  TimePoint settled_at_{};
  double slowed_ = 1;
  std::vector<NodeEvent> emitted_;
  std::uint64_t loaded_version_ = 0;
  std::uint64_t loads_ = 0;
  std::uint64_t reloads_ = 0;
  std::size_t jobs_ = 0;
};

}  // namespace sollol::world

#pragma once

#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace sollol::batch {

/// One request at a time, or as many as its nodes work on at once.
enum class Width : std::uint8_t { alone, wide };

/// A node, and how many requests it works on at once.
struct NodeSlots {
  std::string node;
  std::size_t slots = 1;
};

/// What is known before a batch begins.
struct WidthFacts {
  bool parallel = false;              // locality's advice
  std::string reason{};               // of that
  std::size_t slots = 1;              // requests that the nodes work on at once
  std::vector<NodeSlots> nodes = {};  // whose slots these are
  std::size_t tasks = 0;
};

/// Decides whether a batch runs alone or wide, and on which nodes.
///
/// Where locality says that parallel work helps, it is wide. Where it says that it does not, it may
/// be wrong: nothing may tell that two nodes of a machine have a GPU each, or a node gains by
/// answering several at once. So the batch tries each way of running with a few tasks, and goes on
/// in the fastest, by work over time:
///
///   1. one at a time, wherever the gateway sends them;
///   2. the fastest node alone with all its slots, if it has several and there are other nodes;
///   3. all nodes with one request each, given up as soon as it cannot come near the best so far;
///   4. where 3 was given up, each node of which nothing is known yet, with one request: those that
///      come one at a time may have met slower ones. If one of them is the fastest, 2 with that;
///   5. the fastest k nodes, where that is expected to be better than all of these. Expected by
///      this: with k nodes each is 1 + c (k - 1) times as slow as without neighbours, c from what
///      was measured of one node with all others and without them;
///   6. all nodes with all their slots, if they have several and 3 could do better by as much as 2
///      did better than 1; given up likewise; after it 5 once more.
///
/// Ways within `close` of the best are tried again, up to `rounds_max` times in all; what was
/// measured adds up. After that the choice stands. A batch of fewer than `trial_tasks_min` follows
/// the advice.
///
/// A state machine that is told what happened and when; knows no clock. One thread at a time.
class WidthJudge {
 public:
  static constexpr std::size_t trial_tasks_min = 8;
  static constexpr std::size_t alone_samples = 2;  // counted ones
  static constexpr std::size_t failures_max = 8;   // that end a trial, beside each node's first
  static constexpr double close = 1.1;             // times as fast
  static constexpr std::size_t rounds_max = 3;
  static constexpr double repeated_share_max = 0.25;  // of the tasks: no more repeats after that

  explicit WidthJudge(WidthFacts facts);

  Width width() const noexcept { return width_; }
  /// The nodes that a wide batch keeps busy; empty: all of them, and the gateway chooses.
  std::span<const std::string> nodes() const noexcept { return nodes_; }
  /// Requests at once at each of `nodes()`, at most.
  std::size_t slots_max() const noexcept { return slots_max_; }
  bool settled() const noexcept { return settled_; }
  /// By trials, not by advice.
  bool measured() const noexcept { return measured_; }
  /// In one sentence, for people.
  const std::string& reason() const noexcept { return reason_; }

  /// Locality has changed its mind: what follows is found out anew, unless it was measured.
  void advise(WidthFacts facts);

  /// Ties a task to the trial in which it was sent.
  struct Ticket {
    unsigned trial = 0;
    std::size_t index = 0;
  };
  /// `work`: what it is expected to be; `node`: where it was sent, empty: the gateway chooses.
  Ticket note_sent(double now_s, double work, std::string node);

  /// A task that has ended.
  struct Sample {
    std::string node = {};
    double began_s = 0;  // loading is left out
    double ended_s = 0;
    double work = 0;
    bool counts = true;  // false: it failed, or may have loaded a model
  };
  void observe(const Ticket& ticket, const Sample& sample);

 private:
  static constexpr std::size_t every_slot = std::numeric_limits<std::size_t>::max();

  /// What was done at a node in one way of running.
  struct Done {
    double work = 0, seconds = 0;
    double at_most = 0;  // work per second, where nothing had ended when the way was given up
  };
  enum class Kind : std::uint8_t { alone, fastest, one_each, unknown, few, all };
  /// A way of running.
  struct Way {
    Kind kind = Kind::alone;
    std::vector<std::string> nodes = {};  // empty: one at a time
    std::size_t slots_max = every_slot;   // of each
    std::map<std::string, Done> done = {};
  };
  struct Sent {
    double at_s = 0;
    double work = 0;
    std::string node = {};
    bool clear = true;  // nothing of an earlier trial ran beside it
    bool ended = false;
  };
  void begin_trials();
  void begin_next();
  void end_trial();
  void add(Kind kind, std::vector<std::string> nodes, std::size_t slots_max);
  void add_after(Kind ended);
  std::vector<std::string> all_nodes() const;
  bool add_unknown();
  bool add_faster_one();
  bool add_fastest_few();
  bool add_all();
  void settle_by_advice();
  void settle_on(const Way& way);
  bool enough(const Way& way) const;
  bool hopeless(const Way& way, double now_s) const;
  bool has_several_slots() const;
  bool was_tried(std::span<const std::string> nodes, std::size_t slots_max) const;
  std::size_t slots_of(const Way& way, const std::string& node) const;
  const Way* find(Kind kind) const;
  std::string fastest_of(const Way& way) const;
  double rate_at(const Way& way, const std::string& node) const;
  double rate(const Way& way) const;
  double rate(Kind kind) const;
  double best_rate() const;
  double promised_at(const Way& way, const std::string& node, double now_s) const;

  WidthFacts facts_;
  Width width_ = Width::alone;
  std::vector<std::string> nodes_;
  std::size_t slots_max_ = every_slot;
  std::string reason_;
  bool settled_ = true;
  bool measured_ = false;

  std::vector<Way> ways_;          // the first is one at a time
  std::deque<std::size_t> queue_;  // of this round; the first is under way
  std::size_t rounds_ = 0;         // that have ended
  std::size_t tried_ = 0;          // tasks of all trials

  // Of the trial under way.
  unsigned trial_ = 0;
  std::vector<Sent> sent_;
  std::map<std::string, std::size_t> counted_;  // tasks, by node
  std::size_t failed_ = 0;                      // or did not count for another reason
  std::size_t earlier_ = 0;                     // tasks of earlier trials that run yet
};

}  // namespace sollol::batch

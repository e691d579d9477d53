#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace sollol::batch {

/// One request at a time, or as many as keep every node busy.
enum class Width : std::uint8_t { alone, wide };

/// What is known before a batch begins.
struct WidthFacts {
  bool parallel = false;  // locality's advice
  std::string reason{};   // of that
  std::size_t slots = 1;  // requests that the nodes work on at once
  std::size_t tasks = 0;
};

/// Decides whether a batch runs alone or wide.
///
/// Where locality says that parallel work helps, it is wide. Where it says that it does not, it may
/// be wrong: nothing may tell that two nodes of a machine have a GPU each, or a node gains by
/// answering several at once. So a few tasks run alone, then a few at once, and the rest as was
/// faster. The second trial ends as soon as the answer is certain: what has ended is more than one
/// at a time would have done, or less even if all that runs ended now. A batch of fewer than
/// `trial_tasks_min` follows the advice.
///
/// A state machine that is told what happened and when; knows no clock. One thread at a time.
class WidthJudge {
 public:
  static constexpr std::size_t trial_tasks_min = 8;
  static constexpr std::size_t alone_samples = 2;  // counted ones

  explicit WidthJudge(WidthFacts facts);

  Width width() const noexcept { return width_; }
  bool settled() const noexcept { return phase_ == Phase::settled; }
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
  /// `work`: what it is expected to be.
  Ticket note_sent(double now_s, double work);

  /// A task that has ended.
  struct Sample {
    std::string node = {};
    double began_s = 0;  // its work, without waiting and loading
    double ended_s = 0;
    double work = 0;
    bool counts = true;  // false: it failed, or may have loaded a model
  };
  void observe(const Ticket& ticket, const Sample& sample);

 private:
  enum class Phase : std::uint8_t { alone, wide, settled };
  struct Sent {
    double at_s = 0;
    double work = 0;
    bool ended = false;
  };
  void begin(Phase phase);
  void judge_wide(double now_s, bool enough);
  void settle(Width width, double alone, double wide);
  double alone_rate() const;
  double wide_rate() const;
  double promised_rate(double now_s) const;

  WidthFacts facts_;
  Phase phase_ = Phase::settled;
  Width width_ = Width::alone;
  std::string reason_;
  bool measured_ = false;
  unsigned trial_ = 0;
  std::vector<Sent> sent_;    // in this trial
  std::size_t required_ = 0;  // of those: have to end
  std::vector<Sample> alone_, wide_;
};

}  // namespace sollol::batch

#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

#include "cluster/history.h"
#include "gateway/control.h"
#include "gateway/options.h"
#include "gateway/residency.h"
#include "gateway/state_file.h"

namespace sollol::gateway {

/// Keeps the state file: reads it at the start, writes it when something changed, at most every
/// `state.interval`, and at the end. On a thread of its own, since a disk may hang. A file that
/// cannot be read or written costs one warning, and nothing else.
class StateKeeper {
 public:
  StateKeeper(const OptionsSource& options, Control& control, ResidencyKeeper& residency,
              cluster::History& history);
  ~StateKeeper();

  /// Gives the control thread and what runs on it, before it starts, and the history what was kept.
  void restore();
  void start();
  /// Writes what is known now. Any thread.
  void save();
  /// The file belongs to another process from now on: nothing is written any more.
  void hand_off();
  /// Ends the thread, after a last `save`.
  void stop();

 private:
  void run();
  void write(const SavedState& state);
  Moment moment() const;
  /// A file that is none of ours makes room.
  void begin_afresh(const Error& why);

  const OptionsSource& options_;
  Control& control_;
  ResidencyKeeper& residency_;
  cluster::History& history_;
  const bool kept_;     // whether anything is
  std::mutex writing_;  // guards what follows
  StateFile file_;
  bool failed_ = false;
  bool handed_off_ = false;
  std::mutex sleeping_;
  std::condition_variable wake_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace sollol::gateway

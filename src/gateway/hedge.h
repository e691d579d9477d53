#pragma once

#include <memory>
#include <optional>

#include "api/intent.h"
#include "gateway/attempt.h"
#include "gateway/options.h"
#include "gateway/placement.h"
#include "net/event.h"
#include "net/timer_wheel.h"

namespace sollol::gateway {

/// Whether a second node may be asked the same while the first is late: embeddings, and answers
/// that are expected to be short, none of them streamed. Not where the request is
/// pinned to its node, does something to it (loads and unloads), or gives way to others (urgency
/// batch). Stubs of cloud models are left to survey_beside.
bool may_be_hedged(const routing::HedgeOptions& options, api::Operation operation,
                   const api::Intent& intent, const Work& work);

/// How long after its dispatch this try is unusually late; nullopt: it is not to be hedged, since
/// it is not the request's first, its model has to be loaded, or nothing tells what is usual there.
std::optional<Duration> late_after(Connection& client, const Slot& slot);

/// One try at the slot's node and, when that is still silent after `late`, one at a second node
/// beside it (routing::choose_hedge), if there is one and its budget allows. The first whole answer
/// is relayed, and the other try is given up. An error beats nothing: it counts once the other try
/// has ended too.
///
/// Returns when both have ended, which the one that is given up does at once unless it is just
/// connecting (`upstream.connect_timeout`). Then `slot` is that of the try which the verdict is
/// about; the other has been accounted for, and the work excludes its node if that failed.
net::Task<Verdict> try_hedged(Connection& client, Answer& answer, Work& work, Slot& slot,
                              Attempt::Plan plan, Duration late);

/// Two attempts at one request, of which one is relayed. On one worker's thread, within the
/// request.
class Race final : private net::TimerWheel::Entry {
 public:
  Race(Connection& client, Answer& answer, Work& work, Slot& slot, Attempt::Plan plan);

  net::Task<Verdict> run(Duration late);

  // For the attempts.
  /// `by` has an answer to relay. True: it is the first; the other is cancelled and its place free.
  bool claim(const Attempt& by);
  bool lost(const Attempt& attempt) const noexcept {
    return winner_ != nullptr && winner_ != &attempt;
  }

 private:
  struct Second {
    Second(Connection& client, Answer& answer, Slot place)
        : slot(std::move(place)), attempt(client, answer, slot.node()) {}
    Slot slot;
    Attempt attempt;
    std::optional<Verdict> verdict;  // once it has ended
    net::Event* ended = nullptr;     // there until then
  };

  void expired() override;
  void look_again(Duration after);
  void begin_second(Slot slot);
  net::Task<void> run_second(std::shared_ptr<net::Event> ended);
  void cancel();
  Verdict settle(Verdict first, bool first_ended_last);

  Connection& client_;
  Answer& answer_;
  Work& work_;
  Slot& slot_;
  Attempt::Plan plan_;
  Worker& worker_;
  Attempt first_;
  std::optional<Second> second_;
  const Attempt* winner_ = nullptr;
  unsigned looks_ = 0;
};

}  // namespace sollol::gateway
